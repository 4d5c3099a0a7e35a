//! Sets of addresses.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// The networks that something is granted to, or kept from. Stored as texts such as `10.0.0.0/8`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

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

impl TryFrom<Vec<String>> for Networks {
    type Error = ipnet::AddrParseError;

    fn try_from(texts: Vec<String>) -> Result<Self, Self::Error> {
        texts.iter().map(|text| text.parse::<IpNet>()).collect()
    }
}

impl From<Networks> for Vec<String> {
    fn from(networks: Networks) -> Self {
        networks.0.iter().map(ToString::to_string).collect()
    }
}

impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, network) in self.0.iter().enumerate() {
            write!(f, "{}{network}", if i == 0 { "" } else { " " })?;
        }
        Ok(())
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
        let texts: Vec<String> = networks.clone().into();
        assert_eq!(Networks::try_from(texts), Ok(networks));
        assert!(!Networks::default().contain(IpAddr::from([127, 0, 0, 1])));
    }
}
