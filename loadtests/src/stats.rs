//! The few statistics that the lab states: means with their standard errors, and least squares.

use serde::{Deserialize, Serialize};

/// A mean and how sure of it one may be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mean {
    /// The mean.
    pub value: f64,
    /// Its standard error: the standard deviation over the square root of `n`; 0 for one sample.
    pub std_err: f64,
    /// How many samples.
    pub n: usize,
}

/// Mean and standard error of independent samples; `None` when there are none.
pub fn mean(samples: &[f64]) -> Option<Mean> {
    let n = samples.len();
    if n == 0 {
        return None;
    }
    let count = count_as_f64(n);
    let value = samples.iter().sum::<f64>() / count;
    let std_err = if n < 2 {
        0.0
    } else {
        let squares: f64 = samples.iter().map(|sample| (sample - value).powi(2)).sum();
        (squares / (count - 1.0) / count).sqrt()
    };
    Some(Mean { value, std_err, n })
}

impl Mean {
    /// Half the width of the 95 % confidence interval (Student's t); `None` for fewer than two samples.
    pub fn ci95(self) -> Option<f64> {
        Some(student_t_975(self.n.checked_sub(1)?)? * self.std_err)
    }

    /// The same as a share of the mean.
    pub fn ci95_share(self) -> Option<f64> {
        let half = self.ci95()?;
        (self.value.abs() > f64::EPSILON).then(|| half / self.value.abs())
    }
}

/// The middle one of the samples, of an even number the mean of the middle two; `None` without any.
pub fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = sorted[(sorted.len() - 1) / 2];
    Some(f64::midpoint(lower, upper))
}

/// The 97.5 % quantile of Student's t distribution: with it, `value ± t * std_err` holds the mean with
/// 95 % confidence. `None` without a degree of freedom.
///
/// Table to three decimals up to 30 degrees of freedom; beyond, the expansion of Abramowitz and
/// Stegun, Handbook of Mathematical Functions, 26.7.5, which there agrees to three decimals.
pub fn student_t_975(degrees_of_freedom: usize) -> Option<f64> {
    const TABLE: [f64; 30] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
        2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
        2.052, 2.048, 2.045, 2.042,
    ];
    let index = degrees_of_freedom.checked_sub(1)?;
    Some(TABLE.get(index).copied().unwrap_or_else(|| {
        let z = 1.959_964_f64;
        let n = count_as_f64(degrees_of_freedom);
        z + (z.powi(3) + z) / (4.0 * n)
            + (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / (96.0 * n * n)
    }))
}

/// The ratio `sum(y) / sum(x)` of `(x, y)` pairs, with its standard error; `None` when the xs sum to 0.
///
/// The standard error is that of the ratio estimator (Cochran, Sampling Techniques, section 2.11,
/// without the correction for finite populations); 0 for one pair.
pub fn ratio(pairs: &[(f64, f64)]) -> Option<Mean> {
    let n = pairs.len();
    let x_sum: f64 = pairs.iter().map(|(x, _)| x).sum();
    if x_sum <= 0.0 {
        return None;
    }
    let value = pairs.iter().map(|(_, y)| y).sum::<f64>() / x_sum;
    let std_err = if n < 2 {
        0.0
    } else {
        let residuals: f64 = pairs.iter().map(|(x, y)| (y - value * x).powi(2)).sum();
        let count = count_as_f64(n);
        (residuals * count / (count - 1.0)).sqrt() / x_sum
    };
    Some(Mean { value, std_err, n })
}

/// The quotient of two means and its 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quotient {
    /// The quotient.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// `above / below` of independent means; `None` where either has fewer than two samples or `below` is not positive.
