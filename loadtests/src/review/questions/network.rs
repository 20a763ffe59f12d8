//! NAT gateways, the load balancer, the VPC.

use super::{Answer, over, simulate, wait_p95};
use crate::review::evidence::{Evidence, GATEWAY_OUT_MIN, peak_per_hour};
use crate::review::facts::{
    INTERFACE_ENDPOINT_USD_HOUR, INTERFACE_ENDPOINTS, NLCU_USD_HOUR, ZONE_OUT_H_PER_YEAR,
};
use crate::review::words::{say, usd};
use crate::review::{Figure, Unit};
use crate::stages::STAGES;
use simulator::cost::LineItem;

const ZONES: f64 = 2.0;
const HOURS_PER_MONTH: f64 = 730.0;

/// What the second gateway costs a month: its hours and its address.
fn second_gateway_usd(evidence: &Evidence) -> f64 {
    let tasks = evidence.proposal.tasks_desired;
    evidence.total(|fleet| fleet.nat_gateways = 2, tasks)
        - evidence.total(|fleet| fleet.nat_gateways = 1, tasks)
}

/// What no gateway saves against two: public addresses for the tasks instead.
fn no_gateway_saves_usd(evidence: &Evidence) -> f64 {
    let tasks = evidence.proposal.tasks_desired;
    evidence.total(|fleet| fleet.nat_gateways = 2, tasks)
        - evidence.total(|fleet| fleet.nat_gateways = 0, tasks)
}

/// Minutes a year without a way to OpenAI for the whole fleet with one gateway: its zone's outages.
fn outage_min_per_year() -> f64 {
    ZONE_OUT_H_PER_YEAR * 60.0
}

pub(super) fn nat_for_mvp(evidence: &Evidence) -> Answer {
    let cost = second_gateway_usd(evidence);
    let per_minute = 12.0 * cost / outage_min_per_year();
    Answer {
        asked: say!(
            "Are 2 NAT gateways justified for an MVP?",
            "¿Justificado tener 2 NAT Gateways para un MVP?"
        ),
        answer: say!(
            "No. The second one costs {cost} a month with its address and spares about {minutes:.0} minutes a year without OpenAI, if a zone is out for an hour a year: {per_minute} for each minute. Queued generations only wait meanwhile, none is lost.",
            "No. El segundo cuesta {cost} al mes con su dirección y evita unos {minutes:.0} minutos al año sin OpenAI, si una zona cae una hora al año: {per_minute} por cada minuto. Mientras tanto las generaciones en cola solo esperan; no se pierde ninguna.",
            cost = usd(cost),
            minutes = outage_min_per_year(),
            per_minute = usd(per_minute)
        ),
        figures: vec![
            Figure::exact(
                say!("second NAT gateway", "segundo NAT Gateway"),
                Unit::UsdPerMonth,
                cost,
                2,
            ),
            Figure::exact(
                say!(
                    "minutes a year that it spares, at one zone hour a year",
                    "minutos al año que evita, con una hora de zona al año"
                ),
                Unit::MinutesPerYear,
                outage_min_per_year(),
                0,
            ),
            Figure::over_seeds(
                say!(
                    "lost on a day with the gateway out for an hour",
                    "perdidas en un día con el NAT caído una hora"
                ),
                Unit::Generations,
                evidence.run("gateway_lost").replications.lost,
                0,
            ),
        ],
        command: simulate("gateway_lost"),
        would_change: say!(
            "A minute without generations that is worth more than {per_minute}, or zones that fail for longer than an hour a year: nobody publishes that figure.",
            "Que un minuto sin generaciones valga más de {per_minute}, o zonas que caigan más de una hora al año: nadie publica ese dato.",
            per_minute = usd(per_minute)
        ),
        holds: cost > 30.0 && evidence.run("gateway_lost").replications.lost.mean <= 0.0,
    }
}

