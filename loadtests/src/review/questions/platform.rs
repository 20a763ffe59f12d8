//! Fargate, and what might stand in its place.

use simulator::cost::LineItem;

use super::{Answer, PLAN_OF_THE_PROPOSAL, Text, cheapest, done_per_hour, simulate};
use crate::review::alternatives::{
    APP_RUNNER_LIMIT_S, CLOUD_RUN_LIMIT_S, RAILWAY_LIMIT_S, app_runner_usd, cloud_run_usd,
    companions_usd, option_a_usd, railway_usd,
};
use crate::review::evidence::Evidence;
use crate::review::words::{percent, say, usd};
use crate::review::{Figure, Unit};

pub(super) fn premature(evidence: &Evidence) -> Answer {
    let fits = evidence.share_within_s(APP_RUNNER_LIMIT_S);
    Answer {
        asked: say!("Premature optimisation?", "¿Premature optimization?"),
        answer: say!(
            "No. App Runner ends every request after {limit} s, and {fits} of the generations are done by then: Fargate does not avoid a migration some day, it avoids a service that never answers. Choosing it settles nothing else, though: the held request loses its generations on Fargate as well.",
            "No. App Runner corta toda petición a los {limit} s, y para entonces ha terminado el {fits} de las generaciones: Fargate no evita una migración futura, evita un servicio que nunca responde. Pero elegirlo no resuelve lo demás: la petición abierta también pierde sus generaciones en Fargate.",
            limit = APP_RUNNER_LIMIT_S,
            fits = percent(fits)
        ),
        figures: vec![
            Figure::exact(
                say!(
                    "generations that end within App Runner's limit",
                    "generaciones que terminan dentro del límite de App Runner"
                ),
                Unit::Percent,
                100.0 * fits,
                0,
            ),
            done_per_hour(
                say!(
                    "answered on Fargate, request held open",
                    "respondidas en Fargate con la petición abierta"
                ),
                evidence.run("proposed"),
            ),
        ],
        command: simulate("proposed"),
        would_change: say!(
            "Generations of less than two minutes; then any platform would do.",
            "Generaciones de menos de dos minutos; entonces serviría cualquier plataforma."
        ),
        holds: fits <= 0.0
            && evidence
                .run("proposed")
                .replications
                .throughput_per_hour
                .mean
                < 1.0,
    }
}

pub(super) fn fargate_over_app_runner(evidence: &Evidence) -> Answer {
    let fargate = evidence.proposal_bill().fargate().as_usd();
    let app_runner = app_runner_usd();
    Answer {
        asked: say!(
            "Is the decision for Fargate over App Runner justified?",
            "¿La decisión de Fargate sobre App Runner está justificada?"
        ),
        answer: say!(
            "Yes, on three counts: the same two instances cost {fargate} on Fargate and {app_runner} on App Runner, App Runner's 120 s end every generation, and since spring 2026 it takes no new customers.",
            "Sí, por tres motivos: las mismas dos instancias cuestan {fargate} en Fargate y {app_runner} en App Runner, los 120 s de App Runner cortan toda generación y desde la primavera de 2026 no admite clientes nuevos.",
            fargate = usd(fargate),
            app_runner = usd(app_runner)
        ),
        figures: vec![
            bill(
                say!(
                    "Fargate, 2 × (2 vCPU, 4 GiB)",
                    "Fargate, 2 × (2 vCPU, 4 GiB)"
                ),
                fargate,
            ),
            bill(
                say!(
                    "App Runner, the same, active",
                    "App Runner, lo mismo, activo"
                ),
                app_runner,
            ),
        ],
        command: String::new(),
        would_change: say!(
            "AWS reopening App Runner with a longer limit. Its successor, ECS Express Mode, is Fargate with defaults: it would change the set-up, not the answer.",
            "Que AWS reabriera App Runner con un límite mayor. Su sucesor, ECS Express Mode, es Fargate con valores por defecto: cambiaría la instalación, no la respuesta."
        ),
        holds: fargate < app_runner,
    }
}

