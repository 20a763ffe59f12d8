//! Joins the results of several processes or machines. Counts and histograms add up exactly, so that the
//! joined result is the one that a single process would have had.

use crate::histogram::Latencies;
use crate::measurement::{Cell, Experience, Measurement, Observer, OpenRun, SCHEMA_VERSION};
use crate::stats::mean;

/// Why results do not belong together.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// There are none.
    #[error("merge: no result was given")]
    Nothing,
    /// Another version of this program wrote it.
    #[error(
        "merge {name}: it has schema version {found}, this program reads {SCHEMA_VERSION}; measure it again"
    )]
    Version {
        /// Which.
        name: String,
        /// Its version.
        found: u32,
    },
    /// It measured something else.
    #[error(
        "merge {name}: its {what} differs from that of {first}; only parts of one measurement add up"
    )]
    Different {
        /// Which.
        name: String,
        /// What differs.
        what: &'static str,
        /// The one that it was compared with.
        first: String,
    },
    /// The same thing is there twice.
    #[error("merge {name}: {what} is in an earlier result too, and would count twice")]
    Twice {
        /// Which.
        name: String,
        /// What is there twice.
        what: String,
    },
}

/// Joins `parts`, each with a name for messages. What is partial, and what lacks a shard, stays marked as
/// incomplete.
///
/// # Errors
/// When the parts are not of one measurement, or something would count twice.
pub fn merge(parts: Vec<(String, Measurement)>) -> Result<Measurement, MergeError> {
    let mut parts = parts.into_iter();
    let (first, mut joined) = parts.next().ok_or(MergeError::Nothing)?;
    check_version(&first, &joined)?;
    for (name, part) in parts {
        check_version(&name, &part)?;
        let different = |what| MergeError::Different {
            name: name.clone(),
            what,
            first: first.clone(),
        };
        if part.load != joined.load {
            return Err(different("load"));
        }
        if part.hardware.commit != joined.hardware.commit {
            return Err(different("commit"));
        }
        if !part.cells.is_empty() && part.hardware.cpu_model != joined.hardware.cpu_model {
            return Err(different("CPU model"));
        }
        for cell in part.cells {
            add_cell(&mut joined.cells, cell, &name)?;
        }
        for run in part.open_runs {
            add_run(&mut joined.open_runs, run, &name)?;
        }
        joined.complete &= part.complete;
        if joined.incomplete_because.is_none() {
            joined.incomplete_because = part
                .incomplete_because
                .map(|reason| format!("{name}: {reason}"));
        }
    }
    if let Some(missing) = joined.open_runs.iter().find_map(missing_shard) {
        joined.complete = false;
        joined.incomplete_because.get_or_insert(missing);
    }
    Ok(joined)
}

/// A measurement with a name for messages.
type Named = (String, Measurement);

/// Parts measurements of the first one's speed-up, which are passes over one grid, from those of others.
///
/// # Errors
/// When one is of another machine or provider than the first.
pub fn by_speedup(parts: Vec<Named>) -> Result<(Vec<Named>, Vec<Measurement>), MergeError> {
    let (mut passes, mut others) = (Vec::<Named>::new(), vec![]);
    for (name, part) in parts {
        match passes.first() {
            Some((first, pass)) if machine(&part) != machine(pass) => {
                return Err(MergeError::Different {
                    name,
                    what: "machine or provider",
                    first: first.clone(),
                });
            }
            Some((_, pass)) if part.load.speedup.total_cmp(&pass.load.speedup).is_ne() => {
                others.push(part);
            }
            _ => passes.push((name, part)),
        }
    }
    Ok((passes, others))
}

/// CPU model and provider.
fn machine(measurement: &Measurement) -> (String, String) {
    let hardware = &measurement.hardware;
    (hardware.cpu_model.clone(), hardware.provider.clone())
}

