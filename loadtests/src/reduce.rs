//! From what one cell saw to its numbers: pure, so that the arithmetic can be tested.

use harness::openai::CallStats;

use crate::cgroup::CpuTime;
use crate::grid::speedup_by_overhead;
use crate::measurement::{
    Cell, Experience, Load, Mark, Observer, Repetition, Role, ServiceUse, Shape, VcpuLimit,
};
use crate::observation::{
    Track, ci95_share, finishes, latencies, round_throughputs_per_hour, rounds, slot_cycle_s,
    worker_utilization,
};
use crate::sampler::Samples;
use crate::scenarios::proposal_writer::{GenerationRecord, part_done};
use crate::services::{ServiceSample, ServiceSamples};
use crate::stats::{Mean, count_as_f64, count_u64_as_f64, fit_line, mean};

/// Compressed CPU use above which a cell no longer measures its workers.
pub const CPU_UTILIZATION_MAX: f64 = 0.6;
/// Share of a generation that incompressible work may take.
pub const OVERHEAD_SHARE_MAX: f64 = 0.01;
/// Share of the machine's CPU above which the machine, not the backend, may be what was measured.
pub const HOST_UTILIZATION_MAX: f64 = 0.9;

/// Share of one core above which the busiest thread of the load generator may have set the pace.
pub const THREAD_UTILIZATION_MAX: f64 = 0.85;
/// Half the 95 % confidence interval, as a share of the throughput, within which a cell is settled.
pub const CI95_SHARE_MAX: f64 = 0.03;

/// What was watched while a run went on.
#[derive(Debug)]
pub struct Watched {
    /// The backend, the load generator, the machine.
    pub samples: Samples,
    /// The services.
    pub services: ServiceSamples,
    /// What enforced the vCPU.
    pub vcpu_limit: VcpuLimit,
    /// Resident memory before the first request, in KiB.
    pub memory_idle_kib: u64,
    /// The most memory that backend and children ever held, in KiB.
    pub memory_peak_kib: Option<u64>,
    /// What the scripted OpenAI counted.
    pub openai: CallStats,
}

/// Everything one saturated cell saw.
#[derive(Debug)]
pub struct CellInput<'a> {
    /// What was measured.
    pub shape: Shape,
    /// What for.
    pub role: Role,
    /// The load it carried.
    pub load: &'a Load,
    /// What was watched.
    pub watched: Watched,
    /// Generations that ended.
    pub records: Vec<GenerationRecord>,
    /// The life of every generation, ended or not.
    pub tracks: Vec<Track>,
    /// Bytes of the bodies that users sent and received.
    pub client_bytes: (f64, f64),
    /// Requests that should have succeeded and did not.
    pub request_errors: usize,
}