pub(super) fn complexity(evidence: &Evidence) -> Answer {
    let cheapest = cheapest(evidence);
    let option_a = option_a_usd();
    Answer {
        asked: say!(
            "Is the added complexity worth it compared with managed options?",
            "¿La complejidad añadida vale la pena vs opciones managed?"
        ),
        answer: say!(
            "Yes, once its size is right: the managed option A costs {option_a} with two active instances and cannot hold a generation, Fargate with {sizing} costs {cheapest} and can. The hours of set-up (8 to 10 against 2 to 3, the review's own estimate) are spent: the Terraform in this repository is written and tested.",
            "Sí, con el tamaño correcto: la opción A administrada cuesta {option_a} con dos instancias activas y no puede mantener abierta la petición de una generación; Fargate con {sizing_es} cuesta {cheapest} y puede. Las horas de instalación (8 a 10 frente a 2 a 3, según el propio documento) ya están invertidas: el Terraform de este repositorio está escrito y probado.",
            option_a = usd(option_a),
            sizing = cheapest.words.en.clone(),
            sizing_es = cheapest.words.es.clone(),
            cheapest = usd(cheapest.usd)
        ),
        figures: vec![
            bill(say!("option A as a whole", "opción A completa"), option_a),
            bill(
                say!(
                    "cheapest sizing on Fargate that holds, same network and cache",
                    "dimensionamiento más barato en Fargate que cumple, misma red y caché"
                ),
                cheapest.usd,
            ),
        ],
        command: PLAN_OF_THE_PROPOSAL.to_owned(),
        would_change: say!(
            "A team without anybody who reads Terraform: no number here prices that.",
            "Un equipo sin nadie que lea Terraform: ningún número de aquí pone precio a eso."
        ),
        holds: cheapest.found && cheapest.usd < option_a,
    }
}

pub(super) fn option_a(evidence: &Evidence) -> Answer {
    let bill_usd = evidence.proposal_bill().total().as_usd();
    let option_a = option_a_usd();
    let lines = [
        LineItem::RdsInstance,
        LineItem::RdsStorage,
        LineItem::Elasticache,
    ];
    let whole = evidence.proposal_bill();
    let managed: f64 = lines.iter().map(|line| whole.get(*line).as_usd()).sum();
    let beside = companions_usd();
    Answer {
        asked: say!(
            "Would you consider App Runner + Supabase + Upstash? (simpler)",
            "¿Considerarías App Runner + Supabase + Upstash? (simpler)"
        ),
        answer: say!(
            "No: it can no longer be opened by a new customer. Priced again it is {option_a} with two active instances, not $238, against {bill} for the proposal's list; $200 of App Runner matches no such shape.",
            "No: un cliente nuevo ya no puede contratarlo. Recalculada cuesta {option_a} con dos instancias activas, no $238, frente a {bill} de la lista de la propuesta; los $200 de App Runner no corresponden a ninguna configuración así.",
            option_a = usd(option_a),
            bill = usd(bill_usd)
        ),
        figures: vec![
            bill(
                say!(
                    "option A, two active instances",
                    "opción A, dos instancias activas"
                ),
                option_a,
            ),
            bill(
                say!(
                    "option A, one active instance",
                    "opción A, una instancia activa"
                ),
                option_a - app_runner_usd() / 2.0,
            ),
            bill(
                say!("the proposal's list", "la lista de la propuesta"),
                bill_usd,
            ),
        ],
        command: String::new(),
        would_change: say!(
            "Nothing short of App Runner being sold again. Supabase and Upstash remain possible beside Fargate: {beside} against {managed} for RDS and ElastiCache.",
            "Nada, salvo que App Runner volviera a venderse. Supabase y Upstash siguen siendo posibles junto a Fargate: {beside} frente a {managed} de RDS y ElastiCache.",
            beside = usd(beside),
            managed = usd(managed)
        ),
        holds: option_a > 238.0 && bill_usd > option_a,
    }
}

pub(super) fn cloud_run(evidence: &Evidence) -> Answer {
    let fargate = evidence.proposal_bill().fargate().as_usd();
    let cloud_run = cloud_run_usd();
    let fits = evidence.share_within_s(CLOUD_RUN_LIMIT_S);
    Answer {
        asked: say!(
            "Would Cloud Run (GCP) be a better alternative?",
            "¿Cloud Run (GCP) sería mejor alternativa?"
        ),
        answer: say!(
            "It could hold the request ({fits} of the generations end within its 3600 s), but always-on instances cost {times:.1} times Fargate's, and its 10 s between SIGTERM and the end lose every held request on each deployment. With the queue nothing is left that it does better.",
            "Podría sostener la petición (el {fits} de las generaciones termina dentro de sus 3600 s), pero las instancias siempre encendidas cuestan {times:.1} veces lo que Fargate, y sus 10 s entre SIGTERM y el final pierden toda petición abierta en cada despliegue. Con la cola no queda nada que haga mejor.",
            fits = percent(fits),
            times = cloud_run / fargate
        ),
        figures: vec![
            bill(
                say!(
                    "Cloud Run, 2 × (2 vCPU, 4 GiB), always on",
                    "Cloud Run, 2 × (2 vCPU, 4 GiB), siempre encendido"
                ),
                cloud_run,
            ),
            bill(say!("Fargate, the same", "Fargate, lo mismo"), fargate),
        ],
        command: String::new(),
        would_change: say!(
            "Traffic so rare that instances may scale to zero: Cloud Run then bills only the minutes of use, Fargate bills its least task.",
            "Un tráfico tan escaso que las instancias puedan bajar a cero: Cloud Run cobraría solo los minutos de uso y Fargate, su tarea mínima."
        ),
        holds: cloud_run > fargate && fits >= 1.0,
    }
}

