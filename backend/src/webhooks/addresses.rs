//! Decides which addresses a webhook may be delivered to: only what the public internet routes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Azure's metadata and DNS service, the one such address outside the special ranges.
const AZURE_WIRE_SERVER: Ipv4Addr = Ipv4Addr::new(168, 63, 129, 16);

/// Whether an address is a public one: none of the special-purpose ranges of IANA's registries
/// (RFC 6890 and successors), also when wrapped into IPv6. Metadata services are link-local
/// (169.254.169.254), unique-local (`fd00:ec2::254`) or shared (100.100.100.200), so they are among them.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let special = match address.octets() {
        // This network, private, loopback, multicast, reserved and broadcast.
        [0 | 10 | 127 | 224..=255, ..] => true,
        // Shared by carriers.
        [100, 64..=127, ..] => true,
        // Link-local.
        [169, 254, ..] => true,
        [172, 16..=31, ..] | [192, 168, ..] => true,
        // Protocol assignments, documentation, the 6to4 relays of old.
        [192, 0, 0 | 2, _] | [192, 88, 99, _] => true,
        // Benchmarks.
        [198, 18 | 19, ..] => true,
        [198, 51, 100, _] | [203, 0, 113, _] => true,
        _ => address == AZURE_WIRE_SERVER,
    };
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    if let [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] = segments {
        // Mapped, or translated by NAT64: the IPv4 address inside is what is reached.
        let bits = u32::from(high) << 16 | u32::from(low);
        return is_public_v4(Ipv4Addr::from_bits(bits));
    }
    let special = match segments {
        // Teredo and other protocol assignments; documentation; 6to4.
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x2002, ..] => true,
        [0x3fff, 0..=0xfff, ..] => true,
        // Only 2000::/3 is global unicast: the rest is loopback, unspecified, unique-local,
        // link-local, site-local, multicast or not assigned.
        [first, ..] => first & 0xe000 != 0x2000,
    };
    !special
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn public(text: &str) -> bool {
        is_public(text.parse().expect(text))
    }

    #[test]
    fn special_addresses_are_not_public() {
        for address in [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.255.254",
            "168.63.129.16",
            "169.254.169.254",
            "169.254.170.2",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:0:10.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!public(address), "{address}");
        }
    }

    #[test]
    fn addresses_of_the_internet_are_public() {
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.17.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2001:4860:4860::8888",
            "2606:4700::1111",
            "2a00:1450::1",
        ] {
            assert!(public(address), "{address}");
        }
    }

    proptest! {
        #[test]
        fn wrapping_an_address_does_not_change_the_answer(bits: u32) {
            let plain = Ipv4Addr::from_bits(bits);
            prop_assert_eq!(is_public(plain.into()), is_public(plain.to_ipv6_mapped().into()));
        }
    }
}
