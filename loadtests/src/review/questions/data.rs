//! The database and the cache.

use super::{Answer, lost, over, simulate, wait_p95, waits_hold};
use crate::review::evidence::{Evidence, IN_PROCESS, peak_per_hour};
use crate::review::facts::{
    EXTENDED_SUPPORT_USD_VCPU_HOUR, FAILOVER_S, POOL_CONNECTIONS_PER_TASK, T4G_MICRO_BASELINE,
    T4G_MICRO_CONNECTIONS, T4G_MICRO_VCPU, VALKEY_USD_HOUR,
};
use crate::review::words::{percent, say, usd};
use crate::review::{Figure, Unit};
use crate::stages::STAGES;
use simulator::cost::LineItem;

const HOURS_PER_MONTH: f64 = 730.0;

/// What the standby costs a month.
fn standby_usd(evidence: &Evidence) -> f64 {
    let tasks = evidence.proposal.tasks_desired;
    evidence.total(|fleet| fleet.db_multi_az = true, tasks)
        - evidence.total(|fleet| fleet.db_multi_az = false, tasks)
}

fn cache_usd(evidence: &Evidence) -> f64 {
    let tasks = evidence.proposal.tasks_desired;
    evidence.proposal_bill().total().as_usd()
        - evidence.total(|fleet| fleet.cache_mode = IN_PROCESS, tasks)
}

/// vCPU-seconds of the database that one hour at this rate takes, over those that the class gives without credits.
fn baseline_share(evidence: &Evidence, per_hour: f64) -> f64 {
    let db_s = evidence.calibration.db_ms_per_generation.value / 1000.0;
    per_hour * db_s / baseline_s()
}

fn baseline_s() -> f64 {
    T4G_MICRO_VCPU * T4G_MICRO_BASELINE * 3600.0
}

pub(super) fn multi_az_from_day_one(evidence: &Evidence) -> Answer {
    let cost = standby_usd(evidence);
    Answer {
        asked: say!("Multi-AZ from day one?", "¿Multi-AZ desde día 1?"),
        answer: say!(
            "No for the MVP: it adds {cost} a month ({year} a year). It does not mean zero downtime either: a failover takes {low:.0} to {high:.0} s, during which this backend answers 503 and its generations go on at OpenAI.",
            "No para el MVP: añade {cost} al mes ({year} al año). Tampoco significa cero interrupción: una conmutación (failover) tarda de {low:.0} a {high:.0} s, en los que este backend responde 503 y sus generaciones siguen en OpenAI.",
            cost = usd(cost),
            year = usd(12.0 * cost),
            low = FAILOVER_S[0],
            high = FAILOVER_S[1]
        ),
        figures: vec![
            Figure::exact(
                say!(
                    "standby: instance and storage",
                    "réplica en espera: instancia y disco"
                ),
                Unit::UsdPerMonth,
                cost,
                2,
            ),
            Figure::range(
                say!(
                    "failover, typical (AWS)",
                    "conmutación, duración típica (AWS)"
                ),
                Unit::Seconds,
                [
                    f64::midpoint(FAILOVER_S[0], FAILOVER_S[1]),
                    FAILOVER_S[0],
                    FAILOVER_S[1],
                ],
                0,
            ),
        ],
        command: String::new(),
        would_change: say!(
            "Paying customers: the standby is cheap once losing the database for as long as a restore takes costs more than {year} a year.",
            "Clientes que pagan: la réplica es barata en cuanto quedarse sin base de datos lo que dura una restauración cueste más de {year} al año.",
            year = usd(12.0 * cost)
        ),
        holds: cost > 0.0 && cost < 20.0,
    }
}

pub(super) fn wait_for_metrics(evidence: &Evidence) -> Answer {
    let cost = standby_usd(evidence);
    let fargate = evidence.proposal_bill().fargate().as_usd();
    Answer {
        asked: say!(
            "Wait for metrics before Multi-AZ?",
            "¿Esperar métricas antes de Multi-AZ?"
        ),
        answer: say!(
            "Wait for customers rather than for metrics: no load metric tells of a failed zone. The standby is {cost} a month, a tenth of what the two oversized tasks cost ({fargate}): take it from the first saving when the Growth stage begins.",
            "Mejor esperar clientes que métricas: ninguna métrica de carga anuncia la caída de una zona. La réplica cuesta {cost} al mes, una décima parte de las dos tareas sobredimensionadas ({fargate}): págala con el primer ahorro al comenzar la etapa Growth.",
            cost = usd(cost),
            fargate = usd(fargate)
        ),
        figures: vec![
            Figure::exact(
                say!("standby", "réplica en espera"),
                Unit::UsdPerMonth,
                cost,
                2,
            ),
            Figure::exact(
                say!("the proposal's tasks", "las tareas de la propuesta"),
                Unit::UsdPerMonth,
                fargate,
                2,
            ),
            lost(
                say!(
                    "generations lost on a day that loses a zone (tasks only)",
                    "generaciones perdidas en un día que pierde una zona (solo tareas)"
                ),
                evidence.run("zone_lost"),
            ),
        ],
        command: simulate("zone_lost"),
        would_change: say!(
            "An hour of standstill that costs more than a year of the standby: backups exist without it, so it is time that Multi-AZ buys, not data.",
            "Que una hora de parada cueste más que un año de réplica: las copias de seguridad existen también sin ella, así que Multi-AZ compra tiempo, no datos."
        ),
        holds: (0.05..0.2).contains(&(cost / fargate)),
    }
}

