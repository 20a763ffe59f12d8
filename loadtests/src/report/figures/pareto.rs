//! Cost against capacity of every sizing in the plan, with the front on which nothing is cheaper and larger.

use plotters::prelude::*;
use simulator::capacity::capacity_per_hour;
use simulator::scenario::{Fleet, Scenario};

use super::svg::{
    BLUE, FAINT, GREEN, GRID, INK, PAPER, Pen, Scale, VERMILION, bar, decades, drawn, line,
};
use super::{Figure, Value};
use crate::pipeline::Results;

#[derive(Clone)]
struct Point {
    usd: f64,
    per_hour: f64,
    kind: &'static str,
    sizing: String,
    front: bool,
}

fn point(base: &Scenario, fleet: &Fleet, usd: f64, kind: &'static str) -> Point {
    let scenario = Scenario {
        fleet: fleet.clone(),
        ..base.clone()
    };
    let per_hour = capacity_per_hour(&scenario, f64::from(fleet.tasks.max))
        .into_values()
        .fold(f64::INFINITY, f64::min);
    let sizing = format!(
        "{} x ({} vCPU, {} GiB, {} workers)",
        super::super::wording::tasks(fleet),
        fleet.vcpu,
        fleet.memory_gib,
        fleet.workers
    );
    Point {
        usd,
        per_hour,
        kind,
        sizing,
        front: false,
    }
}

fn points(results: &Results) -> Vec<Point> {
    let base = &results.queued.scenario;
    let plan = &results.plan;
    let kinds = [(&plan.accepted, "holds"), (&plan.rejected, "misses")];
    let mut points: Vec<Point> = kinds
        .into_iter()
        .flat_map(|(candidates, kind)| {
            candidates.iter().map(move |candidate| {
                point(
                    base,
                    &candidate.fleet,
                    candidate.cost_usd_month.as_usd(),
                    kind,
                )
            })
        })
        .filter(|point| point.per_hour > 0.0)
        .collect();
    points.sort_by(|a, b| {
        a.usd
            .total_cmp(&b.usd)
            .then(b.per_hour.total_cmp(&a.per_hour))
    });
    // One of those that fall on the same spot.
    points.dedup_by(|a, b| {
        (a.usd - b.usd).abs() < 0.5 && (a.per_hour - b.per_hour).abs() < 0.5 && a.kind == b.kind
    });
    let mut best = 0.0;
    for point in points.iter_mut().filter(|point| point.kind == "holds") {
        if point.per_hour > best {
            best = point.per_hour;
            point.front = true;
        }
    }
    points.push(point(
        base,
        &base.fleet,
        results.queued.replications.cost_usd_month.mean,
        "proposal",
    ));
    points
}

pub(super) fn figure(results: &Results) -> Figure {
    let points = points(results);
    let asked = results.queued.scenario.workload.arrivals.mean_per_hour();
    let [cost_min, cost_max] = bounds(&points, |point| point.usd, 1.05);
    let [low, high] = bounds(&points, |point| point.per_hour, 1.5);
    let drawings = drawn([430, 420], |canvas, area| {
        let pen = Pen {
            area,
            size: canvas.letters(),
        };
        let (left, top) = (52, 44);
        let (right, bottom) = (canvas.width - 14, canvas.height - 46);
        let x = Scale::log([cost_min, cost_max], [left, right]);
        let y = Scale::log([low, high], [bottom, top]);
        for tick in decades(low, high) {
            line(area, (left, y.at(tick)), (right, y.at(tick)), GRID)?;
            pen.right(&format!("{tick:.0}"), (left - 6, y.at(tick)), INK)?;
        }
        let ticks = [
            100.0, 150.0, 200.0, 300.0, 400.0, 600.0, 800.0, 1_200.0, 1_600.0, 2_400.0,
        ];
        for tick in ticks
            .into_iter()
            .filter(|tick| (cost_min..=cost_max).contains(tick))
        {
            line(area, (x.at(tick), top), (x.at(tick), bottom), GRID)?;
            pen.center(&format!("${tick:.0}"), (x.at(tick), bottom + 12), INK)?;
        }
        pen.center(
            "USD a month",
            (i32::midpoint(left, right), bottom + 32),
            FAINT,
        )?;
        pen.left("generations per hour at full use", (2, 10), FAINT)?;
        for point in &points {
            let at = (x.at(point.usd), y.at(point.per_hour));
            match point.kind {
                "holds" => area.draw(&Circle::new(at, 3, BLUE.filled()))?,
                "misses" => area.draw(&Circle::new(at, 2, FAINT.stroke_width(1)))?,
                _ => {}
            }
        }
        let front: Vec<(i32, i32)> = points
            .iter()
            .filter(|point| point.front)
            .map(|point| (x.at(point.usd), y.at(point.per_hour)))
            .collect();
        area.draw(&PathElement::new(front, GREEN.stroke_width(3)))?;
        line(
            area,
            (left, y.at(asked)),
            (right, y.at(asked)),
            INK.stroke_width(1),
        )?;
        pen.right(
            &format!("asked for: {asked:.0}/h"),
            (right, y.at(asked) + 11),
            INK,
        )?;
        for point in points.iter().filter(|point| point.kind == "proposal") {
            let at = (x.at(point.usd), y.at(point.per_hour));
            area.draw(&TriangleMarker::new(at, 9, VERMILION.filled()))?;
            bar(
                area,
                (at.0 - 30, at.1 + 10),
                (at.0 + 30, at.1 + 26),
                PAPER.filled(),
            )?;
            pen.center("proposal", (at.0, at.1 + 18), VERMILION)?;
        }
        let mut at = 2;
        let step = if canvas.narrow { 70 } else { 130 };
        // Each as it is drawn below.
        area.draw(&Circle::new((at + 5, 29), 3, BLUE.filled()))?;
        pen.left("holds", (at + 14, 29), INK)?;
        at += step;
        area.draw(&Circle::new((at + 5, 29), 2, FAINT.stroke_width(1)))?;
        pen.left("misses", (at + 14, 29), INK)?;
        at += step;
        line(area, (at - 6, 29), (at + 10, 29), GREEN.stroke_width(3))?;
        pen.left("cheapest for what it carries", (at + 14, 29), INK)?;
        Ok(())
    });
    Figure {
        id: "cost-against-capacity",
        title: "Cost against capacity of every sizing tried".to_owned(),
        alternative: format!(
            "Scatter of {} sizings: monthly cost against generations per hour. The green line joins those that hold the promise and than which no cheaper one carries more; the triangle is the proposal, queued, as its autoscaling leaves it; the black line is the load that is asked for.",
            points.len()
        ),
        columns: [
            "USD/month",
            "capacity, generations/h",
            "verdict",
            "on the front",
            "sizing",
        ]
        .map(str::to_owned)
        .to_vec(),
        rows: rows(&points),
        drawings,
    }
}

fn rows(points: &[Point]) -> Vec<Vec<Value>> {
    points
        .iter()
        .map(|point| {
            vec![
                point.usd.into(),
                point.per_hour.into(),
                point.kind.into(),
                (if point.front { "yes" } else { "no" }).into(),
                point.sizing.clone().into(),
            ]
        })
        .collect()
}

/// The least and the greatest value, with some room on a logarithmic axis.
fn bounds(points: &[Point], value: impl Fn(&Point) -> f64, room: f64) -> [f64; 2] {
    let least = points.iter().map(&value).fold(f64::INFINITY, f64::min);
    let greatest = points.iter().map(&value).fold(0.0, f64::max);
    [least / room, greatest * room]
}
