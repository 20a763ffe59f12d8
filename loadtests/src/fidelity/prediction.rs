//! The simulator on exactly what was measured: a run's own arrivals, in compressed time.

use simulator::scenario::{
    Arrivals, Fleet, GenerationLength, InvalidScenario, Profile, Scenario, Tasks, Workload,
};
use simulator::time::Duration;
use simulator::trace::{Happening, TraceEvent};
use simulator::{simulate, simulate_traced};

use super::Figures;
use crate::calibrate::Calibration;
use crate::measurement::{Experience, Load, Shape};
use crate::observation::{
    Track, completed_per_hour, finishes, latencies, slot_cycle_s, worker_utilization,
};

/// A simulated run may need longer for as many generations as were measured.
const HORIZON_FACTOR: f64 = 1.5;

/// Simulates one run in compressed time. `ends` is the number of generations that a saturated cell
/// was measured with; an open run is measured by its window.
pub(super) fn predict(
    calibration: &Calibration,
    load: &Load,
    shape: Shape,
    experience: &Experience,
    ends: Option<usize>,
) -> Result<Figures, InvalidScenario> {
    let (from_s, to_s) = experience.window_s;
    let idle_cores = calibration.cpu_cores(0.0, load.speedup);
    let arrivals_s = ends.is_none().then_some(&experience.arrivals_s[..]);
    let rate = expected_rate(calibration, load, shape, arrivals_s);
    let cpu_s_per_generation = (calibration.cpu_cores(rate, load.speedup) - idle_cores) / rate;
    let scenario = scenario(calibration, load, shape, experience, cpu_s_per_generation)?;
    let outcome = simulate(&scenario)?;
    let cpu_utilization = (outcome.cpu_utilization + idle_cores / shape.vcpu).min(1.0);
    let Some(ends) = ends else {
        let tracks = tracks(&scenario)?;
        let (wait, sojourn) = latencies(&tracks, from_s, to_s);
        return Ok(Figures {
            throughput_per_hour: completed_per_hour(&tracks, from_s, to_s),
            wait,
            sojourn,
            worker_utilization: worker_utilization(&tracks, shape.workers, from_s, to_s),
            cpu_utilization,
        });
    };
    // As many ends as were measured, whenever the simulation had them.
    let longer = Scenario {
        horizon: seconds(to_s * HORIZON_FACTOR),
        ..scenario
    };
    let tracks = tracks(&longer)?;
    let mut finished = finishes(&tracks);
    finished.truncate(ends);
    let window = (
        finished.first().copied().unwrap_or(from_s),
        finished.last().copied().unwrap_or(to_s),
    );
    let (wait, sojourn) = latencies(&tracks, window.0, window.1);
    let cycle_s = slot_cycle_s(&finished, shape.workers).map_or(f64::INFINITY, |cycle| cycle.value);
    Ok(Figures {
        throughput_per_hour: f64::from(shape.workers) / cycle_s * 3600.0,
        wait,
        sojourn,
        worker_utilization: worker_utilization(&tracks, shape.workers, window.0, window.1),
        cpu_utilization,
    })
}

/// Generations per compressed second that are expected of a run, by which its CPU cost is chosen: the least of what
/// its workers can do, what its vCPU can do, and what arrives; a saturated cell has no arrivals that limit it.
fn expected_rate(
    calibration: &Calibration,
    load: &Load,
    shape: Shape,
    arrivals_s: Option<&[f64]>,
) -> f64 {
    let by_workers = f64::from(shape.workers) / calibration.compressed_length_s(load, shape.vcpu);
    let by_cpu = calibration.generations_per_s(shape.vcpu, load.speedup);
    let by_arrivals = match arrivals_s {
        Some([.., last_s]) if *last_s > 0.0 => {
            crate::stats::count_as_f64(arrivals_s.map_or(0, <[f64]>::len)) / last_s
        }
        _ => f64::INFINITY,
    };
    // There is no cost per generation at a rate of 0: at the least one within a day stands for it.
    by_workers.min(by_cpu).min(by_arrivals).max(1.0 / 86_400.0)
}

/// The scenario of one measured run, in compressed time: its arrivals to the letter, and generations
/// as long as the calibration says that they are.
fn scenario(
    calibration: &Calibration,
    load: &Load,
    shape: Shape,
    experience: &Experience,
    cpu_s_per_generation: f64,
) -> Result<Scenario, InvalidScenario> {
    let at = experience.arrivals_s.iter().map(|at_s| seconds(*at_s));
    let length_s = calibration.compressed_length_s(load, shape.vcpu);
    let workload = Workload::new(
        Arrivals::Trace { at: at.collect() },
        GenerationLength::Deterministic {
            length: seconds(length_s),
        },
    );
    let profile = Profile {
        cpu_s_per_generation,
        memory_base_mib: calibration.memory_base_mib.value,
        memory_per_generation_kib: calibration.memory_per_generation_kib.value,
        cpu_s_per_poll: 0.0,
    };
    let memory_gib = crate::stats::count_u64_as_f64(shape.memory_mib) / 1024.0;
    let fleet = Fleet::new(shape.vcpu, memory_gib, shape.workers, Tasks::fixed(1));
    let mut scenario = Scenario::new(workload, profile, fleet);
    scenario.workload.poll_every = seconds((load.client_poll_s / load.speedup).max(0.001));
    scenario.workload.steps_per_generation = load.calls_per_generation;
    scenario.warmup = seconds(experience.window_s.0);
    scenario.horizon = seconds(experience.window_s.1);
    scenario.validate()?;
    Ok(scenario)
}

/// The life of every simulated generation.
pub(crate) fn tracks(scenario: &Scenario) -> Result<Vec<Track>, InvalidScenario> {
    let mut tracks: Vec<Track> = Vec::new();
    let mut take = |event: TraceEvent| {
        let at_s = crate::stats::count_u64_as_f64(event.at_ns) / 1e9;
        let index = |generation: u64| usize::try_from(generation).unwrap_or(usize::MAX);
        match event.what {
            // Numbered from 0 in the order of their submission.
            Happening::Submitted { .. } => tracks.push(Track {
                created_s: at_s,
                started_s: None,
                finished_s: None,
            }),
            Happening::Started { generation, .. } => {
                if let Some(track) = tracks.get_mut(index(generation)) {
                    track.started_s.get_or_insert(at_s);
                }
            }
            Happening::Completed { generation } => {
                if let Some(track) = tracks.get_mut(index(generation)) {
                    track.finished_s = Some(at_s);
                }
            }
            _ => {}
        }
    };
    simulate_traced(scenario, &mut take)?;
    Ok(tracks)
}

/// A simulated duration; what is negative or no number is none at all.
pub(crate) fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::ZERO)
}