pub(super) fn micro(evidence: &Evidence) -> Answer {
    let db = evidence.calibration.db_ms_per_generation;
    let growth = peak_per_hour(&evidence.load, STAGES[1].1);
    let carried = baseline_s() * 1000.0 / db.value;
    let relative = 1.96 * db.std_err / db.value;
    let pools = f64::from(evidence.proposal.tasks_max) * POOL_CONNECTIONS_PER_TASK;
    // A rolling deployment may run as many new tasks beside the old ones.
    let deployed = 2.0 * pools;
    let extended = T4G_MICRO_VCPU * EXTENDED_SUPPORT_USD_VCPU_HOUR * HOURS_PER_MONTH;
    Answer {
        asked: say!(
            "Is db.t4g.micro enough or undersized?",
            "¿db.t4g.micro suficiente o undersized?"
        ),
        answer: say!(
            "Enough. The load takes {mvp} of the CPU that the class gives without spending credits, Growth {growth}; three tasks open {pools:.0} of at least {least:.0} connections, and {deployed:.0} while a deployment runs old and new ones side by side. The trap is the version: PostgreSQL 14 leaves standard support on 2027-02-28. Extended support then costs {extended} a month; this repository's Terraform declines it, so that AWS upgrades the database instead.",
            "Suficiente. La carga usa el {mvp} de la CPU que la clase da sin gastar créditos, y Growth el {growth}; tres tareas abren {pools:.0} de al menos {least:.0} conexiones, y {deployed:.0} mientras un despliegue mantiene a la vez las viejas y las nuevas. La trampa es la versión: PostgreSQL 14 sale del soporte estándar el 2027-02-28. El soporte extendido cuesta desde entonces {extended} al mes; el Terraform de este repositorio lo rechaza, así que AWS actualiza la base de datos en su lugar.",
            mvp = percent(baseline_share(evidence, evidence.asked_per_hour())),
            growth = percent(baseline_share(evidence, growth)),
            pools = pools,
            deployed = deployed,
            least = T4G_MICRO_CONNECTIONS[0],
            extended = usd(extended)
        ),
        figures: vec![
            Figure::calibrated(
                say!(
                    "PostgreSQL time of one generation (ms)",
                    "tiempo de PostgreSQL por generación (ms)"
                ),
                Unit::Number,
                db,
                1.0,
                1,
            ),
            Figure::range(
                say!(
                    "generations an hour that the baseline carries",
                    "generaciones por hora que soporta la línea base"
                ),
                Unit::GenerationsPerHour,
                [
                    carried,
                    carried / (1.0 + relative),
                    carried / (1.0 - relative),
                ],
                0,
            ),
            Figure::range(
                say!(
                    "connections of a db.t4g.micro, as reported",
                    "conexiones de un db.t4g.micro, según testimonios"
                ),
                Unit::Connections,
                [
                    T4G_MICRO_CONNECTIONS[0],
                    T4G_MICRO_CONNECTIONS[0],
                    T4G_MICRO_CONNECTIONS[1],
                ],
                0,
            ),
            Figure::exact(
                say!(
                    "extended support of PostgreSQL 14, unless declined",
                    "soporte extendido de PostgreSQL 14"
                ),
                Unit::UsdPerMonth,
                extended,
                2,
            ),
        ],
        command: String::new(),
        would_change: say!(
            "A service that holds a connection per generation, as both FastAPI services that were measured do: {least:.0} generations in flight would then be all there is. Or more than {tasks:.0} tasks of {pool:.0} connections, old and new ones of a deployment together.",
            "Un servicio que retenga una conexión por generación, como los dos servicios FastAPI medidos: entonces {least:.0} generaciones en curso serían el máximo. O más de {tasks:.0} tareas de {pool:.0} conexiones, contando juntas las viejas y las nuevas de un despliegue.",
            least = T4G_MICRO_CONNECTIONS[0],
            tasks = (T4G_MICRO_CONNECTIONS[0] / POOL_CONNECTIONS_PER_TASK).floor(),
            pool = POOL_CONNECTIONS_PER_TASK
        ),
        holds: baseline_share(evidence, growth) < 0.5 && deployed < T4G_MICRO_CONNECTIONS[0],
    }
}

