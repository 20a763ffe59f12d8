//! The measured grid, and what one generation costs by it.

use std::collections::BTreeSet;

use super::fidelity;
use crate::calibrate::Calibration;
use crate::measurement::{Cell, Mark, Measurement, Role, VcpuLimit};
use crate::report::document::{Document, Table};
use crate::report::wording::significant;
use crate::stats::{Mean, count_u64_as_f64};

/// The grid: one row per cell.
pub fn measurement(document: &mut Document, measurement: &Measurement) {
    let load = &measurement.load;
    document.paragraph(format!(
        "Real generations of {:.0} s, the longest that are asked for, at speed-up {}: {:.1} s each. gen/h is \
         per real hour, 1/{} of an hour of this clock. Formula is min(workers / generation, vCPU / compressed \
         CPU per generation); CPU % is use in compressed time; extra is the time of a generation that no \
         wait explains.",
        load.generation_s,
        load.speedup,
        load.compressed_generation_ms() / 1000.0,
        load.speedup,
    ));
    let mut table = Table::new([
        "vCPU",
        "workers",
        "gen/h",
        "± se",
        "formula",
        "ratio",
        "CPU s/gen",
        "CPU %",
        "RSS MiB",
        "extra ms",
        "marks",
    ])
    .keyed_by(2);
    for cell in &measurement.cells {
        table.row(cell_row(cell, load.speedup));
    }
    if !measurement.cells.is_empty() {
        document.table(table);
    }
    marks(document, measurement);
    fidelity::services(document, measurement);
    fidelity::open_runs(document, measurement);
    if measurement
        .cells
        .iter()
        .any(|cell| cell.vcpu_limit == VcpuLimit::Modelled)
    {
        document.paragraph(
            "The vCPU axis is modelled: this machine let no limit be set (no Docker engine in use, no \
             right to make a control group), so each cell had the whole machine and its vCPU only \
             divides the measured CPU time.",
        );
    }
}

/// What each mark means that a cell of this measurement has, and what the marked cells still say.
fn marks(document: &mut Document, measurement: &Measurement) {
    let marked = || measurement.cells.iter().filter(|cell| !cell.is_valid());
    let found: BTreeSet<Mark> = marked()
        .flat_map(|cell| cell.marks.iter().copied())
        .collect();
    for mark in &found {
        document.paragraph(format!("{}: {}.", mark.label(), mark.meaning()));
    }
    let (costed, unused): (Vec<_>, Vec<_>) = marked().partition(|cell| {
        cell.role == Role::Calibration && !cell.marks.iter().any(|mark| mark.spoils())
    });
    for (cells, told) in [
        (
            costed,
            "what a generation costs is taken from these all the same",
        ),
        (
            unused,
            "nothing else is taken from these either, held out as they are or spoiled",
        ),
    ] {
        if !cells.is_empty() {
            document.paragraph(format!(
                "Not averaged in as capacity; {told} (in brackets the largest speed-up that keeps the bounds \
                 there): {}.",
                cells.into_iter().map(with_speedup_max).collect::<Vec<_>>().join(", "),
            ));
        }
    }
}

fn with_speedup_max(cell: &Cell) -> String {
    format!(
        "{} at {} vCPU ({:.0})",
        crate::plural(cell.workers.into(), "worker"),
        cell.vcpu,
        cell.speedup_max.floor(),
    )
}

fn mark_labels(cell: &Cell) -> String {
    let labels: Vec<_> = cell.marks.iter().map(|mark| mark.label()).collect();
    labels.join(", ")
}

fn cell_row(cell: &Cell, speedup: f64) -> [String; 11] {
    let per_real_hour = |rate: f64| format!("{:.2}", rate / speedup);
    [
        cell.vcpu.to_string(),
        cell.workers.to_string(),
        per_real_hour(cell.throughput_per_hour),
        if cell.repetitions.len() < 2 {
            String::new()
        } else {
            per_real_hour(cell.throughput_per_hour_std_err)
        },
        per_real_hour(cell.expected_per_hour),
        format!("{:.3}", cell.agreement()),
        format!("{:.4}", cell.cpu_s_per_generation),
        format!("{:.1}", cell.cpu_utilization * 100.0),
        format!("{:.0}", count_u64_as_f64(cell.memory_max_kib) / 1024.0),
        format!("{:.1}", cell.overhead_ms),
        mark_labels(cell),
    ]
}