/// Computes a cell. `None` when not even one round of the workers ended, or Postgres told nothing.
pub fn reduce(input: &CellInput<'_>) -> Option<Cell> {
    let CellInput { shape, load, .. } = input;
    let watched = &input.watched;
    let finished = finishes(&input.tracks);
    let cycle = slot_cycle_s(&finished, shape.workers)?;
    let throughput_per_s = f64::from(shape.workers) / cycle.value;
    let window = (*finished.first()?, *finished.last()?);
    let window_s = window.1 - window.0;

    let in_window = throughput_per_s * window_s;
    let cpu = watched.samples.cpu(window.0, window.1);
    let cpu_s_per_generation = cpu.total_s() / in_window;
    let cpu_utilization = cpu.total_s() / window_s / shape.vcpu;
    let (memory_mean_kib, memory_max_kib) = watched.samples.memory_kib(window.0, window.1);
    let repetitions = repetitions(&finished, shape.workers, &watched.samples);
    let rates: Vec<_> = repetitions
        .iter()
        .map(|one| one.throughput_per_hour)
        .collect();
    let throughput_ci95_share = ci95_share(&rates);

    let generation_s = load.compressed_generation_ms() / 1000.0;
    let run_ms = mean(&run_times_ms(&input.records)).map_or(0.0, |mean| mean.value);
    let poll_lag_ms = poll_lag_ms(&watched.openai, load);
    let overhead_ms = run_ms - generation_s * 1000.0 - poll_lag_ms;
    let failed = |record: &&GenerationRecord| record.failure.is_some();
    let failures = input.records.iter().filter(failed).count() + input.request_errors;
    let services = service_use(input, window, in_window);
    let observer = watched.samples.observer(window.0, window.1);

    let by_workers = f64::from(shape.workers) / generation_s;
    let by_cpu = shape.vcpu / cpu_s_per_generation;
    let mut marks = observer_marks(&observer);
    if cpu_utilization > CPU_UTILIZATION_MAX {
        marks.push(Mark::CpuBound);
    }
    if overhead_ms > OVERHEAD_SHARE_MAX * generation_s * 1000.0 {
        marks.push(Mark::OverheadBound);
    }
    if failures > 0 {
        marks.push(Mark::Failures);
    }
    if throughput_ci95_share.is_some_and(|share| share > CI95_SHARE_MAX) {
        marks.push(Mark::Unsettled);
    }
    let speedup_by_cpu = CPU_UTILIZATION_MAX * shape.vcpu / cpu_s_per_generation
        * load.generation_s
        / f64::from(shape.workers);
    let speedup_by_overhead = speedup_by_overhead(load, overhead_ms);

    Some(Cell {
        workers: shape.workers,
        vcpu: shape.vcpu,
        memory_mib: shape.memory_mib,
        vcpu_limit: watched.vcpu_limit,
        role: input.role,
        generations: whole(finished.len()),
        failures: whole(failures),
        censored: whole(input.tracks.len() - finished.len()),
        window_s,
        throughput_per_hour: throughput_per_s * 3600.0,
        throughput_per_hour_std_err: mean(&rates).map_or(0.0, |mean| mean.std_err),
        repetitions,
        throughput_ci95_share,
        expected_per_hour: by_workers.min(by_cpu) * 3600.0,
        cpu_s_per_generation,
        cpu_split_per_generation: cpu.scaled(1.0 / in_window),
        cpu_utilization,
        memory_idle_kib: watched.memory_idle_kib,
        memory_mean_kib,
        memory_max_kib,
        memory_peak_kib: watched.memory_peak_kib,
        memory_per_generation_kib: memory_per_generation_kib(
            &watched.samples,
            &input.tracks,
            window.0,
        ),
        db_ms_per_generation: services.db_ms_per_generation?,
        db_transactions_per_generation: services.db_transactions_per_generation?,
        overhead_ms,
        poll_lag_ms,
        idle_gap_ms: cycle.value * 1000.0 - run_ms,
        openai_polls_per_generation: services.openai_polls_per_generation,
        services,
        host_cpu_utilization: observer.host_cpu_utilization,
        load_generator_cpu: watched.samples.load_generator_cpu_s(window.0, window.1) / window_s,
        observer,
        experience: experience(
            &input.tracks,
            shape.workers,
            first_arrival_s(&input.tracks),
            window,
        ),
        marks,
        speedup_max: speedup_by_cpu.min(speedup_by_overhead),
    })
}

/// What the users of a run went through; `began_s` and `window` are seconds since the Unix epoch.
pub fn experience(tracks: &[Track], workers: u32, began_s: f64, window: (f64, f64)) -> Experience {
    let mut arrivals_s: Vec<f64> = tracks
        .iter()
        .map(|track| track.created_s - began_s)
        .collect();
    arrivals_s.sort_by(f64::total_cmp);
    let (wait, sojourn) = latencies(tracks, window.0, window.1);
    Experience {
        arrivals_s,
        window_s: (window.0 - began_s, window.1 - began_s),
        wait,
        sojourn,
        worker_utilization: worker_utilization(tracks, workers, window.0, window.1),
    }
}

/// The marks that the machine and the load generator earn.
pub fn observer_marks(observer: &Observer) -> Vec<Mark> {
    let mut marks = Vec::new();
    if observer.host_cpu_utilization > HOST_UTILIZATION_MAX {
        marks.push(Mark::HostSaturated);
    }
    if observer.busiest_thread_cores > THREAD_UTILIZATION_MAX {
        marks.push(Mark::LoadGeneratorBound);
    }
    marks
}