pub(super) fn elasticache_from_day_one(evidence: &Evidence) -> Answer {
    let mvp = evidence.run("mvp");
    let saved = cache_usd(evidence);
    Answer {
        asked: say!(
            "Is ElastiCache needed from day one?",
            "¿ElastiCache necesario desde día 1?"
        ),
        answer: say!(
            "No, as long as one task is enough, and for the MVP it is: with sessions in process 95 % of the generations wait {wait:.1} s at most and {lost:.0} are lost. That saves {saved} a month. From the second task on a shared cache is needed.",
            "No, mientras baste una tarea, y para el MVP basta: con las sesiones en el proceso el 95 % de las generaciones espera {wait:.1} s como máximo y se pierden {lost:.0}. Eso ahorra {saved} al mes. A partir de la segunda tarea hace falta una caché compartida.",
            wait = mvp.replications.wait_p95_s.mean,
            lost = mvp.replications.lost.mean,
            saved = usd(saved)
        ),
        figures: vec![
            Figure::exact(
                say!("cache.t4g.micro", "cache.t4g.micro"),
                Unit::UsdPerMonth,
                saved,
                2,
            ),
            wait_p95(
                say!(
                    "wait, 95 %, one task without a cache",
                    "espera, 95 %, una tarea sin caché"
                ),
                mvp,
            ),
            lost(say!("lost in a day", "perdidas en un día"), mvp),
        ],
        command: "cargo sizing gate --sizing terraform/environments/mvp.tfvars".to_owned(),
        would_change: say!(
            "A second task, be it for its spare: sessions and limits in one process are unknown to the other. A sidecar has the same fault.",
            "Una segunda tarea, aunque sea de reserva: las sesiones y límites de un proceso son desconocidos para el otro. Un sidecar tiene el mismo defecto."
        ),
        holds: waits_hold(evidence, mvp) && mvp.replications.lost.mean <= 0.0,
    }
}

pub(super) fn managed_or_in_memory(evidence: &Evidence) -> Answer {
    let growth = evidence.run("growth");
    let tasks = growth.replications.tasks_mean;
    let (redis, valkey) = (cache_usd(evidence), VALKEY_USD_HOUR * HOURS_PER_MONTH);
    Answer {
        asked: say!(
            "Managed ElastiCache needed, or Redis in memory enough?",
            "¿ElastiCache managed necesario o Redis in-memory suficiente?"
        ),
        answer: say!(
            "In memory for one task, managed from the second on: the Growth stage runs {tasks:.1} tasks on average. Then take Valkey, {valkey} a month instead of {redis}; Redis 6.2 leaves standard support on 2027-01-31.",
            "En memoria con una sola tarea; el servicio administrado, a partir de la segunda: la etapa Growth usa {tasks:.1} tareas en promedio. Entonces conviene Valkey, {valkey} al mes en lugar de {redis}; Redis 6.2 sale del soporte estándar el 2027-01-31.",
            tasks = tasks.mean,
            valkey = usd(valkey),
            redis = usd(redis)
        ),
        figures: vec![
            Figure::over_seeds(
                say!(
                    "tasks of the Growth stage, on average",
                    "tareas de la etapa Growth, en promedio"
                ),
                Unit::Tasks,
                tasks,
                2,
            ),
            Figure::exact(
                say!("Redis OSS, cache.t4g.micro", "Redis OSS, cache.t4g.micro"),
                Unit::UsdPerMonth,
                redis,
                2,
            ),
            Figure::exact(
                say!("Valkey, the same node", "Valkey, el mismo nodo"),
                Unit::UsdPerMonth,
                valkey,
                2,
            ),
        ],
        command: simulate("growth"),
        would_change: say!(
            "Sessions and limits kept in PostgreSQL: then no stage needs a cache.",
            "Guardar sesiones y límites en PostgreSQL: entonces ninguna etapa necesita caché."
        ),
        holds: tasks.mean > 1.0 && valkey < redis,
    }
}

pub(super) fn remove_redis(evidence: &Evidence) -> Answer {
    let saved = cache_usd(evidence);
    let share = saved
        / evidence
            .proposal_bill()
            .get(LineItem::NatGatewayHours)
            .as_usd();
    let mvp = evidence.run("mvp");
    Answer {
        asked: say!(
            "Redis is optional in the app: remove it for now?",
            "Redis es opcional en la app, ¿eliminar por ahora?"
        ),
        answer: say!(
            "Yes, with the one task of the MVP: leave REDIS_URL unset. It saves {saved} a month, {share} of what the NAT gateways cost, so it is not the first thing to save. The price: a restart signs everybody out, and limits begin anew.",
            "Sí, con la única tarea del MVP: deja REDIS_URL sin definir. Ahorra {saved} al mes, el {share} de lo que cuestan los NAT, así que no es lo primero que ahorrar. El precio: un reinicio cierra la sesión de todos y los límites empiezan de cero.",
            saved = usd(saved),
            share = percent(share)
        ),
        figures: vec![
            Figure::exact(say!("saved", "ahorro"), Unit::UsdPerMonth, saved, 2),
            Figure::over_seeds(
                say!("tasks of the MVP", "tareas del MVP"),
                Unit::Tasks,
                over(mvp, |outcome| outcome.tasks_mean),
                2,
            ),
        ],
        command: simulate("mvp"),
        would_change: say!(
            "Several deployments a day with users at work, or the second task.",
            "Varios despliegues al día con usuarios trabajando, o la segunda tarea."
        ),
        holds: mvp.scenario.fleet.tasks.max == 1 && share < 0.5,
    }
}
