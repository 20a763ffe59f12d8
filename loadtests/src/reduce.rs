//! From what one cell saw to its numbers: pure, so that the arithmetic can be tested.

use chrono::{DateTime, Utc};
use harness::openai::CallStats;

use crate::measurement::{Cell, Load, Mark, VcpuLimit};
use crate::run::CellSpec;
use crate::sampler::Samples;
use crate::scenarios::proposal_writer::GenerationRecord;
use crate::stats::{Mean, count_as_f64, count_u64_as_f64, mean};

/// Compressed CPU use above which a cell no longer measures its workers.
pub const CPU_UTILIZATION_MAX: f64 = 0.6;
/// Share of a generation that incompressible work may take.
pub const OVERHEAD_SHARE_MAX: f64 = 0.01;
/// Share of the machine's CPU above which the machine, not the backend, may be what was measured.
pub const HOST_UTILIZATION_MAX: f64 = 0.9;

/// What Postgres did for one cell.
#[derive(Clone, Copy, Debug)]
pub struct DatabaseWork {
    /// Time spent executing statements, in milliseconds (`pg_stat_database.active_time`).
    pub active_ms: f64,
    /// Committed transactions.
    pub transactions: f64,
}

/// Everything one cell saw.
#[derive(Debug)]
pub struct CellInput<'a> {
    /// The pair that was measured.
    pub spec: CellSpec,
    /// The load it carried.
    pub load: &'a Load,
    /// What enforced its vCPU.
    pub vcpu_limit: VcpuLimit,
    /// Generations that ended.
    pub records: Vec<GenerationRecord>,
    /// Requests that should have succeeded and did not.
    pub request_errors: usize,
    /// The watched process.
    pub samples: Samples,
    /// Generations accepted and not ended when the cell was stopped.
    pub in_flight_at_end: usize,
    /// Resident memory before the first request, in KiB.
    pub memory_idle_kib: u64,
    /// What the scripted OpenAI counted.
    pub openai: CallStats,
    /// What Postgres counted.
    pub database: DatabaseWork,
}

