//! The report of `sizing sync`.

use crate::report::document::{Document, Table};
use crate::sync_mode::{Fates, SyncMeasurement};

/// What became of the requests, seen beside predicted, a row for each idle time-out.
pub fn sync(measurement: &SyncMeasurement) -> Document {
    let (load, shape) = (&measurement.load, measurement.shape);
    let mut document = Document {
        title: "What becomes of requests that stay open".into(),
        blocks: vec![],
    };
    document.paragraph(format!(
        "{:.1} generations an hour of {:.0} s each (Poisson), {} on {} vCPU, at speed-up {}. Every request stays \
         open, silent, until its generation has ended (Prefer: wait), behind a proxy that answers 504 after so \
         much silence, as a load balancer does; the backend reaches OpenAI through one that resets what was silent for \
         350 s, as a NAT gateway does. Predicted: the simulator, from the instants at which they were \
         sent. Silence counts from the request on, the wait for a worker with it.",
        measurement.plan.rate_per_hour,
        load.generation_s,
        crate::plural(shape.workers.into(), "worker"),
        shape.vcpu,
        load.speedup,
    ));
    let mut table = Table::new([
        "idle time-out s",
        "requests",
        "answered: seen, predicted",
        "cut: seen, predicted",
        "lost otherwise: seen, predicted",
    ]);
    for run in &measurement.runs {
        let both = |of: fn(&Fates) -> u64| format!("{}, {}", of(&run.seen), of(&run.predicted));
        table.row([
            run.idle_timeout_s.to_string(),
            run.requests.to_string(),
            both(|fates| fates.answered),
            both(|fates| fates.alb_idle_timeout),
            both(|fates| fates.other),
        ]);
    }
    document.table(table);
    for run in &measurement.runs {
        if let Some(failure) = &run.first_failure {
            document.paragraph(format!(
                "First other loss at {} s: {failure}.",
                run.idle_timeout_s
            ));
        }
    }
    let hardware = &measurement.hardware;
    document.paragraph(format!(
        "Measured on {}, {} cores; provider {}; commit {}; seed {}.",
        hardware.cpu_model,
        hardware.cpu_cores,
        hardware.provider,
        hardware.commit,
        measurement.plan.seed
    ));
    document
}
