//! The harness against real servers, with whichever provider `HARNESS_PROVIDER` names.

mod containers;
mod development;
mod faults;
mod lifetime;
mod sandboxes;
mod shared;
