//! What CPU a backend uses by the rate at which its generations end: less for each, the more there are.
//!
//! A generation always does the same: so many transactions, polls of OpenAI (once the process has learned how long
//! responses take) and answers to its client, and beside them the process ticks so many times a second. Counts per
//! generation do not fall with the rate. What one such operation costs does: one that comes alone wakes a sleeping
//! thread, and a sleeping core, with cold caches for itself alone; among many the next is there before the thread
//! sleeps. Over the two decades that were measured that is a power of the operations per second, and the ticks count
//! among them:
//!
//! `cores = a * (generations per second + ticks per second)^exponent`
//!
//! with ticks in the work of so many generations. An exponent of 1 is the straight line of a constant cost.

use serde::{Deserialize, Serialize};

use crate::calibrate::Calibration;
use crate::stats::{Mean, count_as_f64, fit_line, mean, student_t_975};
use crate::usl::{inverse, product};

/// Rates that differ by a smaller factor are one rate: a power needs three that differ.
const RATE_STEP: f64 = 1.5;
/// Steps of the search for the ticks, over [`TICKS_DECADES`] decades.
const SEARCH_STEPS: u32 = 600;
/// Decades below the greatest rate in which the ticks are looked for.
const TICKS_DECADES: f64 = 6.0;

/// What one cell says of the CPU of a generation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Generations that end per second of the compressed clock.
    pub generations_per_s: f64,
    /// CPU seconds of one of them, with its share of the ticks.
    pub cpu_s: f64,
    /// Factor by which its waits were divided, those between the ticks among them.
    pub speedup: f64,
}

/// The law, fitted, each figure with its standard error.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CpuLaw {
    /// CPU use, in cores, where one generation ends per second and nothing ticks.
    pub cores_at_one_per_s: Mean,
    /// What the ticks of the process amount to, in the work of so many generations per hour of real time; they are
    /// compressed like every wait.
    pub ticks_in_generations_per_hour: Mean,
    /// Power of the work per second to which CPU use grows; below 1.
    pub exponent: Mean,
    /// CPU seconds that one generation adds to an idle process in real time when it runs alone. No load makes one
    /// dearer. The law, continued below the rates of the cells.
    pub cpu_s_per_generation_alone: Mean,
    /// The most work that was measured, in generations per second, ticks included. Beyond, an operation is taken to
    /// cost what it costs there.
    pub work_per_s_max: f64,
    /// Whether power and ticks are those of another, larger grid, and only the level is of these cells.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shape_recorded: bool,
}

impl CpuLaw {
    /// Fits the law to cells of one backend. Those of another speed-up tell the power best, for both kinds of work are
    /// divided alike there.
    ///
    /// Least squares of the logarithms, so that errors count by their share; for every assumed rate of ticks that is a
    /// line, and the best rate is searched. Standard errors from the Jacobian there (Draper and Smith, Applied
    /// Regression Analysis, ch. 24). `None` without four cells of three rates, and when the 95 % interval of the
    /// exponent holds 1: then a constant cost says as much with less.
    pub fn fit(points: &[Point], generation_s: f64) -> Option<Self> {
        if !Self::can_be_told_from(points) {
            return None;
        }
        let real_rates = points
            .iter()
            .map(|point| point.generations_per_s / point.speedup);
        let rate_max = real_rates.fold(0.0, f64::max);
        let ticks_at = |step: f64| rate_max * 10_f64.powf(-TICKS_DECADES * step);
        let best = (0..=SEARCH_STEPS)
            .map(|step| f64::from(step) / f64::from(SEARCH_STEPS))
            .min_by(|one, other| {
                let errors = |step: &f64| {
                    Trial::with(ticks_at(*step), points)
                        .map_or(f64::INFINITY, |trial| trial.squares)
                };
                errors(one).total_cmp(&errors(other))
            })?;
        let width = 1.0 / f64::from(SEARCH_STEPS);
        let ticks_per_s = ticks_at(golden_section(best - width, best + width, |step| {
            Trial::with(ticks_at(step), points).map_or(f64::INFINITY, |trial| trial.squares)
        }));
        Trial::with(ticks_per_s, points)?.law(points, generation_s)
    }

    /// Whether there are cells enough for a fit: four of three rates.
    pub fn can_be_told_from(points: &[Point]) -> bool {
        points.len() >= 4 && distinct_rates(points) >= 3
    }

