//! The connection to Redis that sessions and rate limits share.

use std::time::Duration;

use redis::RedisError;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};

/// One command may take this long; a session check is on the path of every request.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection that is made on first use and again whenever it breaks, so a Redis that is away
/// costs answers, not the start. `rediss://` speaks TLS and trusts what the system trusts.
///
/// # Errors
/// When the URL is refused.
pub fn connection(url: &str) -> Result<ConnectionManager, RedisError> {
    let manager = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(COMMAND_TIMEOUT))
        .set_response_timeout(Some(COMMAND_TIMEOUT))
        .set_number_of_retries(0);
    ConnectionManager::new_lazy_with_config(redis::Client::open(url)?, manager)
}
