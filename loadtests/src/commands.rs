//! The commands, a module each, and what they share.

pub(crate) mod calibrate;
pub(crate) mod compare;
pub(crate) mod console;
pub(crate) mod cpu_score;
pub(crate) mod files;
pub(crate) mod gate;
pub(crate) mod main_job;
pub(crate) mod measure;
pub(crate) mod measuring;
pub(crate) mod merge;
pub(crate) mod plan;
pub(crate) mod review;
pub(crate) mod serve;
pub(crate) mod simulate;
pub(crate) mod storm;
pub(crate) mod sync;