    /// The same law at the level of other cells, which are too few to tell its power: that and the ticks are the
    /// backend's, the level is the machine's. The mean of the logarithms, as in [`CpuLaw::fit`]; `None` without cells.
    pub fn at_level_of(&self, points: &[Point]) -> Option<Self> {
        let factors: Vec<_> = points
            .iter()
            .map(|point| {
                let foreseen = self.cores(point.generations_per_s, point.speedup);
                (point.cores() / foreseen).ln()
            })
            .collect();
        let level = mean(&factors)?;
        let n = points.len();
        let scaled = |of: Mean| Mean {
            value: of.value * level.value.exp(),
            // Of the law that was recorded, and of the level.
            std_err: of.value * level.value.exp() * (of.std_err / of.value).hypot(level.std_err),
            n,
        };
        Some(Self {
            cores_at_one_per_s: scaled(self.cores_at_one_per_s),
            cpu_s_per_generation_alone: scaled(self.cpu_s_per_generation_alone),
            shape_recorded: true,
            ..*self
        })
    }

    /// CPU use in cores when so many generations end per second of a clock that runs `speedup` times as fast.
    pub fn cores(&self, generations_per_s: f64, speedup: f64) -> f64 {
        let work_per_s = generations_per_s + self.ticks_per_s(speedup);
        let measured = work_per_s.min(self.work_per_s_max);
        self.cores_at_one_per_s.value * measured.powf(self.exponent.value) * (work_per_s / measured)
    }

    /// Generations per second at which so many cores are in use; 0 when the ticks alone use them.
    pub fn generations_per_s(&self, cores: f64, speedup: f64) -> f64 {
        let (a, p) = (self.cores_at_one_per_s.value, self.exponent.value);
        let cores_max = a * self.work_per_s_max.powf(p);
        let work_per_s = if cores <= cores_max {
            (cores / a).powf(1.0 / p)
        } else {
            self.work_per_s_max * cores / cores_max
        };
        (work_per_s - self.ticks_per_s(speedup)).max(0.0)
    }

    fn ticks_per_s(&self, speedup: f64) -> f64 {
        self.ticks_in_generations_per_hour.value / 3600.0 * speedup
    }
}

impl Calibration {
    /// CPU use in cores when so many generations end per second of a clock that runs `speedup` times as fast: what is
    /// expected of a measurement. By the law, or by the straight line where no law was told.
    pub fn cpu_cores(&self, generations_per_s: f64, speedup: f64) -> f64 {
        self.cpu_law.map_or_else(
            || self.cores_by_the_line(generations_per_s, speedup),
            |law| law.cores(generations_per_s, speedup),
        )
    }

    /// The same in real time for a promise of capacity: never less than at the constant cost of
    /// `cpu_s_per_generation`, whatever the law says of rates at which it is lower.
    pub fn cpu_cores_at_most(&self, generations_per_s: f64) -> f64 {
        self.cpu_cores(generations_per_s, 1.0)
            .max(self.cores_by_the_line(generations_per_s, 1.0))
    }

    /// Generations per second at which so many cores are in use, at a clock that runs `speedup` times as fast.
    pub fn generations_per_s(&self, cores: f64, speedup: f64) -> f64 {
        self.cpu_law.map_or_else(
            || self.generations_per_s_by_the_line(cores, speedup),
            |law| law.generations_per_s(cores, speedup),
        )
    }

    /// The same in real time for a promise of capacity, as [`Calibration::cpu_cores_at_most`].
    pub fn generations_per_s_at_least(&self, cores: f64) -> f64 {
        self.generations_per_s(cores, 1.0)
            .min(self.generations_per_s_by_the_line(cores, 1.0))
    }

    /// CPU seconds that a simulated fleet is charged for each generation: what one costs that runs alone in real time,
    /// and never less than the constant cost. A fleet with more in flight uses less than that.
    pub fn cpu_s_per_generation_at_most(&self) -> f64 {
        let alone = self
            .cpu_law
            .map_or(0.0, |law| law.cpu_s_per_generation_alone.value);
        alone.max(self.cpu_s_per_generation.value)
    }

    fn cores_by_the_line(&self, generations_per_s: f64, speedup: f64) -> f64 {
        self.cpu_background_cores.value * speedup
            + self.cpu_s_per_generation.value * generations_per_s
    }

    fn generations_per_s_by_the_line(&self, cores: f64, speedup: f64) -> f64 {
        let free = cores - self.cpu_background_cores.value * speedup;
        (free / self.cpu_s_per_generation.value).max(0.0)
    }
}

impl Point {
    /// CPU use in cores.
    fn cores(self) -> f64 {
        self.generations_per_s * self.cpu_s
    }

    /// Work per second, in generations, beside ticks of so many per second of real time.
    fn work_per_s(self, ticks_per_s: f64) -> f64 {
        self.generations_per_s + ticks_per_s * self.speedup
    }
}

/// The law at an assumed rate of ticks.
struct Trial {
    /// Of real time.
    ticks_per_s: f64,
    log_cores: f64,
    exponent: f64,
    squares: f64,
}

