//! The Universal Scalability Law: does throughput grow in proportion to the workers, or do they wait
//! for each other (contention) or for their shared state to agree (coherency)?

use serde::{Deserialize, Serialize};

use crate::stats::{count_as_f64, student_t_975};

/// An estimate with its 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Estimate {
    /// The least-squares value.
    pub value: f64,
    /// Half the width of its interval.
    pub ci95: f64,
}

impl Estimate {
    /// Whether the whole interval lies above zero.
    pub fn is_above_zero(self) -> bool {
        self.value - self.ci95 > 0.0
    }
}

/// `X(n) = lambda * n / (1 + alpha * (n - 1) + beta * n * (n - 1))`, fitted.
///
/// Gunther, Guerrilla Capacity Planning (2007), chapter 4.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScalabilityLaw {
    /// Generations per hour of one worker alone.
    pub lambda: Estimate,
    /// Contention: the share of a generation that only one worker at a time can do.
    pub alpha: Estimate,
    /// Coherency: what each worker costs each other one.
    pub beta: Estimate,
    /// Throughputs that the fit rests on.
    pub points: usize,
    /// The most workers among them.
    pub workers_max: f64,
}

impl ScalabilityLaw {
    /// Throughput of so many workers.
    pub fn throughput(&self, workers: f64) -> f64 {
        let (alpha, beta) = (self.alpha.value, self.beta.value);
        self.lambda.value * workers
            / (1.0 + alpha * (workers - 1.0) + beta * workers * (workers - 1.0))
    }

    /// What the fit says, in a sentence.
    pub fn statement(&self) -> String {
        let figures = |name: &str, estimate: Estimate| {
            format!("{name} {:.1e} ± {:.1e}", estimate.value, estimate.ci95)
        };
        let alpha = figures("alpha", self.alpha);
        let beta = figures("beta", self.beta);
        let until = format!("up to {:.0} workers", self.workers_max);
        match (self.alpha.is_above_zero(), self.beta.is_above_zero()) {
            (false, false) => format!(
                "neither contention ({alpha}) nor coherency ({beta}) shows {until}: \
                 throughput grows in proportion to the workers"
            ),
            (true, false) => {
                format!("contention shows ({alpha}), coherency does not ({beta}), {until}")
            }
            (false, true) => {
                format!("coherency shows ({beta}), contention does not ({alpha}), {until}")
            }
            (true, true) => {
                format!("both contention ({alpha}) and coherency ({beta}) show {until}")
            }
        }
    }
}

/// Fits the law to pairs of workers and throughput; `None` with fewer than four points or three
/// different worker counts.
///
/// The law is linear in `n / X = (1 + alpha (n - 1) + beta n (n - 1)) / lambda`, and each point is
/// weighed by its square, so that relative errors count alike from one worker to a hundred. Intervals
/// of the ratios alpha and beta by the delta method.
pub fn fit(points: &[(f64, f64)]) -> Option<ScalabilityLaw> {
    let mut counts: Vec<f64> = points.iter().map(|(workers, _)| *workers).collect();
    counts.sort_by(f64::total_cmp);
    counts.dedup();
    if points.len() < 4 || counts.len() < 3 || points.iter().any(|(_, rate)| *rate <= 0.0) {
        return None;
    }
    let rows: Vec<[f64; 3]> = points
        .iter()
        .map(|(n, rate)| {
            let weight = rate / n;
            [weight, weight * (n - 1.0), weight * n * (n - 1.0)]
        })
        .collect();
    let mut normal = [[0.0; 3]; 3];
    let mut right = [0.0; 3];
    for row in &rows {
        for i in 0..3 {
            // The weighted left side, n / X times X / n, is 1.
            right[i] += row[i];
            for j in 0..3 {
                normal[i][j] += row[i] * row[j];
            }
        }
    }
    let inverse = inverse(normal)?;
    let [a, b, c] = product(inverse, right);
    let residuals: f64 = rows
        .iter()
        .map(|row| (1.0 - row[0] * a - row[1] * b - row[2] * c).powi(2))
        .sum();
    let freedom = points.len() - 3;
    let variance = residuals / count_as_f64(freedom);
    let t = student_t_975(freedom)?;
    let interval = |gradient: [f64; 3]| {
        let spread = product(inverse, gradient);
        let square: f64 = gradient.iter().zip(spread).map(|(g, s)| g * s).sum();
        t * (variance * square.max(0.0)).sqrt()
    };
    Some(ScalabilityLaw {
        lambda: Estimate {
            value: 1.0 / a,
            ci95: interval([-1.0 / (a * a), 0.0, 0.0]),
        },
        alpha: Estimate {
            value: b / a,
            ci95: interval([-b / (a * a), 1.0 / a, 0.0]),
        },
        beta: Estimate {
            value: c / a,
            ci95: interval([-c / (a * a), 0.0, 1.0 / a]),
        },
        points: points.len(),
        workers_max: counts.last().copied()?,
    })
}

