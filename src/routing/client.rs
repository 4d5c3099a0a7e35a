//! Who counts as one client, and the point of a client on the circle that shares divide.

use std::net::IpAddr;

/// The part of an address that one client has: whoever has an address of IPv6 has a /64 of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Client {
    /// An address of IPv4.
    V4(u32),
    /// The upper half of an address of IPv6.
    V6(u64),
}

impl From<IpAddr> for Client {
    /// An IPv4 address within IPv6 counts as itself.
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => {
                Self::V6(u64::try_from(address.to_bits() >> 64).unwrap_or_default())
            }
        }
    }
}

impl Client {
    /// Its point, the same on every node.
    pub fn point(self) -> u32 {
        match self {
            Self::V4(address) => point(&address.to_be_bytes()),
            Self::V6(network) => point(&network.to_be_bytes()),
        }
    }
}

/// The point of whoever is known by these bytes, the same on every node. A client can choose its
/// point; what it gains is the revision that it goes to, which a cookie would give it as well.
pub fn point(bytes: &[u8]) -> u32 {
    let hash = blake3::hash(bytes);
    hash.as_bytes()[..4].iter().fold(0, |point, byte| (point << 8) | u32::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_spread_over_the_circle() {
        let upper = (0..1_000u32).filter(|n| point(&n.to_be_bytes()) >= 1 << 31).count();
        assert!((450..=550).contains(&upper), "{upper}");
        let client = |text: &str| Client::from(text.parse::<IpAddr>().expect("an address"));
        assert_eq!(client("10.0.0.1").point(), client("::ffff:10.0.0.1").point());
        assert_eq!(client("2001:db8::1"), client("2001:db8::2:3"));
        assert_ne!(client("2001:db8::1").point(), client("2001:db8:0:1::1").point());
    }
}