impl Trial {
    fn with(ticks_per_s: f64, points: &[Point]) -> Option<Self> {
        let logs: Vec<_> = points
            .iter()
            .map(|point| (point.work_per_s(ticks_per_s).ln(), point.cores().ln()))
            .collect();
        let line = fit_line(&logs)?;
        let (log_cores, exponent) = (line.intercept.value, line.slope.value);
        let squares = logs
            .iter()
            .map(|(x, y)| (y - log_cores - exponent * x).powi(2))
            .sum();
        Some(Self {
            ticks_per_s,
            log_cores,
            exponent,
            squares,
        })
    }

    /// With standard errors; `None` when the exponent cannot be told from 1.
    fn law(&self, points: &[Point], generation_s: f64) -> Option<CpuLaw> {
        let n = points.len();
        let p = self.exponent;
        let mut normal = [[0.0; 3]; 3];
        for point in points {
            let work_per_s = point.work_per_s(self.ticks_per_s);
            let row = [1.0, work_per_s.ln(), p * point.speedup / work_per_s];
            for i in 0..3 {
                for j in 0..3 {
                    normal[i][j] += row[i] * row[j];
                }
            }
        }
        let covariance = inverse(normal)?;
        let freedom = n.checked_sub(3)?;
        let variance = self.squares / count_as_f64(freedom);
        let stated = |value: f64, gradient: [f64; 3]| {
            let spread = product(covariance, gradient);
            let square: f64 = gradient.iter().zip(spread).map(|(g, s)| g * s).sum();
            Mean {
                value,
                std_err: (variance * square.max(0.0)).sqrt(),
                n,
            }
        };
        let exponent = stated(p, [0.0, 1.0, 0.0]);
        if p <= 0.0 || p + student_t_975(freedom)? * exponent.std_err >= 1.0 {
            return None;
        }
        let a = self.log_cores.exp();
        // One generation at a time in real time, beside the ticks of real time.
        let (one, ticks) = (1.0 / generation_s, self.ticks_per_s);
        let added = |of: &dyn Fn(f64) -> f64| a * (of(one + ticks) - of(ticks)) / one;
        let alone = added(&|work| work.powf(p));
        let work_max = points
            .iter()
            .map(|point| point.work_per_s(self.ticks_per_s));
        Some(CpuLaw {
            cores_at_one_per_s: stated(a, [a, 0.0, 0.0]),
            ticks_in_generations_per_hour: stated(ticks * 3600.0, [0.0, 0.0, 3600.0]),
            exponent,
            cpu_s_per_generation_alone: stated(
                alone,
                [
                    alone,
                    added(&|work| work.powf(p) * work.ln()),
                    added(&|work| p * work.powf(p - 1.0)),
                ],
            ),
            work_per_s_max: work_max.fold(0.0, f64::max),
            shape_recorded: false,
        })
    }
}

/// How many of the rates differ by [`RATE_STEP`] or more.
fn distinct_rates(points: &[Point]) -> usize {
    let mut rates: Vec<f64> = points.iter().map(|point| point.generations_per_s).collect();
    rates.sort_by(f64::total_cmp);
    let mut last = 0.0;
    rates
        .into_iter()
        .filter(|rate| {
            let new = *rate >= last * RATE_STEP && *rate > 0.0;
            if new {
                last = *rate;
            }
            new
        })
        .count()
}

