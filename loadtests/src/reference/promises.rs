//! What this backend promises against the proposal's stack: at most such a part of its CPU and memory.

use crate::reference::comparison::Comparison;
use crate::reference::costs::Costs;
use crate::reference::service::Kind;
use crate::stats::{Mean, Quotient, quotient};

/// How a promise stands, by the whole 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// One promise, and what was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Promise {
    /// Of what.
    pub what: &'static str,
    /// Rust's share of the proposal's figure, at most: 1 in so many.
    pub one_in: f64,
    /// Rust's share as measured.
    pub share: Quotient,
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

    /// The measured share as `1/24 (1/30 to 1/20)`, from the smallest to the greatest.
    pub fn shown(&self) -> String {
        let Quotient { value, low, high } = self.share;
        format!("{} ({} to {})", part(value), part(low), part(high))
    }
}

/// `1/24`; a share that is nothing at all, within its error, is 0.
pub(crate) fn part(share: f64) -> String {
    if share <= 0.0 {
        "0".to_owned()
    } else if share > 1.0 {
        format!("{share:.1}")
    } else if share > 0.1 {
        format!("1/{:.1}", 1.0 / share)
    } else {
        format!("1/{:.0}", 1.0 / share)
    }
}

/// A promise: what of, which figure, 1 in how many.
type Promised = (&'static str, fn(&Costs) -> Mean, f64);

const PROMISED: [Promised; 3] = [
    (
        "CPU of a generation",
        |costs| costs.cpu_s_per_generation,
        20.0,
    ),
    (
        "memory of a generation in flight, with its share of PostgreSQL",
        |costs| costs.in_flight_mib_per_generation,
        10.0,
    ),
    ("idle memory", |costs| costs.memory_idle_mib, 20.0),
];

/// Every promise that can be held against what was measured; none where a service or the intervals are missing.
pub fn promises(comparison: &Comparison) -> Vec<Promise> {
    let (Some(rust), Some(other)) = (
        comparison.costs(Kind::Rust),
        comparison.costs(Kind::FastApi),
    ) else {
        return vec![];
    };
    PROMISED
        .into_iter()
        .filter_map(|(what, figure, one_in)| {
            let share = quotient(figure(rust), figure(other))?;
            Some(Promise {
                what,
                one_in,
                share,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn promise(low: f64, high: f64) -> Promise {
        Promise {
            what: "CPU of a generation",
            one_in: 20.0,
            share: Quotient {
                value: f64::midpoint(low, high),
                low,
                high,
            },
        }
    }

    #[test]
    fn a_promise_is_kept_or_missed_by_its_whole_interval() {
        assert_eq!(promise(0.03, 0.049).standing(), Standing::Kept);
        assert_eq!(promise(0.04, 0.06).standing(), Standing::Undecided);
        assert_eq!(promise(0.051, 0.09).standing(), Standing::Missed);
    }

    #[test]
    fn shares_are_shown_as_parts() {
        assert_eq!(promise(0.04, 0.05).shown(), "1/22 (1/25 to 1/20)");
        assert_eq!(promise(-0.01, 0.25).shown(), "1/8.3 (0 to 1/4.0)");
        assert_eq!(part(1.25), "1.2");
    }
}
