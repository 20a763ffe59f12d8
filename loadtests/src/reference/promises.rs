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

/// Rust's share of the proposal's CPU for a generation, in the base cell, where the clients of both poll alike.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SharesPolledAlike {
    /// Both as often as the proposal's service asks for.
    pub often: Quotient,
    /// Both as seldom as Rust does.
    pub seldom: Quotient,
}

/// As [`SharesPolledAlike`] says; `None` where that was not measured of both.
pub fn polled_alike(comparison: &Comparison) -> Option<SharesPolledAlike> {
    let of = |kind| {
        let usual = comparison.base_cell(kind)?.cpu_s_per_generation;
        let other = comparison.costs(kind)?.polled_alike?.cpu_s_per_generation;
        Some((usual, other))
    };
    let ((rust_seldom, rust_often), (often, seldom)) = (of(Kind::Rust)?, of(Kind::FastApi)?);
    Some(SharesPolledAlike {
        often: quotient(rust_often, often)?,
        seldom: quotient(rust_seldom, seldom)?,
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
    use crate::reference::costs;

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
    fn polled_alike_each_service_stands_beside_the_other_at_one_cadence() {
        let mut comparison = crate::reference::recorded::comparison().clone();
        let cell = comparison.conditions.base();
        let mean = |value| Mean {
            value,
            std_err: value / 100.0,
            n: 3,
        };
        for service in &mut comparison.services {
            let costs = service.costs.as_mut().expect("measured");
            costs.cells.retain(|one| one.cell == cell);
            let (cpu_s, polls, alike_cpu_s, alike_polls) = match service.kind {
                Kind::Rust => (0.03, 20.0, 0.05, 120.0),
                Kind::FastApi | Kind::FastApiTuned => (1.0, 120.0, 0.6, 20.0),
            };
            costs.cells[0].polls_per_generation = polls;
            costs.cells[0].cpu_s_per_generation = mean(cpu_s);
            costs.polled_alike = Some(costs::PolledAlike {
                cpu_s_per_generation: mean(alike_cpu_s),
                polls_per_generation: alike_polls,
            });
        }
        let found = polled_alike(&comparison).expect("both were measured");
        assert!((found.often.value - 0.05).abs() < 1e-12, "{found:?}");
        assert!((found.seldom.value - 0.05).abs() < 1e-12, "{found:?}");
        let per_poll = |kind| {
            comparison
                .costs(kind)
                .map(|costs| costs.cpu_s_per_poll(cell))
        };
        let per_poll = [Kind::Rust, Kind::FastApi].map(|kind| per_poll(kind).expect("measured"));
        assert!((per_poll[0] - 2e-4).abs() < 1e-12 && (per_poll[1] - 4e-3).abs() < 1e-12);
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
