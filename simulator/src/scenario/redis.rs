//! The managed Redis, where sessions and limits live.

use serde::{Deserialize, Serialize};

use super::defaults;
use crate::time::Duration;

/// What a node of `ElastiCache` holds, and what is put into it. The defaults are of a `cache.t4g.micro`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redis {
    /// Memory for data. Default 384: 0.5 GiB (AWS's table of the nodes), of which a quarter is to be reserved
    /// (<https://cloudburn.io/blog/amazon-elasticache-pricing>).
    #[serde(default = "defaults::redis_memory_mib")]
    pub memory_mib: f64,
    /// Connections that the node takes. Default 65,000, its `maxclients` as it is generally known, without a source.
    #[serde(default = "defaults::redis_connections_max")]
    pub connections_max: u32,
    /// Connections that one task opens at its start. Default 1: requests share it.
    #[serde(default = "defaults::redis_connections_per_task")]
    pub connections_per_task: u32,
    /// Memory of one session with what its limits count. Default 1, assumed.
    #[serde(default = "defaults::redis_session_kib")]
    pub session_kib: f64,
    /// How long a session lasts after its last use. Default 24 h, the service's own.
    #[serde(default = "defaults::redis_session_lasts")]
    pub session_lasts: Duration,
}

impl Redis {
    /// A `cache.t4g.micro`.
    pub fn new() -> Redis {
        Redis {
            memory_mib: defaults::redis_memory_mib(),
            connections_max: defaults::redis_connections_max(),
            connections_per_task: defaults::redis_connections_per_task(),
            session_kib: defaults::redis_session_kib(),
            session_lasts: defaults::redis_session_lasts(),
        }
    }
}

impl Default for Redis {
    fn default() -> Redis {
        Redis::new()
    }
}