///
/// Delta method, for a `below` whose own relative error is small; degrees of freedom by Welch and Satterthwaite, rounded
/// down (Kendall and Stuart, The Advanced Theory of Statistics, 10.6; Satterthwaite, Biometrics Bulletin 2, 1946).
pub fn quotient(above: Mean, below: Mean) -> Option<Quotient> {
    if below.value <= 0.0 || above.n < 2 || below.n < 2 {
        return None;
    }
    let value = above.value / below.value;
    let parts = [
        ((above.std_err / below.value).powi(2), above.n),
        ((value * below.std_err / below.value).powi(2), below.n),
    ];
    let variance: f64 = parts.iter().map(|(part, _)| part).sum();
    let spread: f64 = parts
        .iter()
        .map(|(part, n)| part.powi(2) / (count_as_f64(*n) - 1.0))
        .sum();
    let half = if spread > 0.0 {
        // Never fewer degrees than the smaller sample alone has.
        let least = above.n.min(below.n) - 1;
        let most = above.n + below.n - 2;
        let wanted = variance.powi(2) / spread;
        let degrees = (least..=most)
            .rev()
            .find(|degrees| count_as_f64(*degrees) <= wanted)
            .unwrap_or(least);
        student_t_975(degrees)? * variance.sqrt()
    } else {
        0.0
    };
    Some(Quotient {
        value,
        low: value - half,
        high: value + half,
    })
}

/// A straight line fitted by least squares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// Value at x = 0.
    pub intercept: Mean,
    /// Growth per unit of x.
    pub slope: Mean,
}

/// Fits a line through `(x, y)` points; `None` with fewer than three points or a single x.
///
/// Standard errors are the textbook ones (Draper and Smith, Applied Regression Analysis, ch. 1).
pub fn fit_line(points: &[(f64, f64)]) -> Option<Line> {
    fit_line_weighted(points, |_| 1.0)
}

/// The same with a weight for every y: what counts is the sum of the weighted squares of the errors
/// (ch. 9). A weight of `1 / y^2` makes that the relative errors.
pub fn fit_line_weighted(points: &[(f64, f64)], weight: impl Fn(f64) -> f64) -> Option<Line> {
    let n = points.len();
    if n < 3 {
        return None;
    }
    let sum = |of: &dyn Fn(f64, f64) -> f64| -> f64 {
        points.iter().map(|(x, y)| weight(*y) * of(*x, *y)).sum()
    };
    let weights = sum(&|_, _| 1.0);
    let x_mean = sum(&|x, _| x) / weights;
    let y_mean = sum(&|_, y| y) / weights;
    let sxx = sum(&|x, _| (x - x_mean).powi(2));
    if sxx / weights <= f64::EPSILON {
        return None;
    }
    let sxy = sum(&|x, y| (x - x_mean) * (y - y_mean));
    let slope = sxy / sxx;
    let intercept = y_mean - slope * x_mean;
    let residuals = sum(&|x, y| (y - intercept - slope * x).powi(2));
    let variance = residuals / (count_as_f64(n) - 2.0);
    Some(Line {
        intercept: Mean {
            value: intercept,
            std_err: (variance * (1.0 / weights + x_mean * x_mean / sxx)).sqrt(),
            n,
        },
        slope: Mean {
            value: slope,
            std_err: (variance / sxx).sqrt(),
            n,
        },
    })
}

/// The value at `x` of a curve given by points in ascending order, linear in between and flat outside.
///
/// `None` when there are no points.
pub fn interpolate(points: &[(f64, f64)], x: f64) -> Option<f64> {
    let first = points.first()?;
    let after = points.partition_point(|(at, _)| *at <= x);
    if after == 0 {
        return Some(first.1);
    }
    let (x0, y0) = points[after - 1];
    let Some(&(x1, y1)) = points.get(after) else {
        return Some(y0);
    };
    Some(y0 + (y1 - y0) * (x - x0) / (x1 - x0))
}

/// A count as a float; exact up to 2^53, which no count here nears.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
pub fn count_as_f64(count: usize) -> f64 {
    count as f64
}

