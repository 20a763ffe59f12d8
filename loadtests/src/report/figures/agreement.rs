//! Measured against predicted: the ratio of each cell of the grid with its 95 % interval.

use plotters::prelude::*;

use super::svg::{BLUE, FAINT, GRID, INK, Pen, Scale, VERMILION, drawn, line};
use super::{Figure, Value};
use crate::measurement::{Cell, Measurement};

/// The normal limit of a 95 % interval.
const Z: f64 = 1.96;

fn ends(cell: &Cell) -> [f64; 3] {
    let half = Z * cell.throughput_per_hour_std_err / cell.expected_per_hour;
    let ratio = cell.agreement();
    [ratio, ratio - half, ratio + half]
}

pub(super) fn figure(measurement: &Measurement) -> Figure {
    let cells = &measurement.cells;
    let within = cells
        .iter()
        .filter(|cell| (cell.agreement() - 1.0).abs() < 0.05)
        .count();
    let span = cells
        .iter()
        .flat_map(|cell| ends(cell).map(|end| (end - 1.0).abs()))
        .fold(0.02, f64::max)
        * 1.15;
    let height = |row: i32| 64 + row * i32::try_from(cells.len()).unwrap_or(0);
    let drawings = drawn([height(34), height(38)], |canvas, area| {
        let left = if canvas.narrow { 118 } else { 170 };
        let right = canvas.width - 16;
        let bottom = canvas.height - 40;
        let x = Scale::linear([1.0 - span, 1.0 + span], [left, right]);
        let pen = Pen {
            area,
            size: canvas.letters(),
        };
        for ratio in [1.0 - span / 1.15, 1.0, 1.0 + span / 1.15] {
            let ink = if (ratio - 1.0).abs() < 1e-9 {
                INK
            } else {
                GRID
            };
            line(area, (x.at(ratio), 8), (x.at(ratio), bottom), ink)?;
            pen.center(&format!("{ratio:.2}"), (x.at(ratio), bottom + 12), INK)?;
        }
        pen.center(
            "measured / predicted throughput",
            (i32::midpoint(left, right), bottom + 30),
            FAINT,
        )?;
        for (index, cell) in (0..).zip(cells) {
            let y =
                8 + (bottom - 8) * (2 * index + 1) / (2 * i32::try_from(cells.len()).unwrap_or(1));
            let label = if canvas.narrow {
                format!("{} w, {} vCPU", cell.workers, cell.vcpu)
            } else {
                format!(
                    "{}, {} vCPU",
                    crate::plural(cell.workers.into(), "worker"),
                    cell.vcpu
                )
            };
            pen.right(&label, (left - 10, y), INK)?;
            let [ratio, low, high] = ends(cell);
            let color = if cell.is_valid() { BLUE } else { VERMILION };
            line(area, (x.at(low), y), (x.at(high), y), color.stroke_width(2))?;
            for end in [low, high] {
                line(
                    area,
                    (x.at(end), y - 5),
                    (x.at(end), y + 5),
                    color.stroke_width(2),
                )?;
            }
            if cell.is_valid() {
                area.draw(&Circle::new((x.at(ratio), y), 5, color.filled()))?;
            } else {
                area.draw(&TriangleMarker::new((x.at(ratio), y), 7, color.filled()))?;
            }
        }
        Ok(())
    });
    Figure {
        id: "measured-against-predicted",
        title: "Measured against predicted throughput, with 95 % intervals".to_owned(),
        alternative: format!(
            "One row for each measured cell: its throughput over what the formula predicts, with the 95 % interval. {within} of {} cells are within 5 % of the prediction. Triangles are cells with a mark, which are used for no capacity.",
            cells.len()
        ),
        columns: [
            "workers",
            "vCPU",
            "measured, generations/h",
            "predicted, generations/h",
            "ratio",
            "ratio, low end",
            "ratio, high end",
            "marks",
        ]
        .map(str::to_owned)
        .to_vec(),
        rows: rows(measurement),
        drawings,
    }
}

fn rows(measurement: &Measurement) -> Vec<Vec<Value>> {
    let speedup = measurement.load.speedup;
    measurement
        .cells
        .iter()
        .map(|cell| {
            let [ratio, low, high] = ends(cell);
            let marks: Vec<_> = cell.marks.iter().map(|mark| mark.label()).collect();
            vec![
                f64::from(cell.workers).into(),
                cell.vcpu.into(),
                (cell.throughput_per_hour / speedup).into(),
                (cell.expected_per_hour / speedup).into(),
                ratio.into(),
                low.into(),
                high.into(),
                marks.join(" ").into(),
            ]
        })
        .collect()
}
