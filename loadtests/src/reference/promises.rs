//! What this backend promises against the proposal's stack: at most such a part of its CPU and memory.

use serde::Serialize;

use crate::reference::cells::{Cell, CellCosts};
use crate::reference::comparison::Comparison;
use crate::reference::costs::Costs;
use crate::reference::service::Kind;
use crate::stats::{Mean, Quotient, quotient};

/// How a promise stands, by the whole 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// The interval lies within what is promised.
    Kept,
    /// The interval holds the promise: more repetitions would tell.
    Undecided,
    /// The interval lies beyond what is promised.
    Missed,
}

impl Standing {
    /// In a sentence.
    pub fn label(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Undecided => "not told apart",
            Self::Missed => "missed",
        }
    }
}

/// What a promise is of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Subject {
    /// The CPU of a generation, in one cell of the grid.
    Cpu(Cell),
    /// The memory of a generation in flight, with its share of Postgres.
    InFlightMemory,
    /// The memory after a start.
    IdleMemory,
}

impl Subject {
    /// In a table.
    pub fn label(self) -> String {
        match self {
            Self::Cpu(cell) => format!("CPU of a generation, {}", cell.label()),
            Self::InFlightMemory => {
                "memory of a generation in flight, with its share of PostgreSQL".to_owned()
            }
            Self::IdleMemory => "idle memory".to_owned(),
        }
    }

    /// Rust's share of the proposal's figure, at most: 1 in so many.
    fn one_in(self) -> f64 {
        match self {
            Self::Cpu(_) | Self::IdleMemory => 20.0,
            Self::InFlightMemory => 10.0,
        }
    }

    /// What a service was found to take; `None` where that says nothing, for it was not measured, or generations failed or
    /// waited for CPU.
    fn figure(self, costs: &Costs) -> Option<Mean> {
        match self {
            Self::Cpu(cell) => {
                let keeps_up = |found: &&CellCosts| found.failed == 0 && !found.is_cpu_bound();
                Some(costs.cell(cell).filter(keeps_up)?.cpu_s_per_generation)
            }
            Self::InFlightMemory => Some(costs.in_flight_mib_per_generation),
            Self::IdleMemory => Some(costs.memory_idle_mib),
        }
    }
}

/// One promise, and what was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Promise {
    /// Of what.
    pub subject: Subject,
    /// Rust's share of the proposal's figure, at most: 1 in so many.
    pub one_in: f64,
    /// Rust's share of what the proposal's own service takes, as measured.
    pub share: Quotient,
    /// Its share of what that service takes tuned, where it was measured: nothing is promised of it.
    pub tuned: Option<Quotient>,
}

impl Promise {
    /// Whether it is kept.
    pub fn standing(&self) -> Standing {
        let most = 1.0 / self.one_in;
        if self.share.high <= most {
            Standing::Kept
        } else if self.share.low > most {
            Standing::Missed
        } else {
            Standing::Undecided
        }
    }

    /// The measured share as [`shown`].
    pub fn shown(&self) -> String {
        shown(self.share)
    }
}

/// A comparison with how its promises stand, for programs: the comparison's own fields, and `promises` beside them.
#[derive(Debug, Serialize)]
pub struct WithPromises<'a> {
    #[serde(flatten)]
    comparison: &'a Comparison,
    promises: Vec<Told>,
}

/// One promise of [`WithPromises`].
#[derive(Debug, Serialize)]
struct Told {
    of: String,
    share_max: f64,
    share: f64,
    share_ci95: [f64; 2],
    standing: Standing,
}

impl<'a> WithPromises<'a> {
    /// All that it says anything of.
    pub fn of(comparison: &'a Comparison) -> Self {
        let told = |promise: &Promise| Told {
            of: promise.subject.label(),
            share_max: 1.0 / promise.one_in,
            share: promise.share.value,
            share_ci95: [promise.share.low, promise.share.high],
            standing: promise.standing(),
        };
        Self {
            comparison,
            promises: promises(comparison).iter().map(told).collect(),
        }
    }
}

