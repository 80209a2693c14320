//! Which addresses may be reached: public ones, and the private networks an operator allows.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;

/// A network, perhaps only one port of it: `10.0.0.0/8`, `127.0.0.1/32:8080`, `[::1/128]:8080`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    net: IpNet,
    port: Option<u16>,
}

impl Network {
    /// Whether it holds an address and port. An IPv4 address written as IPv6 (`::ffff:10.0.0.1`) is in IPv4 networks too.
    pub fn contains(&self, address: IpAddr, port: u16) -> bool {
        (self.net.contains(&address) || self.net.contains(&address.to_canonical()))
            && self.port.is_none_or(|only| only == port)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.net, self.port) {
            (net, None) => write!(f, "{net}"),
            (IpNet::V4(net), Some(port)) => write!(f, "{net}:{port}"),
            (IpNet::V6(net), Some(port)) => write!(f, "[{net}]:{port}"),
        }
    }
}

/// Text that names no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a network; examples: 10.0.0.0/8, 127.0.0.1/32:8080, [::1/128]:8080")]
pub struct BadNetwork(String);

impl FromStr for Network {
    type Err = BadNetwork;

    fn from_str(text: &str) -> Result<Self, BadNetwork> {
        parse(text).ok_or_else(|| BadNetwork(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Network> {
    if let Some(bracketed) = text.strip_prefix('[') {
        let (net, port) = bracketed.split_once("]:")?;
        return Some(Network { net: net.parse().ok()?, port: Some(port.parse().ok()?) });
    }
    match text.split_once('/') {
        Some((_, prefix)) if prefix.contains(':') => {
            let (net, port) = text.rsplit_once(':')?;
            Some(Network { net: net.parse().ok()?, port: Some(port.parse().ok()?) })
        }
        _ => Some(Network { net: text.parse().ok()?, port: None }),
    }
}

/// Whether an address is one of the public Internet. An IPv4 address in IPv6 clothes is not, whatever it is inside.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// Not in the IANA registry of special-purpose IPv4 addresses.
fn is_public_v4(address: Ipv4Addr) -> bool {
    let special = match address.octets() {
        [0 | 10 | 127, ..] | [169, 254, ..] | [192, 168, ..] => true,
        [100, second, ..] => second & 0b1100_0000 == 64, // carrier-grade NAT
        [172, second, ..] => second & 0xf0 == 16,
        [192, 0, 0 | 2, _] | [198, 51, 100, _] | [203, 0, 113, _] | [192, 88, 99, _] => true,
        [198, second, ..] => second & 0xfe == 18, // benchmarking
        [first, ..] => first >= 224,              // multicast, reserved, broadcast
    };
    !special
}

/// Global unicast, and nothing that carries an IPv4 address past the check.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let global = segments[0] & 0xe000 == 0x2000;
    let special = match segments {
        [0x2001, second, ..] => second < 0x0200 || second == 0x0db8, // Teredo, benchmarking, ORCHID, documentation
        [0x2002, ..] | [0x3fff, 0..=0x0fff, ..] => true,             // 6to4, documentation
        _ => false,
    };
    global && !special
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_addresses_are_not_public() {
        for text in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:1.1.1.1",
            "::1.1.1.1",
            "::7f00:1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
        for text in ["1.1.1.1", "100.128.0.1", "172.32.0.1", "192.1.0.1", "198.20.0.1", "2606:4700::1111", "2a00::1"] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn networks_read_back_and_hold_what_they_should() {
        for text in ["10.0.0.0/8", "127.0.0.1/32:8080", "::1/128", "[::1/128]:8080"] {
            assert_eq!(text.parse::<Network>().unwrap().to_string(), text);
        }
        let one_port: Network = "127.0.0.1/32:8080".parse().unwrap();
        assert!(one_port.contains("127.0.0.1".parse().unwrap(), 8080));
        assert!(one_port.contains("::ffff:127.0.0.1".parse().unwrap(), 8080));
        assert!(!one_port.contains("127.0.0.1".parse().unwrap(), 8081));
        for text in ["", "localhost", "10.0.0.0", "10.0.0.0/33", "127.0.0.1/32:", "[::1]:80"] {
            assert!(text.parse::<Network>().is_err(), "{text:?}");
        }
    }
}
