//! The harness against real servers, with whichever provider `HARNESS_PROVIDER` names.

mod containers;
mod development;
mod faults;
mod folder;
mod lifetime;
mod openai_client;
mod sandboxes;
mod shared;
