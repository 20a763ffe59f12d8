//! Generations lost in a day, by cause, as proposed and queued.

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;
use simulator::outcome::LossCause;
use simulator::replications::Interval;

use super::svg::{BLUE, FAINT, INK, Scale, VERMILION, bar, drawn, short, text};
use super::{Figure, Value};
use crate::judgement::Judgement;
use crate::pipeline::Results;
use crate::stats::count_u64_as_f64;

struct Bar {
    fleet: &'static str,
    cause: String,
    lost: Interval,
}

fn bars(fleet: &'static str, judgement: &Judgement) -> Vec<Bar> {
    let outcomes = &judgement.replications.outcomes;
    let of = |cause: LossCause| {
        let counts: Vec<f64> = outcomes
            .iter()
            .map(|outcome| count_u64_as_f64(outcome.lost.get(&cause).copied().unwrap_or(0)))
            .collect();
        Interval::of(&counts)
    };
    let mut causes: Vec<LossCause> = outcomes
        .iter()
        .flat_map(|outcome| outcome.lost.keys().copied())
        .collect();
    causes.sort_unstable();
    causes.dedup();
    let mut bars: Vec<Bar> = causes
        .into_iter()
        .map(|cause| Bar {
            fleet,
            cause: cause.name().replace('_', " "),
            lost: of(cause),
        })
        .filter(|bar| bar.lost.mean > 0.0)
        .collect();
    if bars.is_empty() {
        bars.push(Bar {
            fleet,
            cause: "nothing lost".to_owned(),
            lost: Interval::of(&vec![0.0; outcomes.len()]),
        });
    }
    bars
}

pub(super) fn figure(results: &Results) -> Figure {
    let mut all = bars("as proposed", &results.proposed);
    all.extend(bars("queued", &results.queued));
    let high = all.iter().map(|bar| bar.lost.mean).fold(1.0, f64::max) * 1.02;
    let rows: Vec<Vec<Value>> = all
        .iter()
        .map(|bar| {
            vec![
                bar.fleet.into(),
                bar.cause.clone().into(),
                bar.lost.mean.into(),
                (bar.lost.mean - bar.lost.half_width).into(),
                (bar.lost.mean + bar.lost.half_width).into(),
            ]
        })
        .collect();
    let height = 30 + 52 * i32::try_from(all.len()).unwrap_or(0);
    let drawings = drawn([height, height], |canvas, area| {
        let letters = canvas.letters();
        let x = Scale::linear([0.0, high], [2, canvas.width - 70]);
        for (index, item) in (0..).zip(&all) {
            let top = 8 + 52 * index;
            let label = format!("{}: {}", item.fleet, item.cause);
            text(area, &label, (2, top + 8), letters, INK, HPos::Left)?;
            let color = if item.lost.mean > 0.0 {
                VERMILION
            } else {
                BLUE
            };
            bar(
                area,
                (2, top + 18),
                (x.at(item.lost.mean).max(4), top + 38),
                color.filled(),
            )?;
            text(
                area,
                &short(item.lost.mean),
                (x.at(item.lost.mean) + 10, top + 29),
                letters,
                INK,
                HPos::Left,
            )?;
        }
        text(
            area,
            "generations lost in a simulated day",
            (2, canvas.height - 10),
            letters,
            FAINT,
            HPos::Left,
        )?;
        Ok(())
    });
    let summary: Vec<_> = all
        .iter()
        .map(|bar| format!("{}, {}: {}", bar.fleet, bar.cause, short(bar.lost.mean)))
        .collect();
    Figure {
        id: "losses",
        title: "Generations lost in a day, by cause".to_owned(),
        alternative: format!(
            "Bars of the generations lost in one simulated day: {}.",
            summary.join("; ")
        ),
        columns: ["fleet", "cause", "lost", "lost, low end", "lost, high end"]
            .map(str::to_owned)
            .to_vec(),
        rows,
        drawings,
    }
}
