//! What is measured: shapes, their load, and how long that should take.

use std::path::PathBuf;

use crate::measurement::{Load, Plan as ArrivalPlan, Role, Shape, Shard};
use crate::reduce::OVERHEAD_SHARE_MAX;
use crate::run::OpenSpec;
use crate::stats::count_as_f64;

/// Seconds, next to its load, that a cell takes: a sandbox, a start, a stop.
const CELL_OVERHEAD_S: f64 = 1.5;
/// Length of the generation under test: the upper end of the review's "10-15 minutos", and its
/// 900 s time-out.
const GENERATION_S: f64 = 900.0;
/// The outline and four sections: the backend's default.
const CALLS_PER_GENERATION: u32 = 5;
/// The backend's defaults for `POLL_RETRY_AFTER_MS` and `OPENAI_POLL_INTERVAL_MS`, in seconds.
const POLL_S: f64 = 5.0;

/// The grid to measure and the load that each of its cells carries.
#[derive(Clone, Debug)]
pub struct Grid {
    /// Worker counts.
    pub workers: Vec<u32>,
    /// vCPU counts.
    pub vcpus: Vec<f64>,
    /// Memory of each, in GiB; `None` gives each vCPU the least that Fargate sells with it.
    pub memories_gib: Option<Vec<f64>>,
    /// The load.
    pub load: Load,
    /// Whether a machine that is too slow for the speed-up may be measured at a smaller one.
    pub speedup_may_fall: bool,
    /// Generations that each cell measures at least, on top of what its statistics need.
    pub generations_min: Option<u32>,
    /// Whether the cells are measured saturated.
    pub saturated: bool,
    /// Runs under Poisson arrivals.
    pub open: Option<OpenGrid>,
    /// The backend's binary; cargo builds it when there is none.
    pub backend: Option<PathBuf>,
}

/// Which shapes run under Poisson arrivals, and under how many.
#[derive(Clone, Debug)]
pub struct OpenGrid {
    /// Arrivals per hour of real time; `None` keeps [`OPEN_UTILIZATION`] of the workers busy.
    pub rate_per_hour: Option<f64>,
    /// Length of the schedule, in generations.
    pub generations_long: f64,
    /// Whether every shape runs so, or only the one in the middle of the grid.
    pub every_shape: bool,
    /// The part of the schedule that this process sends.
    pub shard: Shard,
}

/// Share of the workers that open arrivals keep busy when nobody says otherwise: enough for a queue to
/// form now and then, and not to grow for ever.
const OPEN_UTILIZATION: f64 = 0.8;
/// The start of an open schedule that is not judged, in generations: until then no generation ends.
const OPEN_WARMUP_GENERATIONS: f64 = 1.0;

impl Grid {
    /// The grid of the main job: the proposal's 6 workers and 2 vCPU among smaller and larger ones,
    /// and the proposal once more under Poisson arrivals.
    pub fn standard() -> Self {
        Self {
            workers: vec![1, 6, 24],
            vcpus: vec![0.25, 2.0],
            memories_gib: None,
            load: load(130.0, 3, 4),
            speedup_may_fall: true,
            generations_min: None,
            saturated: true,
            open: Some(OpenGrid {
                rate_per_hour: None,
                generations_long: 5.0,
                every_shape: false,
                shard: Shard { index: 1, of: 1 },
            }),
            backend: None,
        }
    }

    /// The grid of a smoke run: the proposal's workers and twice as many, one repetition each.
    pub fn quick() -> Self {
        Self {
            workers: vec![6, 12],
            vcpus: vec![1.0],
            load: load(130.0, 1, 1),
            // It has a minute, whatever its cells are worth.
            speedup_may_fall: false,
            open: None,
            ..Self::standard()
        }
    }

    /// Every combination, in the order in which it is measured.
    ///
    /// # Errors
    /// When Fargate does not sell a memory with a vCPU.
    pub fn shapes(&self) -> Result<Vec<Shape>, GridError> {
        let mut shapes = Vec::new();
        for vcpu in &self.vcpus {
            let least = [least_memory_gib(*vcpu)];
            for memory_gib in self.memories_gib.as_deref().unwrap_or(&least) {
                if let Some(sold) = simulator::prices::fargate_memories_gib(*vcpu)
                    && !sold.iter().any(|sold| sold.total_cmp(memory_gib).is_eq())
                {
                    return Err(GridError::Memory {
                        vcpu: *vcpu,
                        memory_gib: *memory_gib,
                        sold: sold
                            .iter()
                            .map(f64::to_string)
                            .collect::<Vec<_>>()
                            .join(", "),
                    });
                }
                shapes.extend(self.workers.iter().map(|workers| Shape {
                    workers: *workers,
                    vcpu: *vcpu,
                    memory_mib: gib_as_mib(*memory_gib),
                }));
            }
        }
        Ok(shapes)
    }

    /// What each shape of [`Grid::shapes`] is measured for: like the squares of a chessboard, so that both
    /// colours see every worker count and every vCPU of a grid that has two of each.
    pub fn role(&self, index: usize) -> Role {
        let (row, column) = (index / self.workers.len(), index % self.workers.len());
        if (row + column) % 2 == 0 {
            Role::Calibration
        } else {
            Role::HeldOut
        }
    }