/// The same for counters of 64 bits.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
pub fn count_u64_as_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_middle_one_of_several_is_not_moved_by_an_outlier() {
        assert_eq!(median(&[]), None);
        for (samples, middle) in [
            (&[2.0][..], 2.0),
            (&[3.0, 1.0], 2.0),
            (&[9.0, 1.0, 2.0], 2.0),
            (&[-99.0, 1.0, 4.0, 2.0], 1.5),
        ] {
            assert_eq!(median(samples), Some(middle), "{samples:?}");
        }
    }

    #[test]
    fn mean_of_nothing_is_none() {
        assert_eq!(mean(&[]), None);
    }

    #[test]
    fn standard_error_matches_the_definition() {
        let got = mean(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]).expect("eight samples");
        assert!((got.value - 5.0).abs() < 1e-12);
        // Sample variance 32/7, over n = 8.
        assert!((got.std_err - (32.0_f64 / 7.0 / 8.0).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn confidence_intervals_follow_student() {
        let got = mean(&[9.0, 10.0, 11.0]).expect("three samples");
        // t(2) = 4.303, standard error = 1 / sqrt(3).
        assert!((got.ci95().expect("three samples") - 4.303 / 3.0_f64.sqrt()).abs() < 1e-9);
        assert!(mean(&[1.0]).expect("one sample").ci95().is_none());
        assert!((student_t_975(31).expect("positive") - 2.040).abs() < 1e-3);
        assert!((student_t_975(1000).expect("positive") - 1.962).abs() < 1e-3);
    }

    #[test]
    fn a_quotient_carries_the_errors_of_both_means() {
        let of = |value, std_err, n| Mean { value, std_err, n };
        let got = quotient(of(1.0, 0.03, 5), of(20.0, 0.8, 5)).expect("five samples each");
        assert!((got.value - 0.05).abs() < 1e-12);
        // Relative errors of 3 and 4 % are 5 % together; 7.5 degrees of freedom are taken for 7.
        assert!(
            (got.high - got.value - 2.365 * 0.05 * 0.05).abs() < 1e-9,
            "{got:?}"
        );
        assert!((got.value - got.low - (got.high - got.value)).abs() < 1e-12);
        // All the error in one mean: its own degrees of freedom.
        let got = quotient(of(1.0, 0.1, 3), of(10.0, 0.0, 9)).expect("samples");
        assert!((got.high - 0.1 - 4.303 * 0.01).abs() < 1e-9, "{got:?}");
        assert_eq!(quotient(of(1.0, 0.0, 1), of(1.0, 0.1, 3)), None);
        assert_eq!(quotient(of(1.0, 0.1, 3), of(0.0, 0.1, 3)), None);
        let exact = quotient(of(1.0, 0.0, 2), of(4.0, 0.0, 2)).expect("two samples");
        assert!((exact.high - exact.low).abs() < 1e-12);
    }

    #[test]
    fn interpolation_is_flat_outside_and_linear_inside() {
        let points = [(1.0, 10.0), (3.0, 30.0)];
        let at = |x| interpolate(&points, x).expect("two points");
        assert!((at(0.0) - 10.0).abs() < 1e-12);
        assert!((at(2.0) - 20.0).abs() < 1e-12);
        assert!((at(9.0) - 30.0).abs() < 1e-12);
        assert_eq!(interpolate(&[], 1.0), None);
    }

    #[test]
    fn a_ratio_weighs_large_samples_more() {
        let got = ratio(&[(1.0, 0.2), (99.0, 9.9)]).expect("a positive sum");
        assert!((got.value - 0.101).abs() < 1e-12);
        assert_eq!(ratio(&[]), None);
    }

    proptest! {
        #[test]
        fn exact_lines_are_found_exactly(a in -1e3..1e3_f64, b in -1e3..1e3_f64, n in 3_usize..20) {
            let points: Vec<_> = (0..n).map(|i| (count_as_f64(i), a + b * count_as_f64(i))).collect();
            let line = fit_line(&points).expect("three points or more");
            prop_assert!((line.intercept.value - a).abs() < 1e-6);
            prop_assert!((line.slope.value - b).abs() < 1e-6);
            prop_assert!(line.slope.std_err < 1e-6);
        }

        #[test]
        fn a_single_x_has_no_slope(x in -1e3..1e3_f64, ys in prop::collection::vec(-1e3..1e3_f64, 3..9)) {
            let points: Vec<_> = ys.into_iter().map(|y| (x, y)).collect();
            prop_assert_eq!(fit_line(&points), None);
        }
    }
}