pub(crate) type Matrix = [[f64; 3]; 3];

pub(crate) fn product(matrix: Matrix, vector: [f64; 3]) -> [f64; 3] {
    matrix.map(|row| row.iter().zip(vector).map(|(a, b)| a * b).sum())
}

/// The inverse by cofactors; `None` when the matrix has none.
pub(crate) fn inverse(m: Matrix) -> Option<Matrix> {
    let cofactor = |i: usize, j: usize| {
        let (r, s) = ((i + 1) % 3, (i + 2) % 3);
        let (c, d) = ((j + 1) % 3, (j + 2) % 3);
        m[r][c] * m[s][d] - m[r][d] * m[s][c]
    };
    let determinant: f64 = (0..3).map(|j| m[0][j] * cofactor(0, j)).sum();
    if determinant.abs() < f64::MIN_POSITIVE {
        return None;
    }
    Some(std::array::from_fn(|i| {
        std::array::from_fn(|j| cofactor(j, i) / determinant)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WORKERS: [f64; 4] = [1.0, 6.0, 24.0, 96.0];

    /// Three throughputs per worker count on the law with these parameters, off by `noise` up, down
    /// and not at all.
    fn points(lambda: f64, alpha: f64, beta: f64, noise: f64) -> Vec<(f64, f64)> {
        WORKERS
            .iter()
            .flat_map(|n| {
                let rate = lambda * n / (1.0 + alpha * (n - 1.0) + beta * n * (n - 1.0));
                [-noise, 0.0, noise].map(|off| (*n, rate * (1.0 + off)))
            })
            .collect()
    }

    proptest! {
        #[test]
        fn known_parameters_are_found_again(
            lambda in 1.0..1000.0_f64, alpha in 0.0..0.2_f64, beta in 0.0..0.01_f64,
        ) {
            let law = fit(&points(lambda, alpha, beta, 0.0)).expect("twelve points");
            prop_assert!((law.lambda.value / lambda - 1.0).abs() < 1e-6);
            prop_assert!((law.alpha.value - alpha).abs() < 1e-6);
            prop_assert!((law.beta.value - beta).abs() < 1e-6);
            prop_assert!((law.throughput(24.0) / points(lambda, alpha, beta, 0.0)[7].1 - 1.0).abs() < 1e-6);
        }
    }

    #[test]
    fn noise_around_proportion_is_no_contention() {
        let law = fit(&points(240.0, 0.0, 0.0, 0.01)).expect("twelve points");
        assert!(
            !law.alpha.is_above_zero() && !law.beta.is_above_zero(),
            "{law:?}"
        );
        assert!(
            law.statement().starts_with("neither"),
            "{}",
            law.statement()
        );
    }

    #[test]
    fn contention_and_coherency_are_told_from_noise() {
        let contended = fit(&points(240.0, 0.05, 0.0, 0.01)).expect("twelve points");
        assert!(
            contended.statement().starts_with("contention shows"),
            "{contended:?}"
        );
        let both = fit(&points(240.0, 0.05, 0.002, 0.01)).expect("twelve points");
        assert!(both.statement().starts_with("both"), "{both:?}");
        assert!((both.alpha.value - 0.05).abs() <= both.alpha.ci95);
        assert!((both.beta.value - 0.002).abs() <= both.beta.ci95);
    }

    #[test]
    fn two_worker_counts_are_no_law() {
        assert_eq!(fit(&points(1.0, 0.0, 0.0, 0.0)[..6]), None);
    }
}