pub(super) fn render_or_railway(evidence: &Evidence) -> Answer {
    let fargate = evidence.proposal_bill().fargate().as_usd();
    let railway = railway_usd();
    let fits = evidence.share_within_s(RAILWAY_LIMIT_S);
    Answer {
        asked: say!(
            "Are Render.com or Railway.app more suitable?",
            "¿Render.com o Railway.app más apropiados?"
        ),
        answer: say!(
            "Not for a held request: Railway ends one after five silent minutes ({fits} of the generations are done by then) and after fifteen in any case. Both could run the queued service; Railway's two instances would cost {railway} against {fargate}. Render's limit and prices are users' reports only.",
            "No con la petición abierta: Railway la corta a los cinco minutos de silencio (para entonces ha terminado el {fits} de las generaciones) y a los quince en todo caso. Ambas podrían ejecutar el servicio con cola; las dos instancias de Railway costarían {railway} frente a {fargate}. El límite y los precios de Render son solo testimonios de usuarios.",
            fits = percent(fits),
            railway = usd(railway),
            fargate = usd(fargate)
        ),
        figures: vec![
            Figure::exact(
                say!(
                    "generations that end within Railway's silence",
                    "generaciones que terminan dentro del silencio de Railway"
                ),
                Unit::Percent,
                100.0 * fits,
                0,
            ),
            bill(
                say!(
                    "Railway, 2 × (2 vCPU, 4 GiB)",
                    "Railway, 2 × (2 vCPU, 4 GiB)"
                ),
                railway,
            ),
        ],
        command: String::new(),
        would_change: say!(
            "Sizes that fit the work: at a quarter of a vCPU every platform costs a few dollars, and the network decides, which Railway does not bill and AWS does.",
            "Tamaños ajustados al trabajo: con un cuarto de vCPU toda plataforma cuesta pocos dólares y decide la red, que Railway no cobra y AWS sí."
        ),
        holds: fits <= 0.0,
    }
}

pub(super) fn justified_against_all(evidence: &Evidence) -> Answer {
    let fargate = evidence.proposal_bill().fargate().as_usd();
    let (app_runner, cloud_run) = (app_runner_usd(), cloud_run_usd());
    Answer {
        asked: say!(
            "Is the Fargate decision justified against the alternatives?",
            "¿Decisión Fargate justificada vs alternativas?"
        ),
        answer: say!(
            "Yes. For the same two instances: Fargate {fargate}, App Runner {app_runner}, Cloud Run {cloud_run}. It is also the only one of them beside Cloud Run whose limits a 15-minute request fits at all.",
            "Sí. Por las mismas dos instancias: Fargate {fargate}, App Runner {app_runner}, Cloud Run {cloud_run}. Además es, junto con Cloud Run, la única de ellas en cuyos límites cabe una petición de 15 minutos.",
            fargate = usd(fargate),
            app_runner = usd(app_runner),
            cloud_run = usd(cloud_run)
        ),
        figures: vec![
            bill(say!("Fargate", "Fargate"), fargate),
            bill(say!("App Runner", "App Runner"), app_runner),
            bill(say!("Cloud Run", "Cloud Run"), cloud_run),
        ],
        command: String::new(),
        would_change: say!(
            "A deliberate move to a platform with a queue of its own (Cloud Run jobs, Render Workflows): then the comparison is between queues, not between servers.",
            "Pasar a propósito a una plataforma con cola propia (Cloud Run jobs, Render Workflows): entonces se comparan colas, no servidores."
        ),
        holds: fargate < app_runner && fargate < cloud_run,
    }
}

fn bill(what: Text, value: f64) -> Figure {
    Figure::exact(what, Unit::UsdPerMonth, value, 2)
}