/// A share as `1/24 (1/30 to 1/20)`, from the smallest to the greatest.
pub(crate) fn shown(share: Quotient) -> String {
    let Quotient { value, low, high } = share;
    format!("{} ({} to {})", part(value), part(low), part(high))
}

/// What Rust would take of the proposal's CPU for a generation if the clients of both polled alike.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AtEqualPolls {
    /// Polls of a client for one generation, of Rust: it tells them when to come back.
    pub rust_polls: f64,
    /// Those of the proposal's service, at an even cadence.
    pub other_polls: f64,
    /// Rust's share if both were polled as often as the proposal's, each poll at the CPU of one in [`Costs::poll`].
    pub both_often: f64,
    /// Its share if both were polled as seldom as Rust.
    pub both_seldom: f64,
}

/// As [`AtEqualPolls`] says of one cell; `None` where a service was not measured in it.
pub fn at_equal_polls(comparison: &Comparison, cell: Cell) -> Option<AtEqualPolls> {
    let (rust, fastapi) = (
        comparison.costs(Kind::Rust)?,
        comparison.costs(Kind::FastApi)?,
    );
    let (own, other) = (rust.cell(cell)?, fastapi.cell(cell)?);
    let further = other.polls_per_generation - own.polls_per_generation;
    let further_s = |costs: &Costs| further * costs.poll.cpu_ms / 1000.0;
    let (own_s, other_s) = (
        own.cpu_s_per_generation.value,
        other.cpu_s_per_generation.value,
    );
    Some(AtEqualPolls {
        rust_polls: own.polls_per_generation,
        other_polls: other.polls_per_generation,
        both_often: (own_s + further_s(rust)) / other_s,
        both_seldom: own_s / (other_s - further_s(fastapi)),
    })
}

/// `1/24`; empty where there is nothing to compare with; a share that is nothing at all, within its error, is 0.
pub(crate) fn part(share: f64) -> String {
    if !share.is_finite() {
        String::new()
    } else if share <= 0.0 {
        "0".to_owned()
    } else if share > 1.0 {
        format!("{share:.1}")
    } else if share > 0.1 {
        format!("1/{:.1}", 1.0 / share)
    } else {
        format!("1/{:.0}", 1.0 / share)
    }
}