/// The cost of one generation.
pub fn calibration(document: &mut Document, calibration: &Calibration) {
    let mut table = Table::new(["what one generation takes", "mean", "± se", "unit", "cells"]);
    let mut row = |what: &str, mean: Mean, unit: &str| {
        table.row([
            what.to_owned(),
            significant(mean.value),
            // One sample has no spread; a slope has one whatever the count of its cells.
            if mean.n < 2 && mean.std_err == 0.0 {
                String::new()
            } else {
                significant(mean.std_err)
            },
            unit.to_owned(),
            mean.n.to_string(),
        ]);
    };
    row(
        "CPU time of the backend",
        calibration.cpu_s_per_generation,
        "s",
    );
    row(
        "CPU of the idle backend",
        calibration.cpu_background_cores,
        "cores",
    );
    if let Some(law) = calibration.cpu_law {
        row(
            "CPU of one alone in real time",
            law.cpu_s_per_generation_alone,
            "s",
        );
        row("power of the rate that CPU follows", law.exponent, "");
        row(
            "work of the idle backend's ticks",
            law.ticks_in_generations_per_hour,
            "generations/h",
        );
    }
    row(
        "memory of one in flight",
        calibration.memory_per_generation_kib,
        "KiB",
    );
    row(
        "memory with none in flight",
        calibration.memory_base_mib,
        "MiB",
    );
    row(
        "time Postgres executes",
        calibration.db_ms_per_generation,
        "ms",
    );
    row(
        "transactions",
        calibration.db_transactions_per_generation,
        "",
    );
    row("time that no wait explains", calibration.overhead_ms, "ms");
    document.table(table);
    document.paragraph(cpu_statement(calibration));
    fidelity::scalability(document, calibration);
}

/// By which cost of a generation runs are predicted and sizings judged.
fn cpu_statement(calibration: &Calibration) -> String {
    let Some(law) = calibration.cpu_law else {
        return "CPU use grows in proportion to the rate of generations, as far as these cells can tell.".to_owned();
    };
    let source = if law.shape_recorded {
        " (these cells are too few to tell that: power and ticks are those of loadtests/results/calibration.json, the \
         level is theirs)"
    } else {
        ""
    };
    format!(
        "CPU use grows with the power {:.2} ± {:.2} of the generations per second{source}: each costs less, the more \
         end, for its operations share their wake-ups. A measured run is predicted at its own rate. A sizing is judged in real \
         time, where rates are far lower than compressed ones: every generation is charged {} s, what the law says of \
         one that runs alone, which is never less than the constant cost of {} s.",
        law.exponent.value,
        law.exponent.std_err,
        significant(calibration.cpu_s_per_generation_at_most()),
        significant(calibration.cpu_s_per_generation.value),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::markdown;

    #[test]
    fn marked_cells_are_told_once_for_each_use_of_them() {
        let mut measured: Measurement =
            serde_json::from_str(include_str!("../../../results/measurement-60.json"))
                .expect("committed");
        measured.cells.truncate(6);
        for (index, cell) in measured.cells.iter_mut().enumerate() {
            cell.marks = vec![Mark::OverheadBound];
            cell.workers = 1;
            cell.vcpu = 0.25;
            cell.speedup_max = 70.9;
            cell.role = if index % 2 == 0 {
                Role::Calibration
            } else {
                Role::HeldOut
            };
        }
        let mut document = Document::default();
        marks(&mut document, &measured);
        let text = markdown::render(&document);
        assert_eq!(
            text.matches("Not averaged in as capacity").count(),
            2,
            "{text}"
        );
        assert_eq!(
            text.matches("1 worker at 0.25 vCPU (70)").count(),
            6,
            "{text}"
        );
    }
}