/// Mean time from the end of an OpenAI response to the poll that saw it, per generation, in
/// compressed milliseconds.
fn poll_lag_ms(openai: &CallStats, load: &Load) -> f64 {
    openai.completion_lag_ms_total / count_u64_as_f64(openai.completions_seen.max(1))
        * f64::from(load.calls_per_generation)
}

fn repetitions(finished: &[f64], workers: u32, samples: &Samples) -> Vec<Repetition> {
    let rounds = rounds(finished, workers);
    let rates = round_throughputs_per_hour(&rounds, workers);
    rounds
        .iter()
        .zip(rates)
        .map(|((from_s, to_s), throughput_per_hour)| Repetition {
            window_s: to_s - from_s,
            throughput_per_hour,
            cpu_s_per_generation: samples.cpu(*from_s, *to_s).total_s() / f64::from(workers),
        })
        .collect()
}

/// What the services did between the two instants of `window`, for each of `in_window` generations.
/// What only totals tell is divided by the generations of the whole run, unended ones in part.
fn service_use(input: &CellInput<'_>, window: (f64, f64), in_window: f64) -> ServiceUse {
    let watched = &input.watched;
    let services = &watched.services;
    let (from_s, to_s) = window;
    let end_s = input
        .tracks
        .iter()
        .filter_map(|track| track.finished_s)
        .fold(from_s, f64::max);
    let generation_s = input.load.compressed_generation_ms() / 1000.0;
    let all = count_as_f64(input.records.len()) + part_done(&input.tracks, end_s, generation_s);
    let cpu = |value: fn(&ServiceSample) -> Option<CpuTime>| {
        Some(services.cpu(from_s, to_s, value)?.scaled(1.0 / in_window))
    };
    let count = |value: fn(&ServiceSample) -> Option<f64>| {
        Some(services.growth(from_s, to_s, value)? / in_window)
    };
    let connections = services.connections(from_s, to_s);
    // Where S3 is in the load generator's process its threads are known; in a container its group is.
    let s3_in_process = watched.samples.s3_cpu(from_s, to_s).scaled(1.0 / in_window);
    let s3_cpu = cpu(|sample| sample.s3_cpu)
        .or_else(|| (s3_in_process.total_s() > 0.0).then_some(s3_in_process));
    ServiceUse {
        postgres_cpu_per_generation: cpu(|sample| sample.postgres_cpu),
        redis_cpu_per_generation: cpu(|sample| sample.redis_cpu),
        s3_cpu_per_generation: s3_cpu,
        db_connections_mean: connections.map(|(mean, _)| mean),
        db_connections_max: connections.map(|(_, greatest)| greatest),
        db_transactions_per_generation: count(|sample| Some(sample.database?.transactions)),
        db_ms_per_generation: count(|sample| Some(sample.database?.active_ms)),
        db_statements_per_generation: count(|sample| sample.database?.statements),
        redis_commands_per_generation: count(|sample| Some(sample.redis?.commands)),
        redis_bytes_in_per_generation: count(|sample| Some(sample.redis?.bytes_in)),
        redis_bytes_out_per_generation: count(|sample| Some(sample.redis?.bytes_out)),
        client_bytes_in_per_generation: input.client_bytes.0 / all,
        client_bytes_out_per_generation: input.client_bytes.1 / all,
        openai_calls_per_generation: count_u64_as_f64(watched.openai.creates) / all,
        openai_polls_per_generation: count_u64_as_f64(watched.openai.polls) / all,
    }
}

/// Memory that one more generation in flight adds, by the line through the mean memory at each level
/// while the workers filled, that is until the first generation ended.
fn memory_per_generation_kib(samples: &Samples, tracks: &[Track], until_s: f64) -> Option<Mean> {
    let in_flight = |at_s: f64| {
        tracks
            .iter()
            .filter(|track| track.started_s.is_some_and(|started_s| started_s <= at_s))
            .count()
    };
    Some(fit_line(&samples.memory_by_level(until_s, in_flight))?.slope)
}

