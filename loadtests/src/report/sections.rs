//! The words and tables of every report, a file each; parts that several share have one of their own.

mod cost_lines;
mod costs;
mod fidelity;
mod gate;
mod main_job;
mod measured;
mod outcome;
mod plan;
mod simulation;
mod sync;

pub use fidelity::fidelity;
pub use gate::gate;
pub use main_job::{in_a_line, results};
pub use measured::{calibration, measurement};
pub use outcome::{outcome, replicated};
pub use plan::searched_plan;
pub use simulation::{platforms, simulation};
pub use sync::sync;
