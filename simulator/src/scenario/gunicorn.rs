//! Gunicorn's two kinds of worker, as measured on a service of this kind.

use serde::{Deserialize, Serialize};

use super::defaults;
use crate::time::Duration;

/// How many generations one worker runs at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerModel {
    /// One.
    #[default]
    Sync,
    /// As many as it has database connections for, on one event loop and one core: an ASGI worker.
    Async,
}

/// What an async worker does besides waiting for the AI provider.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gunicorn {
    /// Database connections of one worker; each of its generations holds one to its end. Default 30: a pool of 10 with
    /// an overflow of 20.
    #[serde(default = "defaults::pool_connections_max")]
    pub pool_connections_max: u32,
    /// CPU-seconds at the end of a generation that render its PDF on one core, during which its worker does nothing
    /// else. Default 0.
    #[serde(default)]
    pub pdf_cpu_s: f64,
    /// Requests after which a worker accepts no more, ends its generations and is replaced; 0 is never. Default 0.
    #[serde(default)]
    pub max_requests: u32,
    /// Up to so many requests more, drawn for each worker. Default 0.
    #[serde(default)]
    pub max_requests_jitter: u32,
    /// Requests that one task answers besides submissions and polls, per second. Default 0.
    #[serde(default)]
    pub other_requests_per_s: f64,
    /// From the exit of a worker until its successor accepts. Default 7 s.
    #[serde(default = "defaults::worker_boot")]
    pub worker_boot: Duration,
}

impl Gunicorn {
    /// Async workers that never recycle and render nothing.
    pub fn new() -> Gunicorn {
        Gunicorn {
            pool_connections_max: defaults::pool_connections_max(),
            pdf_cpu_s: 0.0,
            max_requests: 0,
            max_requests_jitter: 0,
            other_requests_per_s: 0.0,
            worker_boot: defaults::worker_boot(),
        }
    }
}

impl Default for Gunicorn {
    fn default() -> Gunicorn {
        Gunicorn::new()
    }
}
