//! Heat maps over workers and vCPU of one task: what it carries, and what a thousand generations cost on it.

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;
use simulator::capacity::capacity_per_hour;
use simulator::prices::fargate_memories_gib;
use simulator::scenario::{Scenario, Tasks};

use super::svg::{FAINT, INK, Scale, VERMILION, bar, drawn, frame, short, text};
use super::{Figure, Value};
use crate::measurement::Measurement;

const WORKERS: [u32; 11] = [1, 2, 4, 6, 8, 12, 16, 24, 32, 64, 128];
const VCPUS: [f64; 5] = [0.25, 0.5, 1.0, 2.0, 4.0];
const HOURS_PER_MONTH: f64 = 730.0;

/// Dark blue to yellow over grey, even in brightness (after cividis: Nunez, Anderton and Renslow 2018,
/// <https://doi.org/10.1371/journal.pone.0199239>).
const RAMP: [[f64; 3]; 5] = [
    [0.0, 34.0, 78.0],
    [67.0, 78.0, 108.0],
    [124.0, 123.0, 120.0],
    [187.0, 173.0, 108.0],
    [254.0, 232.0, 56.0],
];

struct Tile {
    workers: u32,
    vcpu: f64,
    value: f64,
    measured: bool,
}

/// The scenario with one task of this size always on.
fn one_task(base: &Scenario, workers: u32, vcpu: f64) -> Option<Scenario> {
    let mut scenario = base.clone();
    scenario.fleet.vcpu = vcpu;
    scenario.fleet.memory_gib = fargate_memories_gib(vcpu)?.first().copied()?;
    scenario.fleet.workers = workers;
    scenario.fleet.tasks = Tasks::fixed(1);
    scenario.fleet.autoscaling.metrics.clear();
    Some(scenario)
}

fn carried(scenario: &Scenario) -> f64 {
    capacity_per_hour(scenario, 1.0)
        .into_values()
        .fold(f64::INFINITY, f64::min)
}

fn tiles(
    base: &Scenario,
    value: impl Fn(&Scenario) -> f64,
    measured: impl Fn(u32, f64) -> bool,
) -> Vec<Tile> {
    WORKERS
        .iter()
        .flat_map(|&workers| VCPUS.iter().map(move |&vcpu| (workers, vcpu)))
        .filter_map(|(workers, vcpu)| {
            Some(Tile {
                workers,
                vcpu,
                value: value(&one_task(base, workers, vcpu)?),
                measured: measured(workers, vcpu),
            })
        })
        .collect()
}

pub(super) fn capacity(base: &Scenario, measurement: &Measurement) -> Figure {
    let measured = |workers: u32, vcpu: f64| {
        measurement
            .cells
            .iter()
            .any(|cell| cell.workers == workers && (cell.vcpu - vcpu).abs() < 1e-9)
    };
    let tiles = tiles(base, carried, measured);
    Figure {
        id: "capacity",
        title: "Capacity of one task, generations per hour".to_owned(),
        alternative: "Heat map: more workers carry more, in proportion; more vCPU carry no more, since a generation waits for OpenAI nearly all of its time. Framed are the shapes that this run measured, with its longest generations; the figures in all cells are for the generations asked for.".to_owned(),
        columns: ["workers", "vCPU", "capacity, generations/h", "shape measured in this run"].map(str::to_owned).to_vec(),
        rows: rows(&tiles, |tile| Some(if tile.measured { "yes" } else { "no" })),
        drawings: drawings(&tiles, short),
    }
}

pub(super) fn cost(base: &Scenario) -> Figure {
    let price = |scenario: &Scenario| {
        simulator::cost::monthly(&scenario.fleet, 1.0).map_or(f64::NAN, |bill| {
            1000.0 * bill.total().as_usd() / (carried(scenario) * HOURS_PER_MONTH)
        })
    };
    let tiles = tiles(base, price, |_, _| false);
    Figure {
        id: "cost-per-thousand",
        title: "What a thousand generations cost on one busy task, USD".to_owned(),
        alternative: "Heat map of the whole monthly bill over what one task carries at full use: cheapest with many workers on the smallest task, dearest with one worker on 4 vCPU.".to_owned(),
        columns: ["workers", "vCPU", "USD per thousand generations"].map(str::to_owned).to_vec(),
        rows: rows(&tiles, |_| None),
        drawings: drawings(&tiles, |usd| format!("{usd:.2}")),
    }
}