fn first_arrival_s(tracks: &[Track]) -> f64 {
    tracks
        .iter()
        .map(|track| track.created_s)
        .fold(f64::INFINITY, f64::min)
}

/// How long each successful generation ran, from its start to its end, in milliseconds.
fn run_times_ms(records: &[GenerationRecord]) -> Vec<f64> {
    records
        .iter()
        .filter(|record| record.failure.is_none())
        .filter_map(|record| {
            let run = record.finished_at - record.started_at?;
            Some(run.num_microseconds().map_or(0.0, micros_as_ms))
        })
        .collect()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "runs last far less than 2^53 microseconds"
)]
fn micros_as_ms(microseconds: i64) -> f64 {
    microseconds as f64 / 1000.0
}

fn whole(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampler::Sample;
    use crate::services::DatabaseCounts;
    use chrono::{DateTime, Utc};
    use proptest::prelude::*;

    const SPEEDUP: f64 = 180.0;

    fn load() -> Load {
        Load {
            generation_s: 900.0,
            calls_per_generation: 5,
            speedup: SPEEDUP,
            client_poll_s: 5.0,
            openai_poll_s: 5.0,
            repetitions_min: 2,
            repetitions_max: 2,
            seed: 1,
        }
    }

    /// A cell of `workers` slots that take `cycle_ms` each, phases spread evenly, using
    /// `cpu_ms` of CPU per generation.
    fn check(workers: u32, cycle_ms: u32, cpu_ms: u32, vcpu: f64) -> Cell {
        let load = load();
        let start = DateTime::<Utc>::from_timestamp(1_700_000_000, 0).expect("a valid instant");
        let records: Vec<_> = (0..workers * 3)
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
        let at_s = |elapsed_s: f64| start.timestamp() as f64 + elapsed_s;
        let samples = (0..1000)
            .map(|i| {
                let elapsed_s = f64::from(i) * 0.1;
                Sample {
                    at_s: at_s(elapsed_s),
                    cpu: CpuTime {
                        user_s: elapsed_s * cpu_per_s * 0.75,
                        system_s: elapsed_s * cpu_per_s * 0.25,
                    },
                    memory_kib: 50_000,
                    ..Sample::default()
                }
            })
            .collect();
        let services = (0..400)
            .map(|i| ServiceSample {
                at_s: at_s(f64::from(i) * 0.25),
                database: Some(DatabaseCounts::default()),
                ..ServiceSample::default()
            })
            .collect();
        let tracks = records
            .iter()
            .map(|record: &GenerationRecord| Track {
                created_s: crate::sampler::unix_s(record.created_at.into()),
                started_s: record
                    .started_at
                    .map(|at| crate::sampler::unix_s(at.into())),
                finished_s: Some(crate::sampler::unix_s(record.finished_at.into())),
            })
            .collect();
        reduce(&CellInput {
            shape: Shape {
                workers,
                vcpu,
                memory_mib: 1024,
            },
            role: Role::Calibration,
            load: &load,
            watched: Watched {
                samples: Samples::new(samples),
                services: ServiceSamples::new(services),
                vcpu_limit: VcpuLimit::Cgroup,
                memory_idle_kib: 30_000,
                memory_peak_kib: None,
                openai: CallStats::default(),
            },
            records,
            tracks,
            client_bytes: (0.0, 0.0),
            request_errors: 0,
        })
        .expect("three rounds ended")
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
    fn repetitions_and_the_split_of_the_cpu_time_are_kept() {
        let cell = check(6, 5_000, 50, 1.0);
        assert_eq!(cell.repetitions.len(), 2);
        assert!(cell.throughput_ci95_share.expect("two rounds") < 1e-6);
        let split = cell.cpu_split_per_generation;
        assert!((split.user_s / split.system_s - 3.0).abs() < 1e-6);
        assert!((cell.experience.worker_utilization - 1.0).abs() < 0.35);
        assert_eq!(cell.experience.sojourn.count(), 18);
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
