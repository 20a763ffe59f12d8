//! The grid of a comparison: how many generations are in flight at a time, on how much vCPU, and what a service was
//! found to do in each cell.

use serde::{Deserialize, Serialize};

use crate::measurement::VcpuLimit;
use crate::reduce::CPU_UTILIZATION_MAX;
use crate::reference::probe::Latencies;
use crate::stats::Mean;

/// Cells of one comparison at most: each takes either service a minute.
const CELLS_MAX: usize = 12;

/// Generations of one cell at most.
const GENERATIONS_MAX: u32 = 1_000;

/// So many generations at a time on so much vCPU.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cell {
    /// Generations in flight at a time.
    pub generations: u32,
    /// vCPU.
    pub vcpu: f64,
}

impl Cell {
    /// What it is called in tables.
    pub fn label(self) -> String {
        format!("{} at a time on {} vCPU", self.generations, self.vcpu)
    }
}

/// The axes of a grid, each in ascending order and without a value twice.
#[derive(Clone, Debug, PartialEq)]
pub struct Cells {
    generations: Vec<u32>,
    vcpus: Vec<f64>,
}

/// Why there is no such grid.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CellsError {
    /// An axis without a value.
    #[error("name at least one number of {0}")]
    Empty(&'static str),
    /// A value that is named more than once.
    #[error("{value} {axis} are named twice: every cell is measured once")]
    Twice {
        /// Which axis.
        axis: &'static str,
        /// The value.
        value: String,
    },
    /// More generations than a comparison counts one by one.
    #[error(
        "{generations} generations in flight are more than the {GENERATIONS_MAX} of a cell: name fewer"
    )]
    TooMuch {
        /// How many.
        generations: u32,
    },
    /// More cells than anybody waits for.
    #[error(
        "{cells} cells are more than the {CELLS_MAX} of one comparison: name fewer of either axis"
    )]
    TooMany {
        /// How many.
        cells: usize,
    },
}

impl Cells {
    /// The grid of these numbers of generations in flight on these vCPU counts.
    ///
    /// # Errors
    /// When an axis is empty or has a value twice, or there are more cells than one comparison measures.
    pub fn new(mut generations: Vec<u32>, mut vcpus: Vec<f64>) -> Result<Self, CellsError> {
        generations.sort_unstable();
        vcpus.sort_by(f64::total_cmp);
        check("generations in flight", &generations)?;
        check("vCPU", &vcpus)?;
        if let Some(&most) = generations.last().filter(|most| **most > GENERATIONS_MAX) {
            return Err(CellsError::TooMuch { generations: most });
        }
        let cells = generations.len() * vcpus.len();
        if cells > CELLS_MAX {
            return Err(CellsError::TooMany { cells });
        }
        Ok(Self { generations, vcpus })
    }

    /// The cell in which all else is measured: as many generations as `workers` where the grid has them, else the
    /// fewest, on the most vCPU.
    pub fn base(&self, workers: u32) -> Cell {
        let fewest = self.generations[0];
        let one_each = self.generations.iter().find(|count| **count == workers);
        Cell {
            generations: *one_each.unwrap_or(&fewest),
            vcpu: self.vcpus[self.vcpus.len() - 1],
        }
    }

    /// Numbers of generations in flight.
    pub(super) fn generations(&self) -> &[u32] {
        &self.generations
    }

    /// vCPU counts.
    pub(super) fn vcpus(&self) -> &[f64] {
        &self.vcpus
    }
}

/// Refuses an axis in ascending order that is empty or has a value twice.
fn check<T: PartialEq + ToString>(axis: &'static str, values: &[T]) -> Result<(), CellsError> {
    if values.is_empty() {
        return Err(CellsError::Empty(axis));
    }
    match values.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(()),
        Some(pair) => Err(CellsError::Twice {
            axis,
            value: pair[0].to_string(),
        }),
    }
}

/// What one service was found to do in one cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CellCosts {
    /// Which cell.
    pub cell: Cell,
    /// Generations of all its batches.
    pub asked: u32,
    /// Of these, refused, failed, or not ended in time.
    pub failed: u32,
    /// Why the first of these did; absent where none has.
    pub failure: Option<String>,
    /// CPU seconds of one generation with its polls, over the batches.
    pub cpu_s_per_generation: Mean,
    /// Polls of its client, on average.
    pub polls_per_generation: f64,
    /// Of its CPU seconds, those in which its PDFs were read; absent where the service does not say.
    pub reading_cpu_s: Option<Mean>,
    /// Of its CPU seconds, those in which its PDF was rendered; absent where the service does not say.
    pub rendering_cpu_s: Option<Mean>,
    /// `/health` while generations run and render.
    pub health: Latencies,
    /// Whether it keeps up; absent where nobody looked.
    pub pace: Option<Pace>,
}

/// How a service keeps up with a cell. Times are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pace {
    /// From accepted to ended beyond the calls of OpenAI, in seconds by the service's clock: median of those that
    /// succeeded.
    pub beyond_openai_p50_s: f64,
    /// Its 95 % quantile.
    pub beyond_openai_p95_s: f64,
    /// Used share of the vCPU, from the first order of a batch until its last end.
    pub cpu_utilization: f64,
    /// What enforced the vCPU.
    pub vcpu_limit: VcpuLimit,
}

impl CellCosts {
    /// Whether so much of the vCPU was in use that generations waited for it: what one costs is then its cost at
    /// saturation.
    pub fn is_cpu_bound(&self) -> bool {
        self.pace
            .is_some_and(|pace| pace.cpu_utilization > CPU_UTILIZATION_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_else_is_measured_with_a_generation_for_each_worker_on_the_most_vcpu() {
        let cell = |generations, vcpu| Cell { generations, vcpu };
        let cells = Cells::new(vec![24, 1, 6], vec![2.0, 0.5]).expect("six cells");
        assert_eq!(cells.base(6), cell(6, 2.0));
        assert_eq!(cells.base(4), cell(1, 2.0));
    }

    #[test]
    fn a_grid_that_says_nothing_or_too_much_is_refused() {
        let refused = |generations: &[u32], vcpus: &[f64]| {
            let cells = Cells::new(generations.to_vec(), vcpus.to_vec());
            cells.expect_err("refused").to_string()
        };
        assert!(refused(&[], &[2.0]).contains("generations in flight"));
        assert!(refused(&[6], &[]).contains("vCPU"));
        assert!(refused(&[6, 24, 6], &[2.0]).contains("6 generations in flight are named twice"));
        assert!(refused(&[6], &[0.5, 0.50]).contains("0.5 vCPU are named twice"));
        assert!(refused(&[6, 1001], &[2.0]).starts_with("1001 generations"));
        let many: Vec<u32> = (1..=7).collect();
        assert!(refused(&many, &[1.0, 2.0]).starts_with("14 cells"));
    }
}
