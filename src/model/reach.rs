//! Which addresses a guest may be led to: the special-purpose ranges of IPv4 and IPv6.
//!
//! Names say nothing about where they lead, so every address that a name has is looked at before
//! a connection is opened to it. Sources: the IANA registries of special-purpose addresses
//! (RFC 6890 and its updates), and what clouds hand credentials out at.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// How far an address is from the public internet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Anybody reaches it.
    Public,
    /// It is the business of a machine or a network: reached only where both the node and the
    /// role allow its network.
    Private,
    /// No guest is led there, whatever anybody allows: no host has it, or it hands out the
    /// credentials of the machine.
    Never,
}

/// Where an address leads. An IPv4 address within IPv6 (`::ffff:0:0/96`) counts as itself: that
/// is what a socket makes of it.
pub fn reach(address: IpAddr) -> Reach {
    let address = address.to_canonical();
    let is_in = |ranges: &[IpNet]| ranges.iter().any(|range| range.contains(&address));
    match address {
        _ if is_in(&NEVER) => Reach::Never,
        _ if is_in(&PRIVATE) => Reach::Private,
        _ => Reach::Public,
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, length: u8) -> IpNet {
    IpNet::new_assert(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), length)
}

/// A network by the first two and the last of its eight groups.
const fn v6(first: u16, second: u16, last: u16, length: u8) -> IpNet {
    IpNet::new_assert(IpAddr::V6(Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, last)), length)
}

const NEVER: [IpNet; 11] = [
    v4(0, 0, 0, 0, 8),
    v4(224, 0, 0, 0, 4),
    v4(240, 0, 0, 0, 4),
    // Credentials of the machine: instances of every large cloud, and tasks of ECS.
    v4(169, 254, 169, 254, 32),
    v4(169, 254, 170, 2, 32),
    v4(100, 100, 100, 200, 32),
    v6(0xfd00, 0x0ec2, 0x0254, 128),
    v6(0xfd20, 0x00ce, 0x0254, 128),
    v6(0, 0, 0, 128),
    v6(0xff00, 0, 0, 8),
    // The discard prefix.
    v6(0x0100, 0, 0, 64),
];

const PRIVATE: [IpNet; 22] = [
    v4(10, 0, 0, 0, 8),
    v4(100, 64, 0, 0, 10),
    v4(127, 0, 0, 0, 8),
    v4(169, 254, 0, 0, 16),
    v4(172, 16, 0, 0, 12),
    v4(192, 0, 0, 0, 24),
    v4(192, 0, 2, 0, 24),
    v4(192, 88, 99, 0, 24),
    v4(192, 168, 0, 0, 16),
    v4(198, 18, 0, 0, 15),
    v4(198, 51, 100, 0, 24),
    v4(203, 0, 113, 0, 24),
    // Loopback, and IPv4-compatible addresses.
    v6(0, 0, 0, 96),
    // Ways into IPv4: NAT64, Teredo, 6to4. What they hide is not looked at: they are closed.
    v6(0x0064, 0xff9b, 0, 32),
    v6(0x2001, 0, 0, 23),
    v6(0x2002, 0, 0, 16),
    v6(0x2001, 0x0db8, 0, 32),
    v6(0x3fff, 0, 0, 20),
    v6(0x5f00, 0, 0, 16),
    v6(0xfc00, 0, 0, 7),
    v6(0xfe80, 0, 0, 10),
    v6(0xfec0, 0, 0, 10),
];

#[cfg(test)]
mod tests {
    use super::Reach::{Never, Private, Public};
    use super::*;

    /// Both sides of each edge.
    const RANGES: [(&str, Reach); 79] = [
        ("0.0.0.0", Never),
        ("0.255.255.255", Never),
        ("1.0.0.0", Public),
        ("9.255.255.255", Public),
        ("10.0.0.0", Private),
        ("10.255.255.255", Private),
        ("11.0.0.0", Public),
        ("100.63.255.255", Public),
        ("100.64.0.0", Private),
        ("100.100.100.200", Never),
        ("100.127.255.255", Private),
        ("100.128.0.0", Public),
        ("126.255.255.255", Public),
        ("127.0.0.0", Private),
        ("127.255.255.255", Private),
        ("128.0.0.0", Public),
        ("169.253.255.255", Public),
        ("169.254.0.0", Private),
        ("169.254.169.253", Private),
        ("169.254.169.254", Never),
        ("169.254.170.2", Never),
        ("169.254.255.255", Private),
        ("169.255.0.0", Public),
        ("172.15.255.255", Public),
        ("172.16.0.0", Private),
        ("172.31.255.255", Private),
        ("172.32.0.0", Public),
        ("191.255.255.255", Public),
        ("192.0.0.0", Private),
        ("192.0.0.255", Private),
        ("192.0.1.0", Public),
        ("192.0.2.1", Private),
        ("192.88.99.1", Private),
        ("192.167.255.255", Public),
        ("192.168.0.0", Private),
        ("192.168.255.255", Private),
        ("192.169.0.0", Public),
        ("198.17.255.255", Public),
        ("198.18.0.0", Private),
        ("198.19.255.255", Private),
        ("198.20.0.0", Public),
        ("198.51.100.1", Private),
        ("203.0.113.1", Private),
        ("223.255.255.255", Public),
        ("224.0.0.0", Never),
        ("239.255.255.255", Never),
        ("240.0.0.0", Never),
        ("255.255.255.255", Never),
        ("8.8.8.8", Public),
        ("::", Never),
        ("::1", Private),
        ("::127.0.0.1", Private),
        ("::8.8.8.8", Private),
        ("::ffff:127.0.0.1", Private),
        ("::ffff:169.254.169.254", Never),
        ("::ffff:0.0.0.0", Never),
        ("::ffff:8.8.8.8", Public),
        ("64:ff9b::7f00:1", Private),
        ("64:ff9b::808:808", Private),
        ("64:ff9b:1::1", Private),
        ("100::1", Never),
        ("2001::1", Private),
        ("2001:1ff:ffff::1", Private),
        ("2001:200::1", Public),
        ("2001:db8::1", Private),
        ("2002:7f00:1::1", Private),
        ("2003::1", Public),
        ("2606:4700:4700::1111", Public),
        ("3fff::1", Private),
        ("5f00::1", Private),
        ("fbff::1", Public),
        ("fc00::1", Private),
        ("fd00:ec2::254", Never),
        ("fd00:ec2::253", Private),
        ("fdff::1", Private),
        ("fe80::1", Private),
        ("febf::1", Private),
        ("fec0::1", Private),
        ("ff02::1", Never),
    ];

    #[test]
    fn every_special_range_is_known_to_its_edges() {
        for (text, expected) in RANGES {
            let address: IpAddr = text.parse().expect(text);
            assert_eq!(reach(address), expected, "{text}");
        }
    }
}
