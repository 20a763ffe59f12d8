//! What the proposed sizing costs beside what the review says it does.

use simulator::prices::seed_table;

use crate::pipeline::Results;
use crate::report::document::{Document, Table};
use crate::report::wording::interval;
use crate::stats::count_u64_as_f64;

/// The review's own table beside the same rows priced again, with its tasks always on.
pub(super) fn costs(document: &mut Document, results: &Results) {
    let fleet = &results.queued.scenario.fleet;
    let Ok(cost) = simulator::cost::monthly(fleet, fleet.tasks.desired.into()) else {
        return;
    };
    let seed = seed_table();
    let mut table = Table::new([
        "row of the review",
        "its USD/month",
        "priced again",
        "difference",
        "why",
    ]);
    let mut priced_total = 0.0;
    for row in &seed.row {
        let stated = usd(row.usd_micros_month);
        let priced: f64 = row.lines.iter().map(|line| cost.get(*line).as_usd()).sum();
        priced_total += priced;
        table.row([
            row.item.clone(),
            format!("{stated:.2}"),
            format!("{priced:.2}"),
            format!("{:+.2}", priced - stated),
            row.note.clone(),
        ]);
    }
    let stated_total = seed.total().as_usd();
    table.row([
        "total".to_owned(),
        format!("{stated_total:.2}"),
        format!("{priced_total:.2}"),
        format!("{:+.2}", priced_total - stated_total),
        String::new(),
    ]);
    document.table(table);
    let simulated = &results.queued.replications;
    document.paragraph(format!(
        "The review's list counts {} always on. The simulated fleet is billed for the {} that it had on average, \
         ${} a month in all.",
        crate::plural(fleet.tasks.desired.into(), "task"),
        interval(simulated.tasks_mean, 2),
        interval(simulated.cost_usd_month, 2),
    ));
}

fn usd(micros: u64) -> f64 {
    count_u64_as_f64(micros) / 1e6
}
