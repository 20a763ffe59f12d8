//! The proposal's own stack (`FastAPI` under Gunicorn, `loadtests/reference/`) beside the backend: the
//! same contract, machine, limits, OpenAI and users, one after the other in one run.
//!
//! Where the reference cannot run, that is a finding with its reason; the rest of the run goes on.

mod batch;
pub mod cells;
pub mod comparison;
pub mod contract;
pub mod costs;
pub mod environment;
pub mod fate;
mod held;
mod in_flight;
pub mod needs;
pub mod open;
pub mod pricing;
pub mod probe;
pub mod process_tree;
pub mod profile;
pub mod promises;
pub mod recorded;
pub mod run;
pub mod service;
pub mod table;
pub mod user;