/// Joins passes over the same grid, each with a name for messages: every pass starts its processes anew, and what
/// differs from one start to the next, or from one hour of a shared machine to the next, is in no interval of a single
/// pass. Whose code they measured is told by the first.
///
/// # Errors
/// When they are not of one grid on one machine.
pub fn passes(parts: Vec<(String, Measurement)>) -> Result<Measurement, MergeError> {
    let mut parts = parts.into_iter();
    let (first, mut joined) = parts.next().ok_or(MergeError::Nothing)?;
    check_version(&first, &joined)?;
    let mut scores = Vec::from_iter(joined.hardware.cpu_score);
    for (name, part) in parts {
        check_version(&name, &part)?;
        let shapes = |measurement: &Measurement| -> Vec<_> {
            measurement.cells.iter().map(Cell::shape).collect()
        };
        let what = if part.load != joined.load {
            Some("load")
        } else if machine(&part) != machine(&joined) {
            Some("machine or provider")
        } else if !shapes(&joined).starts_with(&shapes(&part)) {
            Some("grid")
        } else {
            None
        };
        if let Some(what) = what {
            return Err(MergeError::Different { name, what, first });
        }
        if joined
            .cells
            .chunks(part.cells.len().max(1))
            .any(|pass| pass == part.cells.as_slice())
        {
            let what = "every cell".to_owned();
            return Err(MergeError::Twice { name, what });
        }
        scores.extend(part.hardware.cpu_score);
        joined.complete &= part.complete;
        joined.cells.extend(part.cells);
        joined.open_runs.extend(part.open_runs);
    }
    joined.hardware.cpu_score = mean(&scores).map(|score| score.value);
    Ok(joined)
}

fn check_version(name: &str, part: &Measurement) -> Result<(), MergeError> {
    if part.schema_version == SCHEMA_VERSION {
        return Ok(());
    }
    Err(MergeError::Version {
        name: name.to_owned(),
        found: part.schema_version,
    })
}

fn add_cell(cells: &mut Vec<Cell>, cell: Cell, name: &str) -> Result<(), MergeError> {
    if cells.iter().any(|other| other.shape() == cell.shape()) {
        let what = format!("the cell of {} workers at {} vCPU", cell.workers, cell.vcpu);
        return Err(MergeError::Twice {
            name: name.to_owned(),
            what,
        });
    }
    cells.push(cell);
    Ok(())
}

fn add_run(runs: &mut Vec<OpenRun>, run: OpenRun, name: &str) -> Result<(), MergeError> {
    let twice = |what: String| MergeError::Twice {
        name: name.to_owned(),
        what,
    };
    let same = |other: &&mut OpenRun| {
        other.shape == run.shape && other.target == run.target && other.plan == run.plan
    };
    let Some(joined) = runs.iter_mut().find(same) else {
        runs.push(run);
        return Ok(());
    };
    if joined.target.is_none() {
        // Each process started a backend of its own: their loads were never one load.
        return Err(twice(
            "the same open run against a backend of its own".to_owned(),
        ));
    }
    if let Some(shard) = run
        .shards
        .iter()
        .find(|shard| joined.shards.contains(shard))
    {
        return Err(twice(format!("shard {}/{}", shard.index, shard.of)));
    }
    joined.shards.extend(run.shards);
    joined.shards.sort_by_key(|shard| (shard.of, shard.index));
    joined.planned += run.planned;
    joined.dropped_arrivals += run.dropped_arrivals;
    joined.completed += run.completed;
    joined.failures += run.failures;
    joined.first_failure = joined.first_failure.take().or(run.first_failure);
    joined.censored += run.censored;
    joined.throughput_per_hour += run.throughput_per_hour;
    joined.latency.add(&run.latency);
    joined.lateness.add(&run.lateness);
    add_experience(&mut joined.experience, run.experience);
    joined.observer = add_observers(joined.observer, run.observer);
    for mark in run.marks {
        if !joined.marks.contains(&mark) {
            joined.marks.push(mark);
        }
    }
    joined.complete &= run.complete;
    Ok(())
}

