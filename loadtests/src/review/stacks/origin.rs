//! Of which measurement the figures of either stack are.

use super::cell_in_spanish;
use crate::calibrate::Calibration;
use crate::reference::cells::Cell;
use crate::reference::comparison::Comparison;
use crate::reference::service::Kind;
use crate::review::words::{Text, say};

/// This backend was measured twice: commit and conditions of both, with the figures that differ for that.
pub(super) fn of(comparison: &Comparison, calibration: &Calibration) -> Text {
    let costs = comparison.costs(Kind::Rust);
    let cells = costs.map(|costs| costs.cells.as_slice());
    let cpu = |label: fn(Cell) -> String| {
        let each = cells.unwrap_or_default().iter().map(|found| {
            let cpu_s = found.cpu_s_per_generation.value;
            format!("{cpu_s:.3} ({})", label(found.cell))
        });
        each.collect::<Vec<_>>().join(", ")
    };
    say!(
        "Rust's figures are of two measurements, which are not to be set against each other. The calibration, by which the answers and the simulations below charge it, is of commit {calibrated} and a grid whose workers are always busy, {calibrated_speedup} times faster: {many:.3} CPU seconds a generation among many, {alone:.3} alone in real time, {base:.1} MiB idle, which is resident memory of busy backends taken back to nothing in flight. The parts above are of commit {compared} and batches that begin at once, {compared_speedup} times faster: {cpu_en} CPU seconds, {idle:.1} MiB (PSS) after a start.",
        "Las cifras de Rust vienen de dos mediciones que no se deben comparar entre sí. La calibración, con la que cuentan las respuestas y las simulaciones de más abajo, es del commit {calibrated} y de una cuadrícula cuyos workers están siempre ocupados, {calibrated_speedup} veces más rápido: {many:.3} segundos de CPU por generación entre muchas, {alone:.3} sola en tiempo real, {base:.1} MiB en reposo, que es la memoria residente de backends ocupados llevada a nada en curso. Las partes de arriba son del commit {compared} y de lotes que empiezan a la vez, {compared_speedup} veces más rápido: {cpu_es} segundos de CPU, {idle:.1} MiB (PSS) tras arrancar.",
        calibrated = calibration.commit.clone(),
        calibrated_speedup = calibration.speedup,
        many = calibration.cpu_s_per_generation.value,
        alone = calibration.cpu_s_per_generation_at_most(),
        base = calibration.memory_base_mib.value,
        compared = comparison.hardware.commit.clone(),
        compared_speedup = comparison.conditions.speedup,
        cpu_en = cpu(Cell::label),
        cpu_es = cpu(cell_in_spanish),
        idle = costs.map_or(0.0, |costs| costs.memory_idle_mib.value)
    )
}

/// Tasks smaller than those on which either was measured.
pub(super) fn extrapolated(comparison: &Comparison, calibration: &Calibration) -> Text {
    let vcpu = comparison.conditions.vcpu;
    let measured = calibration.scalability.iter().map(|entry| entry.vcpu);
    match measured.reduce(f64::min) {
        Some(least) => say!(
            "FastAPI is charged what a generation cost on {vcpu} vCPU, so that its smaller tasks are extrapolated; Rust was calibrated on {least} vCPU and more.",
            "FastAPI se calcula con lo que costó una generación con {vcpu} vCPU, así que sus tareas más pequeñas son una extrapolación; Rust se calibró con {least} vCPU y más.",
            vcpu = vcpu,
            least = least
        ),
        None => say!(
            "FastAPI is charged what a generation cost on {vcpu} vCPU, so that its smaller tasks are extrapolated.",
            "FastAPI se calcula con lo que costó una generación con {vcpu} vCPU, así que sus tareas más pequeñas son una extrapolación.",
            vcpu = vcpu
        ),
    }
}
