//! Several runs of one scenario at consecutive seeds: means with their confidence intervals.

use serde::{Deserialize, Serialize};

use crate::outcome::Outcome;
use crate::scenario::{InvalidScenario, Scenario};

/// A mean over runs with its 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interval {
    /// Mean of the runs.
    pub mean: f64,
    /// Half of the interval's width, by Student's t; 0 when there is only one run, which says nothing.
    pub half_width: f64,
    /// Runs.
    pub n: u32,
}

impl Interval {
    /// The interval of these values; all zero when there are none.
    pub fn of(values: &[f64]) -> Interval {
        let n = u32::try_from(values.len()).unwrap_or(u32::MAX);
        if n == 0 {
            return Interval {
                mean: 0.0,
                half_width: 0.0,
                n,
            };
        }
        let mean = values.iter().sum::<f64>() / f64::from(n);
        if n == 1 {
            return Interval {
                mean,
                half_width: 0.0,
                n,
            };
        }
        let squares: f64 = values
            .iter()
            .map(|value| (value - mean) * (value - mean))
            .sum();
        let deviation = libm::sqrt(squares / f64::from(n - 1));
        let half_width = student_t_975(n - 1) * deviation / libm::sqrt(f64::from(n));
        Interval {
            mean,
            half_width,
            n,
        }
    }

    /// Whether a value lies in the interval.
    pub fn contains(&self, value: f64) -> bool {
        (value - self.mean).abs() <= self.half_width
    }
}

/// Runs at consecutive seeds, and the figures that matter over all of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replications {
    /// The runs in the order of their seeds.
    pub outcomes: Vec<Outcome>,
    /// Generations completed per hour.
    pub throughput_per_hour: Interval,
    /// Mean wait in seconds.
    pub wait_mean_s: Interval,
    /// 95 % quantile of the wait in seconds.
    pub wait_p95_s: Interval,
    /// Mean sojourn in seconds.
    pub sojourn_mean_s: Interval,
    /// Generations lost per run.
    pub lost: Interval,
    /// Tasks that exist on average.
    pub tasks_mean: Interval,
    /// The whole monthly bill in dollars.
    pub cost_usd_month: Interval,
}

/// Runs the scenario at its seed, the next one, and so on, one after the other.
///
/// # Errors
/// When the scenario cannot be simulated, or no run is asked for.
pub fn replicate(scenario: &Scenario, replications: u32) -> Result<Replications, InvalidScenario> {
    if replications == 0 {
        return Err(InvalidScenario::new(
            "replications",
            "no run at all",
            "ask for at least 1",
        ));
    }
    let outcomes = (0..replications)
        .map(|index| crate::simulate(&at_replication(scenario, index)))
        .collect::<Result<Vec<Outcome>, InvalidScenario>>()?;
    Ok(combine(outcomes))
}

/// The scenario of one replication: the same with the seed moved on.
pub fn at_replication(scenario: &Scenario, index: u32) -> Scenario {
    Scenario {
        seed: scenario.seed.wrapping_add(u64::from(index)),
        ..scenario.clone()
    }
}

/// The figures over runs that the caller made, in parallel for example.
pub fn combine(outcomes: Vec<Outcome>) -> Replications {
    let over = |figure: fn(&Outcome) -> f64| {
        Interval::of(&outcomes.iter().map(figure).collect::<Vec<f64>>())
    };
    Replications {
        throughput_per_hour: over(|run| run.throughput_per_hour),
        wait_mean_s: over(|run| run.wait_s.mean),
        wait_p95_s: over(|run| run.wait_s.p95),
        sojourn_mean_s: over(|run| run.sojourn_s.mean),
        lost: over(|run| run.lost_total() as f64),
        tasks_mean: over(|run| run.tasks_mean),
        cost_usd_month: over(|run| run.cost_usd_month.total().as_usd()),
        outcomes,
    }
}

/// The 97.5 % quantile of Student's t distribution.
///
/// NIST/SEMATECH e-Handbook, table 1.3.6.7.2, up to 30 degrees of freedom; beyond, the expansion of Abramowitz and
/// Stegun 26.7.5, there exact to four digits.
fn student_t_975(degrees: u32) -> f64 {
    const TABLE: [f64; 30] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
        2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
        2.052, 2.048, 2.045, 2.042,
    ];
    const Z: f64 = 1.959_963_984_540_054;
    let index = usize::try_from(degrees.saturating_sub(1)).unwrap_or(usize::MAX);
    if let Some(value) = TABLE.get(index) {
        return *value;
    }
    let df = f64::from(degrees);
    let (z3, z5) = (Z * Z * Z, Z * Z * Z * Z * Z);
    Z + (z3 + Z) / (4.0 * df) + (5.0 * z5 + 16.0 * z3 + 3.0 * Z) / (96.0 * df * df)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_students() {
        // Mean 3, deviation sqrt(2.5), t of 4 degrees 2.776.
        let interval = Interval::of(&[1.0, 2.0, 3.0, 4.0, 5.0]);
        assert!((interval.mean - 3.0).abs() < 1e-12);
        assert!((interval.half_width - 1.9629).abs() < 1e-3, "{interval:?}");
        assert!(interval.contains(4.9) && !interval.contains(5.0));
    }

    #[test]
    fn the_quantile_joins_its_table_smoothly() {
        assert!((student_t_975(31) - 2.0395).abs() < 1e-3);
        assert!((student_t_975(1000) - 1.9623).abs() < 1e-3);
    }
}