    /// The open runs of the grid.
    ///
    /// # Errors
    /// As [`Grid::shapes`].
    pub fn open_specs(&self) -> Result<Vec<OpenSpec>, GridError> {
        let Some(open) = &self.open else {
            return Ok(Vec::new());
        };
        let mut shapes = self.shapes()?;
        if !open.every_shape {
            // The middle worker count on the most vCPU: on the standard grid the proposal.
            let last_row = shapes.len() - self.workers.len();
            shapes = vec![shapes[last_row + self.workers.len() / 2]];
        }
        Ok(shapes
            .into_iter()
            .map(|shape| OpenSpec {
                shape,
                plan: open.plan(&self.load, shape.workers),
                shard: open.shard,
            })
            .collect())
    }

    /// Seconds that the grid should take.
    pub fn expected_s(&self) -> f64 {
        let shapes =
            self.workers.len() * self.vcpus.len() * self.memories_gib.as_ref().map_or(1, Vec::len);
        let cells = if self.saturated { shapes } else { 0 };
        let opens = match &self.open {
            None => 0,
            Some(open) if open.every_shape => shapes,
            Some(_) => 1,
        };
        count_as_f64(cells) * self.cell_expected_s() + count_as_f64(opens) * self.open_expected_s()
    }

    /// Seconds that one cell should take.
    pub fn cell_expected_s(&self) -> f64 {
        f64::from(1 + self.load.repetitions_min) * self.load.compressed_generation_ms() / 1000.0
            + CELL_OVERHEAD_S
    }

    /// Seconds that one open run should take.
    pub fn open_expected_s(&self) -> f64 {
        let generations = self.open.as_ref().map_or(0.0, |open| open.generations_long);
        generations * self.load.compressed_generation_ms() / 1000.0 + CELL_OVERHEAD_S
    }
}

impl OpenGrid {
    /// The schedule for so many workers.
    pub fn plan(&self, load: &Load, workers: u32) -> ArrivalPlan {
        let generation_s = load.compressed_generation_ms() / 1000.0;
        let by_workers = f64::from(workers) * 3600.0 / load.generation_s;
        ArrivalPlan {
            rate_per_hour: self.rate_per_hour.unwrap_or(by_workers * OPEN_UTILIZATION),
            length_s: self.generations_long * generation_s,
            warmup_s: OPEN_WARMUP_GENERATIONS * generation_s,
            seed: load.seed,
        }
    }
}

fn load(speedup: f64, repetitions_min: u32, repetitions_max: u32) -> Load {
    Load {
        generation_s: GENERATION_S,
        calls_per_generation: CALLS_PER_GENERATION,
        speedup,
        client_poll_s: POLL_S,
        openai_poll_s: POLL_S,
        repetitions_min,
        repetitions_max,
        seed: 42,
    }
}

/// The smallest memory that Fargate gives to so many vCPU, or what one GiB per half vCPU comes to.
fn least_memory_gib(vcpu: f64) -> f64 {
    simulator::prices::fargate_memories_gib(vcpu)
        .and_then(|memories| memories.first().copied())
        .unwrap_or((vcpu * 2.0).max(0.5))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "memories are positive and far below 2^53 MiB"
)]
fn gib_as_mib(gib: f64) -> u64 {
    (gib * 1024.0).round() as u64
}

/// Room that a smaller speed-up leaves: the cells of one grid differ in the time that does not shrink.
const SMALLER_SPEEDUP_SHARE: f64 = 0.8;
/// Below this a grid would take half an hour; who wants that asks for it.
const SMALLER_SPEEDUP_MIN: f64 = 20.0;

/// The largest speed-up at which so many milliseconds are still the share of a generation that they may be.
pub fn speedup_by_overhead(load: &Load, overhead_ms: f64) -> f64 {
    OVERHEAD_SHARE_MAX * load.generation_s * 1000.0 / overhead_ms.max(f64::EPSILON)
}

/// The speed-up to begin anew with when a first cell took too long for the one it was measured at.
pub fn smaller_speedup(load: &Load, overhead_ms: f64) -> Option<f64> {
    let largest = speedup_by_overhead(load, overhead_ms);
    let smaller = (largest * SMALLER_SPEEDUP_SHARE).floor();
    (largest < load.speedup && smaller >= SMALLER_SPEEDUP_MIN).then_some(smaller)
}

/// Refuses a speed-up that the committed calibration shows to be too large.
///
/// # Errors
/// [`GridError::Speedup`] with the largest speed-up that would hold.
pub fn check_speedup(load: &Load, overhead_ms: f64) -> Result<(), GridError> {
    let compressed_ms = load.compressed_generation_ms();
    let share = overhead_ms / compressed_ms;
    if share < OVERHEAD_SHARE_MAX {
        return Ok(());
    }
    Err(GridError::Speedup {
        speedup: load.speedup,
        overhead_ms,
        share_percent: share * 100.0,
        compressed_ms,
        speedup_max: speedup_by_overhead(load, overhead_ms).floor(),
    })
}

