//! What each stage costs on either stack, and where the difference comes from.

use simulator::scenario::CacheMode;

use super::{in_units, table};
use crate::reference::pricing::{Priced, StagePrices};
use crate::reference::service::Kind;
use crate::report::Document;
use crate::review::words::{Language, Text, grouped, say, usd};

/// Less than a cent is no difference.
const CENT_USD: f64 = 0.005;

/// Adds the table; `extrapolated` says what of it was not measured on its vCPU.
pub(super) fn add(
    document: &mut Document,
    stages: &[StagePrices],
    extrapolated: &Text,
    language: Language,
) {
    let word = |text: &Text| text.get(language).to_owned();
    document.paragraph(word(&say!(
        "The cheapest Fargate sizing of tasks that are always on which holds each stage's own load and promise (loadtests/slo/STAGE.toml, without its budget), on either stack. Nothing is deployed and no task dies in these days, though each stop costs FastAPI what is in flight. {extrapolated} FastAPI keeps a database connection for each generation, so that its database may have to be larger, and its sessions in a Redis: beside a single task one costs nothing extra (the little that it takes of the task is not simulated), several tasks share ElastiCache. Rust needs neither while one task is all.",
        "El dimensionamiento de Fargate más barato, con tareas siempre encendidas, que soporta la carga y lo prometido de cada etapa (loadtests/slo/STAGE.toml, sin su presupuesto), en cada stack. En esos días no se despliega nada ni muere ninguna tarea, aunque cada parada le cuesta a FastAPI lo que está en curso. {extrapolated_es} FastAPI retiene una conexión a la base por generación, así que puede necesitar una base más grande, y guarda las sesiones en un Redis: junto a una sola tarea no cuesta nada más (lo poco que ocupa de ella no se simula), varias tareas comparten ElastiCache. Rust no necesita ninguno mientras baste una tarea.",
        extrapolated = extrapolated.en.clone(),
        extrapolated_es = extrapolated.es.clone()
    )));
    let mut rows = table(
        language,
        &[
            say!("stage", "etapa"),
            say!("peak, generations/h", "pico, generaciones/h"),
            say!("Rust", "Rust"),
            say!("USD/month (Fargate)", "USD/mes (Fargate)"),
            say!("FastAPI", "FastAPI"),
            say!("USD/month (Fargate)", "USD/mes (Fargate)"),
            say!("FastAPI beyond Rust", "FastAPI sobre Rust"),
        ],
    );
    for stage in stages {
        let [rust, fastapi] = [&stage.rust, &stage.fastapi].map(Option::as_ref);
        let beyond = rust
            .zip(fastapi)
            .map(|(rust, fastapi)| beyond(rust, fastapi));
        rows.row([
            stage.stage.to_owned(),
            grouped(&format!("{:.0}", stage.peak_per_hour)),
            word(&sizing(Kind::Rust, rust)),
            bill(rust),
            word(&sizing(Kind::FastApi, fastapi)),
            bill(fastapi),
            beyond.as_ref().map_or_else(String::new, word),
        ]);
    }
    document.table(rows);
}

fn sizing(kind: Kind, priced: Option<&Priced>) -> Text {
    let Some(one) = priced else {
        return say!(
            "none of those searched holds",
            "ninguno de los buscados cumple"
        );
    };
    let (workers, cache) = (in_units(kind, one.workers), cache(one.cache_mode));
    say!(
        "{tasks} × {vcpu} vCPU, {gib} GiB, {workers}; {class}; {cache}",
        "{tasks} × {vcpu} vCPU, {gib} GiB, {workers_es}; {class}; {cache_es}",
        tasks = one.tasks,
        vcpu = one.vcpu,
        gib = one.memory_gib,
        workers = workers.en.clone(),
        workers_es = workers.es.clone(),
        class = one.db_instance_class.clone(),
        cache = cache.en.clone(),
        cache_es = cache.es.clone()
    )
}

fn cache(mode: CacheMode) -> Text {
    match mode {
        CacheMode::Elasticache => say!("ElastiCache", "ElastiCache"),
        CacheMode::Sidecar => say!("Redis beside it", "Redis a su lado"),
        CacheMode::None => say!("no Redis", "sin Redis"),
    }
}

fn bill(priced: Option<&Priced>) -> String {
    priced.map_or_else(String::new, |one| {
        format!("{} ({})", usd(one.usd_month), usd(one.fargate_usd_month))
    })
}

/// `+$28.23: Fargate +$4.87, database +$23.36`.
fn beyond(rust: &Priced, fastapi: &Priced) -> Text {
    let more = |of: fn(&Priced) -> f64| of(fastapi) - of(rust);
    let whole = more(|one| one.usd_month);
    let named = [
        (
            say!("Fargate", "Fargate"),
            more(|one| one.fargate_usd_month),
        ),
        (
            say!("database", "base de datos"),
            more(|one| one.database_usd_month),
        ),
        (say!("cache", "caché"), more(|one| one.cache_usd_month)),
    ];
    let rest = whole - named.iter().map(|(_, usd)| usd).sum::<f64>();
    let parts: Vec<_> = named
        .into_iter()
        .chain([(say!("other", "otros"), rest)])
        .filter(|(_, usd)| usd.abs() >= CENT_USD)
        .collect();
    if parts.is_empty() {
        return say!("nothing", "nada");
    }
    let list = |name: fn(&Text) -> &str| {
        let each = parts
            .iter()
            .map(|(part, usd)| format!("{} {}", name(part), signed(*usd)));
        each.collect::<Vec<_>>().join(", ")
    };
    Text {
        en: format!("{}: {}", signed(whole), list(|text| text.en.as_str())),
        es: format!("{}: {}", signed(whole), list(|text| text.es.as_str())),
    }
}

fn signed(amount_usd: f64) -> String {
    let sign = if amount_usd < 0.0 { "" } else { "+" };
    format!("{sign}{}", usd(amount_usd))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn priced(cache_mode: CacheMode, usd_month: f64) -> Priced {
        Priced {
            tasks: 1,
            vcpu: 0.25,
            memory_gib: 0.5,
            workers: 1,
            db_instance_class: "db.t4g.micro".to_owned(),
            cache_mode,
            usd_month,
            fargate_usd_month: 9.0,
            database_usd_month: 14.0,
            cache_usd_month: 0.0,
        }
    }

    #[test]
    fn a_difference_is_told_by_where_it_comes_from() {
        let rust = priced(CacheMode::None, 95.0);
        let same = beyond(&rust, &priced(CacheMode::Sidecar, 95.0));
        assert_eq!(same.en, "nothing");
        let mut fastapi = priced(CacheMode::Elasticache, 124.0);
        fastapi.fargate_usd_month = 8.0;
        fastapi.database_usd_month = 30.0;
        fastapi.cache_usd_month = 12.0;
        let more = beyond(&rust, &fastapi);
        assert_eq!(
            more.en,
            "+$29.00: Fargate -$1.00, database +$16.00, cache +$12.00, other +$2.00"
        );
    }

    #[test]
    fn workers_and_the_cache_are_named() {
        let text = sizing(Kind::FastApi, Some(&priced(CacheMode::Sidecar, 95.0)));
        assert_eq!(
            text.en,
            "1 × 0.25 vCPU, 0.5 GiB, 1 process; db.t4g.micro; Redis beside it"
        );
    }
}