/// Computes a cell.
///
/// Throughput is `workers / mean(f[i + workers] - f[i])` over the ascending instants `f` at which
/// generations finished: while there are always more users than workers, the generation that is
/// `workers` places later ran in the same slot, so the difference is one slot's whole cycle. Unlike a
/// count per window this has no rounding error of one generation per worker.
pub fn reduce(input: &CellInput<'_>) -> Cell {
    let CellInput { spec, load, .. } = input;
    let mut finished: Vec<f64> = input
        .records
        .iter()
        .map(|record| instant_s(record.finished_at))
        .collect();
    finished.sort_by(f64::total_cmp);
    let workers = usize::try_from(spec.workers).unwrap_or(usize::MAX);
    let cycles: Vec<f64> = finished
        .windows(workers + 1)
        .map(|window| window[workers] - window[0])
        .collect();
    let cycle = mean(&cycles).expect("the runner waits for more generations than workers");
    let throughput_per_s = f64::from(spec.workers) / cycle.value;
    let (first_s, last_s) = (finished[0], finished[finished.len() - 1]);
    let window_s = last_s - first_s;

    let in_window = throughput_per_s * window_s;
    let cpu_s = input.samples.cpu_s(first_s, last_s);
    let cpu_s_per_generation = cpu_s / in_window;
    let cpu_utilization = cpu_s / window_s / spec.vcpu;
    let (memory_mean_kib, memory_max_kib) = input.samples.memory_kib(first_s, last_s);

    let generation_s = load.compressed_generation_ms() / 1000.0;
    // Those cut off at the end were, spread as they are, half done on average.
    let equivalents = count_as_f64(finished.len()) + f64::from(spec.workers) / 2.0;
    let calls = f64::from(load.calls_per_generation);
    let poll_lag_ms = input.openai.completion_lag_ms_total
        / count_u64_as_f64(input.openai.completions_seen.max(1))
        * calls;
    let run_ms = mean(&run_times_ms(&input.records)).map_or(0.0, |mean| mean.value);
    let overhead_ms = run_ms - generation_s * 1000.0 - poll_lag_ms;
    let failures = input
        .records
        .iter()
        .filter(|record| record.failure.is_some())
        .count()
        + input.request_errors;
    let cores = count_as_f64(std::thread::available_parallelism().map_or(1, usize::from));
    let host_cpu_utilization = input.samples.host_busy_s(first_s, last_s) / window_s / cores;

    let by_workers = f64::from(spec.workers) / generation_s;
    let by_cpu = spec.vcpu / cpu_s_per_generation;
    let mut marks = Vec::new();
    if cpu_utilization > CPU_UTILIZATION_MAX {
        marks.push(Mark::CpuBound);
    }
    if overhead_ms > OVERHEAD_SHARE_MAX * generation_s * 1000.0 {
        marks.push(Mark::OverheadBound);
    }
    if host_cpu_utilization > HOST_UTILIZATION_MAX {
        marks.push(Mark::HostSaturated);
    }
    if failures > 0 {
        marks.push(Mark::Failures);
    }
    let speedup_by_cpu = CPU_UTILIZATION_MAX * spec.vcpu / cpu_s_per_generation * load.generation_s
        / f64::from(spec.workers);
    let speedup_by_overhead =
        OVERHEAD_SHARE_MAX * load.generation_s * 1000.0 / overhead_ms.max(f64::EPSILON);

    Cell {
        workers: spec.workers,
        vcpu: spec.vcpu,
        memory_mib: spec.memory_mib,
        vcpu_limit: input.vcpu_limit,
        generations: u64::try_from(finished.len()).unwrap_or(u64::MAX),
        failures: u64::try_from(failures).unwrap_or(u64::MAX),
        censored: u64::try_from(input.in_flight_at_end).unwrap_or(u64::MAX),
        window_s,
        throughput_per_hour: throughput_per_s * 3600.0,
        throughput_per_hour_std_err: throughput_per_s * 3600.0 * cycle_std_err(cycle, workers)
            / cycle.value,
        expected_per_hour: by_workers.min(by_cpu) * 3600.0,
        cpu_s_per_generation,
        cpu_utilization,
        memory_idle_kib: input.memory_idle_kib,
        memory_mean_kib,
        memory_max_kib,
        db_ms_per_generation: input.database.active_ms / equivalents,
        db_transactions_per_generation: input.database.transactions / equivalents,
        overhead_ms,
        poll_lag_ms,
        openai_polls_per_generation: count_u64_as_f64(input.openai.polls) / equivalents,
        host_cpu_utilization,
        load_generator_cpu: input.samples.load_generator_cpu_s(first_s, last_s) / window_s,
        marks,
        speedup_max: speedup_by_cpu.min(speedup_by_overhead),
    }
}

/// How long each successful generation ran, from its start to its end, in milliseconds.
fn run_times_ms(records: &[GenerationRecord]) -> Vec<f64> {
    records
        .iter()
        .filter(|record| record.failure.is_none())
        .filter_map(|record| {
            Some((instant_s(record.finished_at) - instant_s(record.started_at?)) * 1000.0)
        })
        .collect()
}

/// Standard error of the mean cycle: overlapping cycles of one slot are one observation, so only
/// every `workers`-th counts as independent.
fn cycle_std_err(cycle: Mean, workers: usize) -> f64 {
    let independent = (count_as_f64(cycle.n) / count_as_f64(workers)).max(1.0);
    cycle.std_err * (count_as_f64(cycle.n) / independent).sqrt()
}