fn add_experience(joined: &mut Experience, part: Experience) {
    let add = |into: &mut Latencies, from: &Latencies| into.add(from);
    joined.arrivals_s.extend(part.arrivals_s);
    joined.arrivals_s.sort_by(f64::total_cmp);
    add(&mut joined.wait, &part.wait);
    add(&mut joined.sojourn, &part.sojourn);
    // Shares of the same workers.
    joined.worker_utilization += part.worker_utilization;
}

/// Cores add up over machines; shares and single threads do not, so the busiest counts.
fn add_observers(a: Observer, b: Observer) -> Observer {
    Observer {
        host_cpu_utilization: a.host_cpu_utilization.max(b.host_cpu_utilization),
        users_cores: a.users_cores + b.users_cores,
        openai_cores: a.openai_cores + b.openai_cores,
        busiest_thread_cores: a.busiest_thread_cores.max(b.busiest_thread_cores),
    }
}

/// Says which part of a schedule nobody sent.
fn missing_shard(run: &OpenRun) -> Option<String> {
    let of = run.shards.first()?.of;
    let index = (1..=of).find(|index| {
        !run.shards
            .iter()
            .any(|shard| shard.index == *index && shard.of == of)
    })?;
    Some(format!("shard {index}/{of} of an open run is missing"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrate::tests::{cell, measurement};
    use crate::measurement::{Mark, Plan, Shard};

    #[test]
    fn passes_over_one_grid_add_up_and_those_of_another_do_not() {
        let grid = || measurement(vec![cell(1, 0.05, 40_000), cell(6, 0.05, 40_000)]);
        let named = |parts: Vec<Measurement>| {
            let names = ["first", "second"].into_iter().map(str::to_owned);
            names.zip(parts).collect::<Vec<_>>()
        };
        let mut second = grid();
        second.cells[0].cpu_s_per_generation *= 1.1;
        let joined = passes(named(vec![grid(), second])).expect("two passes");
        assert!(matches!(
            passes(named(vec![grid(), grid()])),
            Err(MergeError::Twice { .. })
        ));
        assert_eq!(joined.cells.len(), 4);
        let refused = |part: Measurement| passes(named(vec![grid(), part])).expect_err("another");
        let mut other = grid();
        other.cells.pop();
        other.cells.push(cell(24, 0.05, 40_000));
        assert!(refused(other).to_string().contains("its grid differs"));
        let mut other = grid();
        other.hardware.cpu_model = "another".to_owned();
        assert!(
            refused(other)
                .to_string()
                .contains("its machine or provider differs")
        );
        let mut other = grid();
        other.load.speedup = 20.0;
        assert!(refused(other).to_string().contains("its load differs"));
    }

    #[test]
    fn passes_are_those_of_the_first_speedup_and_all_are_of_one_machine() {
        let at = |speedup| {
            let mut one = measurement(vec![cell(6, 0.05, 40_000)]);
            one.load.speedup = speedup;
            one
        };
        let parts = named(vec![at(60.0), at(1.0), at(60.0)]);
        let (passes, others) = by_speedup(parts).expect("one machine");
        let speedups =
            |all: &[Measurement]| -> Vec<f64> { all.iter().map(|one| one.load.speedup).collect() };
        let passes: Vec<_> = passes.into_iter().map(|(_, pass)| pass).collect();
        assert_eq!(speedups(&passes), [60.0, 60.0]);
        assert_eq!(speedups(&others), [1.0]);
        let mut elsewhere = at(1.0);
        elsewhere.hardware.provider = "docker".to_owned();
        let refused = by_speedup(named(vec![at(60.0), elsewhere])).expect_err("another provider");
        assert!(
            refused
                .to_string()
                .contains("its machine or provider differs")
        );
    }

    fn part(index: u32, of: u32, latencies_s: &[f64]) -> Measurement {
        let count = u64::try_from(latencies_s.len()).expect("few");
        let run = OpenRun {
            shape: None,
            target: Some("http://target".to_owned()),
            plan: Plan {
                rate_per_hour: 10.0,
                length_s: 60.0,
                warmup_s: 10.0,
                seed: 1,
            },
            shards: vec![Shard { index, of }],
            planned: count + 1,
            dropped_arrivals: 0,
            completed: count,
            failures: 0,
            first_failure: None,
            censored: 1,
            throughput_per_hour: 5.0,
            latency: Latencies::of(latencies_s.iter().copied()),
            lateness: Latencies::default(),
            experience: Experience {
                arrivals_s: vec![f64::from(index)],
                window_s: (10.0, 60.0),
                wait: Latencies::default(),
                sojourn: Latencies::of(latencies_s.iter().copied()),
                worker_utilization: 0.2,
            },
            cpu_utilization: None,
            observer: Observer::default(),
            marks: vec![],
            complete: true,
        };
        Measurement {
            open_runs: vec![run],
            ..measurement(vec![])
        }
    }

    fn named(parts: Vec<Measurement>) -> Vec<(String, Measurement)> {
        parts
            .into_iter()
            .enumerate()
            .map(|(index, part)| (format!("part-{}", index + 1), part))
            .collect()
    }

    #[test]
    fn shards_add_up_exactly() {
        let mut second = part(2, 2, &[3.0, 4.0, 5.0]);
        second.open_runs[0].marks = vec![Mark::LoadGeneratorBound];
        let joined = merge(named(vec![second, part(1, 2, &[1.0, 2.0])])).expect("one measurement");
        assert!(joined.complete);
        let run = &joined.open_runs[0];
        assert_eq!(run.latency, Latencies::of([1.0, 2.0, 3.0, 4.0, 5.0]));
        assert_eq!((run.planned, run.completed, run.censored), (7, 5, 2));
        assert_eq!(run.marks, [Mark::LoadGeneratorBound]);
        assert_eq!(run.experience.arrivals_s, [1.0, 2.0]);
        assert!((run.throughput_per_hour - 10.0).abs() < 1e-12);
    }

    #[test]
    fn a_missing_shard_and_a_partial_part_leave_the_whole_incomplete() {
        let joined = merge(named(vec![part(1, 3, &[1.0]), part(3, 3, &[1.0])])).expect("two parts");
        assert!(!joined.complete);
        let reason = joined.incomplete_because.expect("a reason");
        assert!(reason.contains("shard 2/3"), "{reason}");
        let mut broken = part(2, 2, &[1.0]);
        broken.complete = false;
        broken.incomplete_because = Some("the target died".to_owned());
        let joined = merge(named(vec![part(1, 2, &[1.0]), broken])).expect("two parts");
        assert_eq!(
            joined.incomplete_because.as_deref(),
            Some("part-2: the target died")
        );
    }

    #[test]
    fn what_would_count_twice_or_differs_is_refused() {
        let twice = merge(named(vec![part(1, 2, &[1.0]), part(1, 2, &[1.0])]));
        assert!(matches!(twice, Err(MergeError::Twice { .. })), "{twice:?}");
        let mut faster = part(2, 2, &[1.0]);
        faster.load.speedup = 1.0;
        let different = merge(named(vec![part(1, 2, &[1.0]), faster])).expect_err("another load");
        assert!(
            different
                .to_string()
                .starts_with("merge part-2: its load differs")
        );
        let cells = || measurement(vec![cell(6, 0.05, 40_000)]);
        assert!(merge(named(vec![cells(), cells()])).is_err());
        let mut old = cells();
        old.schema_version = 1;
        assert!(matches!(
            merge(named(vec![old])),
            Err(MergeError::Version { found: 1, .. })
        ));
        assert_eq!(merge(vec![]), Err(MergeError::Nothing));
    }

    #[test]
    fn grids_of_different_cells_lie_side_by_side() {
        let one = measurement(vec![cell(1, 0.05, 40_000)]);
        let other = measurement(vec![cell(6, 0.05, 40_000)]);
        let joined = merge(named(vec![one, other])).expect("one measurement");
        assert_eq!(joined.cells.len(), 2);
    }
}
