//! How long generations wait: the share that waits longer than a given time.

use std::collections::BTreeMap;

use plotters::prelude::*;
use simulator::scenario::Scenario;
use simulator::simulate_traced;
use simulator::trace::Happening;

use super::svg::{BLUE, FAINT, GRID, INK, Pen, Scale, VERMILION, drawn, line};
use super::{Figure, Value};
use crate::pipeline::Results;
use crate::stats::{count_as_f64, count_u64_as_f64};

/// Times that are asked about, in seconds.
const TIMES_S: [f64; 22] = [
    1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 90.0, 120.0, 180.0, 300.0, 450.0, 600.0, 900.0, 1_800.0,
    2_700.0, 3_600.0, 7_200.0, 10_800.0, 18_000.0, 36_000.0, 86_400.0,
];

/// Waits in seconds of the generations of one seed after the warm-up; who never started has waited until the end.
fn waits(scenario: &Scenario) -> Vec<f64> {
    let mut submitted = BTreeMap::new();
    let mut waits = Vec::new();
    let warmup = scenario.warmup.as_nanos();
    let seconds = |ns: u64| count_u64_as_f64(ns) / 1e9;
    let run = simulate_traced(scenario, &mut |event| match event.what {
        Happening::Submitted { generation } if event.at_ns >= warmup => {
            submitted.insert(generation, event.at_ns);
        }
        Happening::Started { generation, .. } | Happening::Lost { generation, .. } => {
            if let Some(at_ns) = submitted.remove(&generation) {
                waits.push(seconds(event.at_ns.saturating_sub(at_ns)));
            }
        }
        _ => {}
    });
    if run.is_err() {
        return vec![];
    }
    let end = scenario.horizon.as_nanos();
    waits.extend(
        submitted
            .into_values()
            .map(|at_ns| seconds(end.saturating_sub(at_ns))),
    );
    waits
}

fn shares(scenario: &Scenario, seeds: u64) -> Vec<f64> {
    let all: Vec<f64> = (0..seeds)
        .flat_map(|seed| {
            waits(&Scenario {
                seed: scenario.seed.wrapping_add(seed),
                ..scenario.clone()
            })
        })
        .collect();
    TIMES_S
        .iter()
        .map(|limit| {
            count_as_f64(all.iter().filter(|wait| *wait > limit).count())
                / count_as_f64(all.len().max(1))
        })
        .collect()
}

/// Name, colour, and the share that waits longer than each of [`TIMES_S`].
type Series = (&'static str, RGBColor, Vec<f64>);

pub(super) fn figure(results: &Results) -> Figure {
    let base = &results.queued.scenario;
    let seeds = results.queued.replications.outcomes.len() as u64;
    let mut series = vec![(
        "the proposal's tasks, queued",
        VERMILION,
        shares(base, seeds),
    )];
    if let Some(cheapest) = results.cheapest() {
        let scenario = Scenario {
            fleet: cheapest.fleet.clone(),
            ..base.clone()
        };
        series.push(("cheapest sizing that holds", BLUE, shares(&scenario, seeds)));
    }
    let promised_s = base
        .slo
        .wait_p95
        .map(simulator::time::Duration::as_secs_f64);
    let drawings = drawn([360, 340], |canvas, area| {
        let pen = Pen {
            area,
            size: canvas.letters(),
        };
        let (left, top) = (48, 50);
        let (right, bottom) = (canvas.width - 16, canvas.height - 44);
        let x = Scale::log([1.0, 86_400.0], [left, right]);
        let y = Scale::linear([0.0, 1.0], [bottom, top]);
        for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
            line(area, (left, y.at(share)), (right, y.at(share)), GRID)?;
            pen.right(
                &format!("{:.0} %", share * 100.0),
                (left - 6, y.at(share)),
                INK,
            )?;
        }
        for (at_s, name) in [
            (1.0, "1 s"),
            (10.0, "10 s"),
            (60.0, "1 min"),
            (600.0, "10 min"),
            (3_600.0, "1 h"),
            (36_000.0, "10 h"),
        ] {
            line(area, (x.at(at_s), bottom), (x.at(at_s), bottom + 4), INK)?;
            pen.center(name, (x.at(at_s), bottom + 13), INK)?;
        }
        pen.center(
            "wait until a worker starts",
            (i32::midpoint(left, right), bottom + 32),
            FAINT,
        )?;
        if let Some(limit_s) = promised_s {
            line(
                area,
                (x.at(limit_s), top - 6),
                (x.at(limit_s), bottom),
                INK.stroke_width(1),
            )?;
            for (row, words) in (0..).zip(["95 % should have", "started by here"]) {
                pen.left(words, (x.at(limit_s) + 6, y.at(0.5) - 18 + 16 * row), INK)?;
            }
        }
        for (index, (name, color, shares)) in (0..).zip(&series) {
            let path: Vec<(i32, i32)> = TIMES_S
                .iter()
                .zip(shares)
                .map(|(at_s, share)| (x.at(*at_s), y.at(*share)))
                .collect();
            area.draw(&PathElement::new(path, color.stroke_width(3)))?;
            line(
                area,
                (2, 10 + 18 * index),
                (22, 10 + 18 * index),
                color.stroke_width(3),
            )?;
            pen.left(name, (28, 10 + 18 * index), INK)?;
        }
        Ok(())
    });
    let mut columns = vec!["longer than, s".to_owned()];
    columns.extend(series.iter().map(|(name, _, _)| format!("share, {name}")));
    let beyond: Vec<_> = series
        .iter()
        .map(|(name, _, shares)| format!("{:.0} % ({name})", shares[6] * 100.0))
        .collect();
    Figure {
        id: "waits",
        title: "How many generations wait, and how long".to_owned(),
        alternative: format!(
            "Share of the generations that wait longer than the time on the axis. Longer than a minute: {}.",
            beyond.join("; ")
        ),
        columns,
        rows: rows(&series),
        drawings,
    }
}

fn rows(series: &[Series]) -> Vec<Vec<Value>> {
    TIMES_S
        .iter()
        .enumerate()
        .map(|(index, at_s)| {
            let mut row: Vec<Value> = vec![(*at_s).into()];
            row.extend(
                series
                    .iter()
                    .map(|(_, _, shares)| Value::from(shares[index])),
            );
            row
        })
        .collect()
}