pub(super) fn nat_from_day_one(evidence: &Evidence) -> Answer {
    let longest_min = |name| over(evidence.run(name), |outcome| outcome.wait_s.max / 60.0);
    let zone = longest_min("zone_lost");
    // Who comes while the gateway is out is simulated as coming when it is back, and has waited until then.
    let after_gateway = longest_min("gateway_lost");
    let none = no_gateway_saves_usd(evidence);
    Answer {
        asked: say!(
            "Are 2 NAT gateways justified from day one?",
            "¿Justificado 2 NAT Gateways desde día 1?"
        ),
        answer: say!(
            "No; one is enough, and to have none is cheaper still. In a simulated hour without a zone, two gateways keep the longest wait at {zone:.1} minutes; with one, and if it was that zone's, it is {gateway:.0} minutes. Tasks with public addresses and no gateway save {none} a month and fail with nobody's gateway.",
            "No; con uno basta, y prescindir de ambos es aún más barato. En una hora simulada sin una zona, dos NAT mantienen la espera más larga en {zone:.1} minutos; con uno solo, si era el de esa zona, llega a {gateway:.0} minutos. Las tareas con dirección pública y sin NAT ahorran {none} al mes y no dependen de ningún NAT.",
            zone = zone.mean,
            gateway = GATEWAY_OUT_MIN + after_gateway.mean,
            none = usd(none)
        ),
        figures: vec![
            Figure::over_seeds(
                say!(
                    "longest wait, zone lost, two gateways",
                    "espera más larga, zona caída, dos NAT"
                ),
                Unit::Minutes,
                zone,
                1,
            ),
            Figure::exact(
                say!(
                    "only gateway lost: the hour without it, assumed",
                    "único NAT caído: la hora sin él, supuesta"
                ),
                Unit::Minutes,
                GATEWAY_OUT_MIN,
                0,
            ),
            Figure::over_seeds(
                say!(
                    "longest wait after that hour, simulated",
                    "espera más larga tras esa hora, simulada"
                ),
                Unit::Minutes,
                after_gateway,
                1,
            ),
            Figure::exact(
                say!(
                    "no gateway instead of two saves",
                    "ningún NAT en lugar de dos ahorra"
                ),
                Unit::UsdPerMonth,
                none,
                2,
            ),
        ],
        command: simulate("zone_lost"),
        would_change: say!(
            "A rule that forbids public addresses on tasks (security groups still close every port), or a partner who admits only a fixed address.",
            "Una norma que prohíba direcciones públicas en las tareas (los security groups siguen cerrando todos los puertos), o un socio que solo admita una dirección fija."
        ),
        holds: GATEWAY_OUT_MIN + after_gateway.mean > zone.mean && none > 0.0,
    }
}

pub(super) fn for_the_scale(evidence: &Evidence) -> Answer {
    let cost = second_gateway_usd(evidence);
    let growth = peak_per_hour(&evidence.load, STAGES[1].1);
    let waiting = growth * ZONE_OUT_H_PER_YEAR;
    let scale_waiting = peak_per_hour(&evidence.load, STAGES[2].1) * ZONE_OUT_H_PER_YEAR;
    Answer {
        asked: say!(
            "Is the networking set-up (2 NAT) right for the expected scale?",
            "¿Networking setup (2 NAT) apropiado para escala esperada?"
        ),
        answer: say!(
            "For 0 to 1,000 users it is one gateway too many. At the Growth stage an hour without the gateway makes up to {waiting:.0} generations wait, at Scale {scale:.0}: from Growth on, {cost} a month for the second is defensible, as growth.tfvars has it.",
            "Para 0 a 1,000 usuarios sobra uno. En la etapa Growth, una hora sin NAT hace esperar hasta {waiting:.0} generaciones, y en Scale {scale:.0}: a partir de Growth, {cost} al mes por el segundo son defendibles, y así lo tiene growth.tfvars.",
            waiting = waiting,
            scale = scale_waiting,
            cost = usd(cost)
        ),
        figures: vec![
            Figure::exact(
                say!(
                    "generations that an hour's outage delays, MVP",
                    "generaciones que retrasa una hora de caída, MVP"
                ),
                Unit::Generations,
                evidence.asked_per_hour(),
                0,
            ),
            Figure::exact(
                say!("the same, Growth", "lo mismo, Growth"),
                Unit::Generations,
                waiting,
                0,
            ),
            Figure::exact(
                say!("second gateway", "segundo NAT"),
                Unit::UsdPerMonth,
                cost,
                2,
            ),
        ],
        command: simulate("growth"),
        would_change: say!(
            "The price of a delayed generation: the second gateway pays once an hour's delay of all of them costs more than {year} a year.",
            "El precio de una generación retrasada: el segundo NAT se paga cuando una hora de retraso de todas cuesta más de {year} al año.",
            year = usd(12.0 * cost)
        ),
        holds: waiting > evidence.asked_per_hour(),
    }
}

