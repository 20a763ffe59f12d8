//! From the review's cost table to the real bill, row by row.

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;
use simulator::prices::seed_table;
use simulator::scenario::Fleet;

use super::svg::{BLUE, FAINT, GRID, INK, Scale, VERMILION, bar, drawn, line, text, ticks};
use super::{Figure, Value};
use crate::stats::count_u64_as_f64;

/// One step of the waterfall.
struct Step {
    what: String,
    from: f64,
    to: f64,
    total: bool,
}

fn steps(fleet: &Fleet) -> Vec<Step> {
    let Ok(bill) = simulator::cost::monthly(fleet, f64::from(fleet.tasks.desired)) else {
        return vec![];
    };
    let mut at = seed_table().total().as_usd();
    let mut steps = vec![Step {
        what: "the review's table".to_owned(),
        from: 0.0,
        to: at,
        total: true,
    }];
    for row in &seed_table().row {
        let stated = count_u64_as_f64(row.usd_micros_month) / 1e6;
        let priced: f64 = row.lines.iter().map(|line| bill.get(*line).as_usd()).sum();
        let to = at + priced - stated;
        steps.push(Step {
            what: row.item.clone(),
            from: at,
            to,
            total: false,
        });
        at = to;
    }
    steps.push(Step {
        what: "the same list, priced".to_owned(),
        from: 0.0,
        to: at,
        total: true,
    });
    steps
}

pub(super) fn figure(fleet: &Fleet) -> Figure {
    let steps = steps(fleet);
    let high = steps
        .iter()
        .map(|step| step.to.max(step.from))
        .fold(1.0, f64::max);
    let rows: Vec<Vec<Value>> = steps
        .iter()
        .map(|step| {
            vec![
                step.what.clone().into(),
                (step.to - step.from).into(),
                step.to.into(),
            ]
        })
        .collect();
    let height = 44 + 28 * i32::try_from(steps.len()).unwrap_or(0);
    let drawings = drawn([height, height], |canvas, area| {
        let letters = canvas.letters();
        let left = if canvas.narrow { 136 } else { 180 };
        let bottom = canvas.height - 38;
        let x = Scale::linear([0.0, high], [left, canvas.width - 62]);
        for tick in ticks(high, if canvas.narrow { 3.0 } else { 6.0 }) {
            line(area, (x.at(tick), 4), (x.at(tick), bottom), GRID)?;
            text(
                area,
                &format!("${tick:.0}"),
                (x.at(tick), bottom + 10),
                letters,
                INK,
                HPos::Center,
            )?;
        }
        text(
            area,
            "USD a month",
            (left, bottom + 28),
            letters,
            FAINT,
            HPos::Left,
        )?;
        for (index, step) in (0..).zip(&steps) {
            let top = 6 + 28 * index;
            text(
                area,
                &step.what,
                (left - 8, top + 10),
                letters,
                INK,
                HPos::Right,
            )?;
            let change = step.to - step.from;
            let color = match (step.total, change >= 0.0) {
                (true, _) => INK,
                (false, true) => VERMILION,
                (false, false) => BLUE,
            };
            let (from, to) = (x.at(step.from.min(step.to)), x.at(step.from.max(step.to)));
            bar(
                area,
                (from, top),
                (to.max(from + 2), top + 20),
                color.filled(),
            )?;
            let label = if step.total {
                format!("${:.2}", step.to)
            } else {
                format!("{change:+.2}")
            };
            text(
                area,
                &label,
                (to.max(from + 2) + 6, top + 10),
                letters,
                INK,
                HPos::Left,
            )?;
        }
        Ok(())
    });
    let (stated, priced) = (
        steps.first().map_or(0.0, |step| step.to),
        steps.last().map_or(0.0, |step| step.to),
    );
    Figure {
        id: "cost-waterfall",
        title: "From the review's cost table to the real bill".to_owned(),
        alternative: format!(
            "Waterfall from ${stated:.2} a month, as the review adds it up, to ${priced:.2}, row by row; the largest step is Fargate, whose row leaves out the memory and the second task."
        ),
        columns: ["row", "change, USD/month", "sum so far, USD/month"]
            .map(str::to_owned)
            .to_vec(),
        rows,
        drawings,
    }
}