/// Where `of` is least between `from` and `to`, which hold a single minimum.
fn golden_section(mut from: f64, mut to: f64, of: impl Fn(f64) -> f64) -> f64 {
    const SHARE: f64 = 0.618_033_988_749_895;
    for _ in 0..60 {
        let (low, high) = (to - SHARE * (to - from), from + SHARE * (to - from));
        if of(low) < of(high) {
            to = high;
        } else {
            from = low;
        }
    }
    f64::midpoint(from, to)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cells of a backend that follows the law, at speed-up 60; errors alternate.
    fn cells(a: f64, ticks_per_s: f64, exponent: f64, error: f64) -> Vec<Point> {
        [0.065, 0.065, 0.39, 0.39, 1.55, 1.55, 6.2, 6.2]
            .into_iter()
            .enumerate()
            .map(|(index, rate)| {
                let cores = a * f64::powf(rate + ticks_per_s, exponent);
                let sign = if index % 2 == 0 { 1.0 } else { -1.0 };
                Point {
                    generations_per_s: rate,
                    cpu_s: cores / rate * (1.0 + sign * error),
                    speedup: 60.0,
                }
            })
            .collect()
    }

    #[test]
    fn a_known_law_is_found_again() {
        let law = CpuLaw::fit(&cells(0.11, 0.04, 0.85, 0.0), 900.0).expect("a power below 1");
        assert!(
            (law.cores_at_one_per_s.value - 0.11).abs() < 1e-6,
            "{law:?}"
        );
        assert!((law.exponent.value - 0.85).abs() < 1e-6, "{law:?}");
        let per_hour = 0.04 / 60.0 * 3600.0;
        assert!(
            (law.ticks_in_generations_per_hour.value - per_hour).abs() < 1e-5,
            "{law:?}"
        );
        assert!(law.exponent.std_err < 1e-6, "{law:?}");
    }

    #[test]
    fn noise_is_in_the_standard_errors() {
        let law = CpuLaw::fit(&cells(0.11, 0.04, 0.85, 0.05), 900.0).expect("a power below 1");
        for (found, known) in [
            (law.cores_at_one_per_s, 0.11),
            (law.exponent, 0.85),
            (law.ticks_in_generations_per_hour, 2.4),
        ] {
            assert!(found.std_err > 0.0, "{law:?}");
            assert!((found.value - known).abs() < 2.0 * found.std_err, "{law:?}");
        }
    }

    #[test]
    fn a_cell_in_real_time_tells_a_power_that_compressed_ones_cannot() {
        let mut points = cells(0.05, 0.08, 0.93, 0.1);
        assert_eq!(CpuLaw::fit(&points, 900.0), None);
        let rate = 6.0 / 900.0;
        points.push(Point {
            generations_per_s: rate,
            cpu_s: 0.05 * f64::powf(rate + 0.08 / 60.0, 0.93) / rate,
            speedup: 1.0,
        });
        let law = CpuLaw::fit(&points, 900.0).expect("a power below 1");
        assert!((law.exponent.value - 0.93).abs() < 0.02, "{law:?}");
    }

    #[test]
    fn a_constant_cost_needs_no_law() {
        assert_eq!(CpuLaw::fit(&cells(0.11, 0.04, 1.0, 0.05), 900.0), None);
        // Two rates, however many cells, are a line.
        let two: Vec<_> = cells(0.11, 0.04, 0.85, 0.0).into_iter().take(4).collect();
        assert_eq!(CpuLaw::fit(&two, 900.0), None);
    }

    #[test]
    fn a_few_cells_of_another_machine_settle_the_level_alone() {
        let law = CpuLaw::fit(&cells(0.11, 0.04, 0.85, 0.0), 900.0).expect("a power below 1");
        let slower: Vec<_> = cells(0.22, 0.04, 0.85, 0.0)
            .into_iter()
            .step_by(3)
            .collect();
        let there = law.at_level_of(&slower).expect("cells");
        assert!(there.shape_recorded && !law.shape_recorded);
        assert!((there.cores(1.0, 60.0) / law.cores(1.0, 60.0) - 2.0).abs() < 1e-6);
        let alone = |law: CpuLaw| law.cpu_s_per_generation_alone.value;
        assert!((alone(there) / alone(law) - 2.0).abs() < 1e-6);
        assert_eq!(there.exponent, law.exponent);
        assert_eq!(law.at_level_of(&[]), None);
    }

    #[test]
    fn cores_and_generations_are_each_other_s_inverse_also_beyond_what_was_measured() {
        let law = CpuLaw::fit(&cells(0.11, 0.04, 0.85, 0.0), 900.0).expect("a power below 1");
        for rate in [0.001, 0.4, 6.0, 60.0] {
            let back = law.generations_per_s(law.cores(rate, 60.0), 60.0);
            assert!((back / rate - 1.0).abs() < 1e-9, "{rate}: {back}");
        }
        assert!(law.generations_per_s(0.0, 60.0).abs() < 1e-12);
        // Beyond, an operation costs what the last one that was measured costs.
        let slope = (law.cores(61.0, 60.0) - law.cores(60.0, 60.0)) * law.work_per_s_max;
        let last = law.cores(6.2, 60.0);
        assert!((slope / last - 1.0).abs() < 1e-9, "{slope} {last}");
    }

    #[test]
    fn no_load_of_a_real_backend_costs_more_than_a_fleet_is_charged() {
        let mut calibration = crate::calibrate::tests::calibration();
        calibration.cpu_law = CpuLaw::fit(&cells(0.11, 0.04, 0.85, 0.0), 900.0);
        let charged = calibration.cpu_s_per_generation_at_most();
        let idle = calibration.cpu_cores(0.0, 1.0);
        for in_flight in [1.0, 6.0, 96.0, 10_000.0] {
            let rate = in_flight / 900.0;
            let used = calibration.cpu_cores(rate, 1.0) - idle;
            assert!(used <= charged * rate * (1.0 + 1e-9), "{in_flight}");
            let promised = calibration.cpu_cores_at_most(rate);
            assert!(promised >= calibration.cpu_s_per_generation.value * rate);
            assert!(promised >= used);
            let back = calibration.generations_per_s_at_least(promised);
            assert!((back / rate - 1.0).abs() < 1e-9, "{in_flight}: {back}");
        }
    }
}
