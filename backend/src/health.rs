//! Asks a running service of this machine for its health: what a container's health check runs, where
//! no other program is installed that could.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::config::{ConfigError, HttpConfig};

/// Below the five seconds that a health check is usually given.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The service is not healthy.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    /// It cannot be asked.
    #[error("ask {0} for its health")]
    Unreachable(SocketAddr, #[source] std::io::Error),
    /// It answered, but not with 200.
    #[error("find the service at {0} healthy: it answered {1:?}")]
    Unhealthy(SocketAddr, String),
}

/// Where the service that listens on `LISTEN_ADDR` can be reached from its own machine.
///
/// # Errors
/// When the variable cannot be read.
pub fn own_address() -> Result<SocketAddr, ConfigError> {
    Ok(reachable(HttpConfig::listen_addr_from_env()?))
}

/// "Any address" is nobody's address: the loopback one is meant.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// Returns when `GET /health` answers 200.
///
/// # Errors
/// When it does not, or not in time.
pub fn check(address: SocketAddr) -> Result<(), HealthError> {
    let status = ask(address).map_err(|error| HealthError::Unreachable(address, error))?;
    if status.starts_with("HTTP/1.1 200 ") || status.starts_with("HTTP/1.0 200 ") {
        Ok(())
    } else {
        Err(HealthError::Unhealthy(address, status))
    }
}

/// The status line of the answer.
fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(512).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_on_any_address_is_asked_on_the_loopback_one() {
        for (listening, asked) in [
            ("0.0.0.0:8000", "127.0.0.1:8000"),
            ("[::]:8000", "[::1]:8000"),
            ("10.1.2.3:80", "10.1.2.3:80"),
        ] {
            let listening: SocketAddr = listening.parse().expect("an address");
            assert_eq!(reachable(listening).to_string(), asked);
        }
    }
}
