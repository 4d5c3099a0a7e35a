//! Where a registry may send this machine.
//!
//! A registry names other places: redirects to blob storage, token services, upload
//! locations. A hostile one could name the metadata service of a cloud, or an unprotected
//! service behind the firewall, and have this machine call it. The rule is that a registry
//! may name places at most as close to this machine as itself: a public registry only public
//! ones, one in a private network private and public ones, one on this machine any.
//!
//! *Invariant:* link-local addresses, where metadata services live, are never reached
//! through a registry.
//!
//! *Invariant:* names are judged by the addresses that are then connected to; there is no
//! second look-up in between.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// How close to this machine an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// On the internet.
    Public,
    /// In a private network.
    Private,
    /// On this machine.
    Loopback,
}

impl Reach {
    /// How close `address` is; `None` if nothing there may be reached through a registry.
    pub(super) fn of(address: IpAddr) -> Option<Self> {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::of_v4(v4),
            IpAddr::V6(v6) => Self::of_v6(v6),
        }
    }

    fn of_v4(address: Ipv4Addr) -> Option<Self> {
        match address.octets() {
            [127, ..] => Some(Self::Loopback),
            [0, ..] | [169, 254, ..] | [224..=255, ..] => None,
            [10, ..] | [192, 168, ..] | [172, 16..=31, ..] => Some(Self::Private),
            // Shared by carriers, protocol assignments, and benchmarks.
            [100, 64..=127, ..] | [192, 0, 0, _] | [198, 18 | 19, ..] => Some(Self::Private),
            _ => Some(Self::Public),
        }
    }

    fn of_v6(address: Ipv6Addr) -> Option<Self> {
        match address.segments() {
            [0, 0, 0, 0, 0, 0, 0, 1] => Some(Self::Loopback),
            [0, 0, 0, 0, 0, 0, 0, 0] | [0xfe80..=0xfebf, ..] | [0xff00..=0xffff, ..] => None,
            [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => Some(Self::Private),
            // NAT64: the last 32 bits are the address that is meant.
            [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
                let [a, b] = high.to_be_bytes();
                let [c, d] = low.to_be_bytes();
                Self::of_v4(Ipv4Addr::new(a, b, c, d))
            }
            _ => Some(Self::Public),
        }
    }

    fn allows(self, address: IpAddr) -> bool {
        Self::of(address).is_some_and(|reach| reach <= self)
    }
}

/// Whether `url` may be followed: its scheme, and its address if it is written as one. Names
/// are judged later, by [`GuardedResolver`].
pub(super) fn check(url: &Url, reach: Reach, plain_http: bool) -> Result<(), &'static str> {
    match url.scheme() {
        "https" => {}
        "http" if plain_http => {}
        "http" => return Err("it would leave HTTPS"),
        _ => return Err("it is neither HTTP nor HTTPS"),
    }
    let Some(host) = url.host_str() else {
        return Err("it names no host");
    };
    let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    if literal.is_ok_and(|address| !reach.allows(address)) {
        return Err("the address is closer to this machine than the registry is");
    }
    Ok(())
}

/// Resolves names to the addresses that are allowed, and fails if there is none.
pub(super) struct GuardedResolver(pub(super) Reach);

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.0;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> =
                found.filter(|address| reach.allows(address.ip())).collect();
            if allowed.is_empty() {
                return Err(format!(
                    "`{}` has no address that a registry may point to",
                    name.as_str()
                )
                .into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(text: &str) -> Option<Reach> {
        Reach::of(text.parse().expect("an address"))
    }

    #[test]
    fn addresses_are_as_close_as_they_are() {
        for public in ["1.1.1.1", "2606:4700::1111", "172.32.0.1", "::ffff:8.8.8.8"] {
            assert_eq!(reach(public), Some(Reach::Public), "{public}");
        }
        for private in [
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "fd00::1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
        ] {
            assert_eq!(reach(private), Some(Reach::Private), "{private}");
        }
        for here in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"] {
            assert_eq!(reach(here), Some(Reach::Loopback), "{here}");
        }
        for never in [
            "169.254.169.254",
            "0.0.0.0",
            "::",
            "fe80::1",
            "224.0.0.1",
            "ff02::1",
            "255.255.255.255",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
        ] {
            assert_eq!(reach(never), None, "{never}");
        }
    }

    #[test]
    fn a_registry_may_point_only_as_close_as_itself() {
        let judge = |url: &str, reach| check(&url.parse().expect("a URL"), reach, true).is_ok();
        assert!(judge("https://cdn.example/x", Reach::Public));
        assert!(judge("http://8.8.8.8/x", Reach::Public));
        assert!(!judge("http://127.0.0.1:7300/x", Reach::Public));
        assert!(!judge("http://2130706433/x", Reach::Public));
        assert!(!judge("http://[::1]/x", Reach::Public));
        assert!(!judge("http://10.0.0.1/x", Reach::Public));
        assert!(judge("http://10.0.0.1/x", Reach::Private));
        assert!(!judge("http://127.0.0.1/x", Reach::Private));
        assert!(judge("http://127.0.0.1/x", Reach::Loopback));
        assert!(!judge("http://169.254.169.254/x", Reach::Loopback));
        assert!(!judge("file:///etc/passwd", Reach::Loopback));
    }

    #[test]
    fn https_is_not_left() {
        let url = "http://8.8.8.8/x".parse().expect("a URL");
        assert!(check(&url, Reach::Public, false).is_err());
    }

    #[tokio::test]
    async fn names_are_judged_by_their_addresses() {
        let name = || "localhost".parse::<Name>().expect("a name");
        assert!(GuardedResolver(Reach::Public).resolve(name()).await.is_err());
        assert!(GuardedResolver(Reach::Loopback).resolve(name()).await.is_ok());
    }
}