/// Every promise that can be held against what was measured, the CPU's in each cell; none where a service or the
/// intervals are missing.
pub fn promises(comparison: &Comparison) -> Vec<Promise> {
    let (Some(rust), Some(other)) = (
        comparison.costs(Kind::Rust),
        comparison.costs(Kind::FastApi),
    ) else {
        return vec![];
    };
    let tuned = comparison.costs(Kind::FastApiTuned);
    let of_cells = comparison.cells().into_iter().map(Subject::Cpu);
    of_cells
        .chain([Subject::InFlightMemory, Subject::IdleMemory])
        .filter_map(|subject| {
            let rust = subject.figure(rust)?;
            let share_of = |costs| quotient(rust, subject.figure(costs)?);
            Some(Promise {
                subject,
                one_in: subject.one_in(),
                share: share_of(other)?,
                tuned: tuned.and_then(share_of),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn promise(low: f64, high: f64) -> Promise {
        Promise {
            subject: Subject::IdleMemory,
            one_in: 20.0,
            share: Quotient {
                value: f64::midpoint(low, high),
                low,
                high,
            },
            tuned: None,
        }
    }

    #[test]
    fn a_promise_is_kept_or_missed_by_its_whole_interval() {
        assert_eq!(promise(0.03, 0.049).standing(), Standing::Kept);
        assert_eq!(promise(0.04, 0.06).standing(), Standing::Undecided);
        assert_eq!(promise(0.051, 0.09).standing(), Standing::Missed);
    }

    #[test]
    fn programs_are_told_how_promises_stand() {
        let comparison = crate::reference::recorded::comparison();
        let told = serde_json::to_value(WithPromises::of(comparison)).expect("a value");
        assert_eq!(told["conditions"]["workers"], comparison.conditions.workers);
        let idle = &told["promises"]
            .as_array()
            .expect("some")
            .last()
            .expect("one");
        assert_eq!(
            (&idle["of"], &idle["share_max"]),
            (&"idle memory".into(), &0.05.into())
        );
        assert_eq!(idle["standing"], "kept");
    }

    #[test]
    fn shares_are_shown_as_parts() {
        assert_eq!(promise(0.04, 0.05).shown(), "1/22 (1/25 to 1/20)");
        assert_eq!(promise(-0.01, 0.25).shown(), "1/8.3 (0 to 1/4.0)");
        assert_eq!(part(1.25), "1.2");
        assert_eq!(part(f64::NAN), "");
    }

    #[test]
    fn polled_alike_each_service_has_the_polls_of_the_other() {
        let mut comparison = crate::reference::recorded::comparison().clone();
        let cell = comparison.conditions.base();
        for service in &mut comparison.services {
            let costs = service.costs.as_mut().expect("measured");
            costs.cells.retain(|one| one.cell == cell);
            let (polls, cpu_s) = match service.kind {
                Kind::Rust => (30.0, 0.03),
                Kind::FastApi | Kind::FastApiTuned => (130.0, 1.0),
            };
            costs.poll.cpu_ms = match service.kind {
                Kind::Rust => 0.1,
                Kind::FastApi | Kind::FastApiTuned => 4.0,
            };
            costs.cells[0].polls_per_generation = polls;
            costs.cells[0].cpu_s_per_generation.value = cpu_s;
        }
        let found = at_equal_polls(&comparison, cell).expect("both were measured");
        assert!((found.both_often - 0.04).abs() < 1e-12, "{found:?}");
        assert!((found.both_seldom - 0.05).abs() < 1e-12, "{found:?}");
    }

    #[test]
    fn the_cpu_is_promised_in_each_cell_that_both_keep_up_with() {
        let mut comparison = crate::reference::recorded::comparison().clone();
        let base = comparison.conditions.base();
        let twice = Cell {
            generations: base.generations * 2,
            ..base
        };
        let mut tuned = comparison.service(Kind::FastApi).expect("measured").clone();
        tuned.kind = Kind::FastApiTuned;
        comparison
            .services
            .retain(|one| one.kind != Kind::FastApiTuned);
        comparison.services.push(tuned);
        for service in &mut comparison.services {
            let costs = service.costs.as_mut().expect("measured");
            costs.cells.retain(|one| one.cell == base);
            costs.cells.push(CellCosts {
                cell: twice,
                ..costs.cells[0].clone()
            });
        }
        let cpu = |comparison: &Comparison| -> Vec<Subject> {
            let all = promises(comparison);
            assert!(all.iter().all(|one| one.tuned == Some(one.share)));
            let subjects = all.into_iter().map(|one| one.subject);
            let cpu = subjects.filter(|subject| matches!(subject, Subject::Cpu(_)));
            cpu.collect()
        };
        let both = [base, twice].map(Subject::Cpu);
        assert_eq!(cpu(&comparison), both);
        for service in &mut comparison.services {
            let costs = service.costs.as_mut().expect("measured");
            if service.kind == Kind::FastApi {
                costs.cells[1].failed = 1;
            }
        }
        assert_eq!(cpu(&comparison), both[..1]);
        for service in &mut comparison.services {
            let costs = service.costs.as_mut().expect("measured");
            costs.cells[1].failed = 0;
            if let Some(pace) = &mut costs.cells[1].pace {
                pace.cpu_utilization = if service.kind == Kind::FastApi {
                    0.9
                } else {
                    0.01
                };
            }
        }
        assert_eq!(cpu(&comparison), both[..1], "it waits for CPU");
    }
}