/// Why a grid cannot be measured.
#[derive(Debug, thiserror::Error)]
pub enum GridError {
    /// Fargate does not sell this memory with this vCPU.
    #[error(
        "measure {vcpu} vCPU with {memory_gib} GiB: Fargate does not sell that; with {vcpu} vCPU it sells \
         {sold} GiB"
    )]
    Memory {
        /// The vCPU.
        vcpu: f64,
        /// What was asked for.
        memory_gib: f64,
        /// What there is.
        sold: String,
    },
    /// The speed-up would leave the bounds within which a compressed run is valid.
    #[error(
        "measure with --speedup {speedup}: {overhead_ms:.0} ms of every generation do not shrink, \
         which would be {share_percent:.1} % of its compressed {compressed_ms:.0} ms (at most 1 % is \
         allowed); the largest speedup that holds is {speedup_max:.0}"
    )]
    Speedup {
        /// What was asked for.
        speedup: f64,
        /// Time that does not shrink, from the committed calibration.
        overhead_ms: f64,
        /// Its share of the compressed generation.
        share_percent: f64,
        /// Length of the compressed generation.
        compressed_ms: f64,
        /// The largest speed-up that keeps the bound.
        speedup_max: f64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_large_a_speedup_is_refused_with_the_largest_that_holds() {
        let mut fast = load(180.0, 3, 3);
        check_speedup(&fast, 20.0).expect("20 ms are 0.4 % of 5 s");
        fast.speedup = 900.0;
        let error = check_speedup(&fast, 20.0)
            .expect_err("20 ms are 2 % of 1 s")
            .to_string();
        assert!(
            error.ends_with("the largest speedup that holds is 450"),
            "{error}"
        );
    }

    #[test]
    fn a_machine_that_is_too_slow_is_measured_at_a_speedup_that_leaves_room() {
        let standard = load(130.0, 3, 4);
        assert_eq!(smaller_speedup(&standard, 69.0), None);
        // 100 ms are 1 % of 10 s, which is speed-up 90.
        assert_eq!(smaller_speedup(&standard, 100.0), Some(72.0));
        assert_eq!(smaller_speedup(&load(72.0, 3, 4), 100.0), None);
        assert_eq!(smaller_speedup(&standard, 1000.0), None, "not for hours");
    }

    #[test]
    fn grid_cells_use_memories_that_fargate_has() {
        let shapes = Grid::standard().shapes().expect("Fargate sells these");
        assert_eq!(shapes[0].memory_mib, 512);
        assert_eq!(shapes[shapes.len() - 1].memory_mib, 4096);
        let grid = Grid {
            vcpus: vec![0.25],
            memories_gib: Some(vec![0.5, 2.0]),
            ..Grid::standard()
        };
        let shapes = grid.shapes().expect("Fargate sells these");
        assert_eq!(shapes.len(), 6);
        assert_eq!(shapes[3].memory_mib, 2048);
        let grid = Grid {
            memories_gib: Some(vec![8.0]),
            ..grid
        };
        let error = grid.shapes().expect_err("too much").to_string();
        assert!(error.ends_with("it sells 0.5, 1, 2 GiB"), "{error}");
    }

    #[test]
    fn half_the_cells_are_held_out_and_both_halves_see_every_axis() {
        let grid = Grid {
            workers: vec![1, 6, 24, 96],
            vcpus: vec![0.25, 0.5, 1.0, 2.0],
            ..Grid::standard()
        };
        let shapes = grid.shapes().expect("Fargate sells these");
        for role in [Role::Calibration, Role::HeldOut] {
            let of_role: Vec<_> = (0..shapes.len())
                .filter(|i| grid.role(*i) == role)
                .collect();
            assert_eq!(of_role.len(), 8);
            for workers in &grid.workers {
                assert!(of_role.iter().any(|i| shapes[*i].workers == *workers));
            }
            for vcpu in &grid.vcpus {
                assert!(
                    of_role
                        .iter()
                        .any(|i| shapes[*i].vcpu.total_cmp(vcpu).is_eq())
                );
            }
        }
    }

    #[test]
    fn the_open_run_of_the_standard_grid_is_the_proposal_at_eighty_per_cent() {
        let specs = Grid::standard().open_specs().expect("Fargate sells it");
        assert_eq!(specs.len(), 1);
        assert_eq!(specs[0].shape.workers, 6);
        // 6 workers do 24 generations of 15 minutes an hour.
        assert!((specs[0].plan.rate_per_hour - 19.2).abs() < 1e-9);
    }

    #[test]
    fn the_standard_grid_is_meant_to_take_less_than_four_minutes_and_the_quick_one_less_than_one() {
        assert!(
            Grid::standard().expected_s() < 230.0,
            "{}",
            Grid::standard().expected_s()
        );
        assert!(
            Grid::quick().expected_s() < 50.0,
            "{}",
            Grid::quick().expected_s()
        );
    }
}