fn instant_s(at: DateTime<Utc>) -> f64 {
    crate::sampler::unix_s(at.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampler::Sample;
    use proptest::prelude::*;

    const SPEEDUP: f64 = 180.0;

    fn load() -> Load {
        Load {
            generation_s: 900.0,
            calls_per_generation: 5,
            speedup: SPEEDUP,
            client_poll_s: 5.0,
            openai_poll_s: 5.0,
            cycles: 2.0,
            seed: 1,
        }
    }

    /// A cell of `workers` slots that take `cycle_ms` each, phases spread evenly, using
    /// `cpu_ms` of CPU per generation.
    fn check(workers: u32, cycle_ms: u32, cpu_ms: u32, vcpu: f64) -> Cell {
        let load = load();
        let start = DateTime::<Utc>::from_timestamp(1_700_000_000, 0).expect("a valid instant");
        let records = (0..workers * 3)
            .map(|i| {
                let started_ms = i / workers * cycle_ms + i % workers * cycle_ms / workers;
                let started_at = start + chrono::Duration::milliseconds(started_ms.into());
                GenerationRecord {
                    created_at: started_at,
                    started_at: Some(started_at),
                    finished_at: started_at + chrono::Duration::milliseconds(cycle_ms.into()),
                    failure: None,
                }
            })
            .collect();
        let cpu_per_s = f64::from(workers) * f64::from(cpu_ms) / f64::from(cycle_ms);
        let samples = (0..1000)
            .map(|i| {
                let elapsed_s = f64::from(i) * 0.1;
                Sample {
                    at_s: instant_s(start) + elapsed_s,
                    cpu_s: elapsed_s * cpu_per_s,
                    memory_kib: 50_000,
                    load_generator_cpu_s: 0.0,
                    host_busy_s: 0.0,
                }
            })
            .collect();
        reduce(&CellInput {
            spec: CellSpec {
                workers,
                vcpu,
                memory_mib: 1024,
            },
            load: &load,
            vcpu_limit: VcpuLimit::Cgroup,
            records,
            request_errors: 0,
            samples: Samples::new(samples),
            in_flight_at_end: 0,
            memory_idle_kib: 30_000,
            openai: CallStats::default(),
            database: DatabaseWork {
                active_ms: 0.0,
                transactions: 0.0,
            },
        })
    }

    #[test]
    fn one_worker_is_measured_without_rounding() {
        let cell = check(1, 5_000, 50, 1.0);
        assert!(
            (cell.throughput_per_hour - 720.0).abs() < 1e-6,
            "{}",
            cell.throughput_per_hour
        );
        assert!((cell.agreement() - 1.0).abs() < 1e-6);
        assert!(cell.is_valid(), "{:?}", cell.marks);
    }

    #[test]
    fn cpu_use_beyond_the_bound_is_marked() {
        // 24 generations of 50 ms of CPU every 5 s are 0.24 cores: 96 % of a quarter vCPU.
        let cell = check(24, 5_000, 50, 0.25);
        assert_eq!(cell.marks, [Mark::CpuBound]);
        assert!(cell.speedup_max < SPEEDUP);
        assert!(check(24, 5_000, 50, 1.0).is_valid());
    }

    #[test]
    fn incompressible_time_beyond_the_bound_is_marked_with_the_speedup_that_would_hold() {
        // 100 ms that do not shrink are 2 % of 5 s; 1 % of 900 s are 9 s, which is 90 times 100 ms.
        let cell = check(6, 5_100, 1, 1.0);
        assert_eq!(cell.marks, [Mark::OverheadBound]);
        assert!(
            (cell.speedup_max - 90.0).abs() < 0.1,
            "{}",
            cell.speedup_max
        );
    }

    proptest! {
        #[test]
        fn throughput_is_workers_over_cycle(workers in 1_u32..100, cycle_ms in 1_000_u32..20_000) {
            let cell = check(workers, cycle_ms, 0, 1.0);
            let expected = f64::from(workers) / f64::from(cycle_ms) * 3_600_000.0;
            prop_assert!((cell.throughput_per_hour / expected - 1.0).abs() < 2e-3);
        }

        #[test]
        fn cpu_per_generation_does_not_depend_on_the_workers(workers in 1_u32..50, cpu_ms in 1_u32..200) {
            let cell = check(workers, 5_000, cpu_ms, 2.0);
            let expected = f64::from(cpu_ms) / 1000.0;
            prop_assert!((cell.cpu_s_per_generation / expected - 1.0).abs() < 1e-2);
        }
    }
}