fn rows(tiles: &[Tile], last: impl Fn(&Tile) -> Option<&'static str>) -> Vec<Vec<Value>> {
    tiles
        .iter()
        .map(|tile| {
            let mut row: Vec<Value> = vec![
                f64::from(tile.workers).into(),
                tile.vcpu.into(),
                tile.value.into(),
            ];
            row.extend(last(tile).map(Value::from));
            row
        })
        .collect()
}

fn drawings(tiles: &[Tile], shown: fn(f64) -> String) -> [super::Drawing; 2] {
    let low = tiles
        .iter()
        .map(|tile| tile.value)
        .fold(f64::INFINITY, f64::min);
    let high = tiles.iter().map(|tile| tile.value).fold(0.0, f64::max);
    drawn([400, 380], |canvas, area| {
        let letters = canvas.letters();
        let (left, top) = (if canvas.narrow { 40 } else { 60 }, 22);
        let (right, bottom) = (canvas.width - 4, canvas.height - 44);
        let columns = i32::try_from(VCPUS.len())?;
        let lines = i32::try_from(WORKERS.len())?;
        let x = |column: i32| left + (right - left) * column / columns;
        let y = |row: i32| bottom - (bottom - top) * row / lines;
        let share = Scale::log([low, high], [0, 1000]);
        for tile in tiles {
            let column = i32::try_from(
                VCPUS
                    .iter()
                    .position(|vcpu| (vcpu - tile.vcpu).abs() < 1e-9)
                    .unwrap_or(0),
            )?;
            let row = i32::try_from(
                WORKERS
                    .iter()
                    .position(|workers| *workers == tile.workers)
                    .unwrap_or(0),
            )?;
            let color = ramp(f64::from(share.at(tile.value)) / 1000.0);
            let (from, to) = (
                (x(column) + 1, y(row + 1) + 1),
                (x(column + 1) - 1, y(row) - 1),
            );
            bar(area, from, to, color.filled())?;
            if tile.measured {
                let inside = ((from.0 + 1, from.1 + 1), (to.0 - 1, to.1 - 1));
                frame(area, inside.0, inside.1, VERMILION.stroke_width(3))?;
            }
            let middle = (i32::midpoint(from.0, to.0), i32::midpoint(from.1, to.1));
            text(
                area,
                &shown(tile.value),
                middle,
                letters,
                readable_on(color),
                HPos::Center,
            )?;
        }
        for (index, workers) in (0..).zip(WORKERS) {
            let middle = i32::midpoint(y(index), y(index + 1));
            text(
                area,
                &workers.to_string(),
                (left - 8, middle),
                letters,
                INK,
                HPos::Right,
            )?;
        }
        for (index, vcpu) in (0..).zip(VCPUS) {
            let middle = i32::midpoint(x(index), x(index + 1));
            text(
                area,
                &vcpu.to_string(),
                (middle, bottom + 12),
                letters,
                INK,
                HPos::Center,
            )?;
        }
        text(area, "workers", (2, 9), letters, FAINT, HPos::Left)?;
        text(
            area,
            "vCPU of the task",
            (i32::midpoint(left, right), bottom + 32),
            letters,
            FAINT,
            HPos::Center,
        )?;
        Ok(())
    })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float cast saturates at 0 and 255"
)]
fn ramp(share: f64) -> RGBColor {
    let steps = 4.0;
    let at = (share.clamp(0.0, 1.0) * steps).min(steps - 1e-9);
    let index = at.floor() as usize;
    let rest = at - at.floor();
    let channel = |channel: usize| {
        let (from, to) = (RAMP[index][channel], RAMP[index + 1][channel]);
        (from + rest * (to - from)).round() as u8
    };
    RGBColor(channel(0), channel(1), channel(2))
}

/// Black or white, whichever stands out more (relative luminance of WCAG 2, section "contrast ratio").
fn readable_on(color: RGBColor) -> RGBColor {
    let linear = |channel: u8| {
        let share = f64::from(channel) / 255.0;
        if share <= 0.04045 {
            share / 12.92
        } else {
            ((share + 0.055) / 1.055).powf(2.4)
        }
    };
    let luminance = 0.2126 * linear(color.0) + 0.7152 * linear(color.1) + 0.0722 * linear(color.2);
    if luminance > 0.179 { BLACK } else { WHITE }
}