pub(super) fn alb_or_nlb(evidence: &Evidence) -> Answer {
    let bill = evidence.proposal_bill();
    let alb = bill.get(LineItem::AlbHours).as_usd() + bill.get(LineItem::AlbLcu).as_usd();
    let lcus = bill.get(LineItem::AlbLcu).as_usd();
    let price = simulator::prices::price_book()
        .nanos("alb_lcu")
        .map_or(f64::NAN, |nanos| {
            crate::stats::count_u64_as_f64(nanos) / 1e9
        });
    let saved = lcus * (1.0 - NLCU_USD_HOUR / price);
    Answer {
        asked: say!(
            "Is an ALB needed, or use an NLB?",
            "¿ALB necesario o usar NLB?"
        ),
        answer: say!(
            "Keep the ALB. An NLB is not the cheaper one: the hour costs the same, and its capacity units save {saved} of {alb} a month at this traffic, for which HTTP routing, redirects and WAF would go.",
            "Conserva el ALB. El NLB no es más barato: la hora cuesta lo mismo, y sus unidades de capacidad ahorran {saved} de {alb} al mes con este tráfico, a cambio de perder el enrutamiento HTTP, las redirecciones y WAF.",
            saved = usd(saved),
            alb = usd(alb)
        ),
        figures: vec![
            Figure::exact(
                say!("ALB, hours and capacity", "ALB, horas y capacidad"),
                Unit::UsdPerMonth,
                alb,
                2,
            ),
            Figure::exact(
                say!("an NLB would save", "un NLB ahorraría"),
                Unit::UsdPerMonth,
                saved,
                2,
            ),
        ],
        command: String::new(),
        would_change: say!(
            "Terabytes a month, or a protocol other than HTTP. The idle time-out is no reason: both are settable beyond 900 s, and a queue needs neither.",
            "Terabytes al mes, o un protocolo distinto de HTTP. El tiempo de inactividad no es motivo: ambos se pueden fijar por encima de 900 s, y con una cola no hace falta."
        ),
        holds: saved < 1.0,
    }
}

pub(super) fn vpc(evidence: &Evidence) -> Answer {
    let endpoints = INTERFACE_ENDPOINTS * ZONES * INTERFACE_ENDPOINT_USD_HOUR * HOURS_PER_MONTH;
    let bill = evidence.proposal_bill();
    let gateways =
        bill.get(LineItem::NatGatewayHours).as_usd() + bill.get(LineItem::NatGatewayData).as_usd();
    Answer {
        asked: say!(
            "Is the VPC set-up appropriate or needlessly complex?",
            "¿VPC setup es apropiado o innecesariamente complejo?"
        ),
        answer: say!(
            "Appropriate: subnets, routes and security groups cost nothing, and database and cache belong in private ones. What costs is the way out, {gateways} a month for the gateways; interface endpoints would not replace them, since they cost {endpoints} and OpenAI still needs a way out. The S3 gateway endpoint is free and belongs in.",
            "Apropiado: las subredes, rutas y security groups no cuestan nada, y la base de datos y la caché deben estar en subredes privadas. Lo que cuesta es la salida, {gateways} al mes por los NAT; los endpoints de interfaz no los sustituyen, porque cuestan {endpoints} y OpenAI sigue necesitando salida. El endpoint de S3 es gratuito y debe incluirse.",
            gateways = usd(gateways),
            endpoints = usd(endpoints)
        ),
        figures: vec![
            Figure::exact(
                say!("two NAT gateways with 20 GB", "dos NAT Gateways con 20 GB"),
                Unit::UsdPerMonth,
                gateways,
                2,
            ),
            Figure::exact(
                say!(
                    "four interface endpoints in two zones",
                    "cuatro endpoints de interfaz en dos zonas"
                ),
                Unit::UsdPerMonth,
                endpoints,
                2,
            ),
            wait_p95(
                say!(
                    "wait, 95 %, on a day that loses a zone",
                    "espera, 95 %, en un día que pierde una zona"
                ),
                evidence.run("zone_lost"),
            ),
        ],
        command: String::new(),
        would_change: say!(
            "Traffic to AWS services in terabytes: endpoints bill $0.01 a GB, the gateway $0.045.",
            "Un tráfico de terabytes hacia servicios de AWS: los endpoints cobran $0.01 por GB y el NAT $0.045."
        ),
        holds: endpoints > 0.5 * gateways,
    }
}
