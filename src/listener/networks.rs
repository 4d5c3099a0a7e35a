//! Sets of addresses.

use std::net::IpAddr;

use ipnet::IpNet;

/// The networks that something is granted to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// Whether the address is in one of them. An IPv4 address within IPv6 counts as itself: that
    /// is how a socket for both sees it.
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

impl FromIterator<IpNet> for Networks {
    fn from_iter<T: IntoIterator<Item = IpNet>>(networks: T) -> Self {
        Self(networks.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_belong_to_networks_however_they_are_written() {
        let networks: Networks = ["10.0.0.0/8", "2001:db8::/32"]
            .map(|text| text.parse::<IpNet>().expect("a network"))
            .into_iter()
            .collect();
        let inside = |text: &str| networks.contain(text.parse().expect("an address"));
        assert!(inside("10.255.0.1") && inside("::ffff:10.0.0.1") && inside("2001:db8::1"));
        assert!(!inside("11.0.0.1") && !inside("::ffff:11.0.0.1") && !inside("::1"));
        assert!(!Networks::default().contain(IpAddr::from([127, 0, 0, 1])));
    }
}
