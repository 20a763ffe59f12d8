//! The address a request comes from, as far as it can be trusted.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::HeaderMap;
use axum::http::request::Parts;

use crate::state::AppState;

/// The client's address; of IPv6 only the network, because a host has a whole /64 to itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClientAddress(pub(super) IpAddr);

impl FromRequestParts<AppState> for ClientAddress {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &AppState,
    ) -> Result<Self, Self::Rejection> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let peer = peer.map_or(Ipv4Addr::UNSPECIFIED.into(), |ConnectInfo(peer)| peer.ip());
        let hops = state.config.http.trusted_proxy_hops;
        let address = forwarded_for(&parts.headers, hops).unwrap_or(peer);
        Ok(Self(network(address)))
    }
}

/// The entry of `X-Forwarded-For` that the outermost trusted proxy wrote: the `hops`-th from the
/// right. What stands further left came with the request, and anybody can write it. A request with
/// fewer entries did not come through all proxies, and none of its entries is trusted.
fn forwarded_for(headers: &HeaderMap, hops: usize) -> Option<IpAddr> {
    let entries: Vec<&str> = headers
        .get_all("x-forwarded-for")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .collect();
    let index = entries.len().checked_sub(hops).filter(|_| hops > 0)?;
    let entry = entries.get(index)?;
    // A load balancer may be told to append the client's port.
    IpAddr::from_str(entry)
        .or_else(|_| SocketAddr::from_str(entry).map(|address| address.ip()))
        .ok()
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(lines: &[&'static str], hops: usize) -> Option<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            let value = axum::http::HeaderValue::from_static(line);
            headers.append("x-forwarded-for", value);
        }
        forwarded_for(&headers, hops).map(|address| network(address).to_string())
    }

    #[test]
    fn only_what_trusted_proxies_wrote_counts() {
        let spoofed = ["6.6.6.6, 1.1.1.1", "2.2.2.2"];
        let expected = |text: &str| Some(text.to_owned());
        assert_eq!(address(&spoofed, 0), None);
        assert_eq!(address(&spoofed, 1), expected("2.2.2.2"));
        assert_eq!(address(&spoofed, 2), expected("1.1.1.1"));
        assert_eq!(address(&spoofed, 4), None, "it bypassed a proxy");
        assert_eq!(address(&["nonsense"], 1), None);
        assert_eq!(address(&[], 1), None);
    }

    #[test]
    fn ports_and_hosts_within_a_network_do_not_matter() {
        for (sent, expected) in [
            ("1.2.3.4:5678", "1.2.3.4"),
            ("::ffff:1.2.3.4", "1.2.3.4"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("[2001:db8:1:2:9:9:9:9]:443", "2001:db8:1:2::"),
        ] {
            let sent: &'static str = sent;
            assert_eq!(address(&[sent], 1).as_deref(), Some(expected), "{sent}");
        }
    }
}
