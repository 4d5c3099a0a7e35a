//! Where a request comes from.
//!
//! *Invariant:* pure. Nothing that a client says about itself counts, unless a proxy that the
//! operator trusts has said it.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderValue};

use crate::listener::{Channel, Networks, Peer};

use super::headers::{FORWARDED_FOR, FORWARDED_PROTO};

/// Where a request comes from, as far as somebody vouches for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    /// The last address on the way that is not a trusted proxy's. Its port is 0 if a proxy has
    /// named it.
    pub(super) client: SocketAddr,
    /// Whether the client sent the request by HTTPS.
    pub(super) secure: bool,
    /// The addresses on the way: what a trusted proxy has passed on, then the connection's.
    pub(super) forwarded_for: HeaderValue,
}

impl Origin {
    /// Reads what `peer` says about the way of its request, if it is one of `trusted`.
    pub(super) fn of(peer: &Peer, headers: &HeaderMap, trusted: &Networks) -> Self {
        let mut origin = Self {
            client: peer.client,
            secure: peer.channel == Channel::Tls,
            forwarded_for: peer.address.clone(),
        };
        let sender = peer.client.ip().to_canonical();
        if trusted.contain(sender) {
            let passed_on = passed_on(headers);
            if let Some(client) = last_untrusted(&passed_on, trusted) {
                origin.client = SocketAddr::new(client, 0);
            }
            if !passed_on.is_empty()
                && let Ok(way) = HeaderValue::try_from(format!("{passed_on}, {sender}"))
            {
                origin.forwarded_for = way;
            }
            origin.secure |= says_https(headers);
        }
        origin
    }
}

/// All of `X-Forwarded-For`, as one list.
fn passed_on(headers: &HeaderMap) -> String {
    let values = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
    let values = values.map(str::trim).filter(|value| !value.is_empty());
    values.collect::<Vec<_>>().join(", ")
}

/// Goes back on the way as long as there is somebody to believe. What is no address is not gone
/// past, because nobody knows whether it can be trusted.
fn last_untrusted(way: &str, trusted: &Networks) -> Option<IpAddr> {
    let mut last = None;
    for hop in way.rsplit(',') {
        let Some(address) = address(hop.trim()) else { break };
        last = Some(address);
        if !trusted.contain(address) {
            break;
        }
    }
    last
}

/// An address as proxies write it: some add the port.
fn address(text: &str) -> Option<IpAddr> {
    let alone = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let address = text.parse().ok().or_else(alone).or_else(with_port);
    address.map(|address: IpAddr| address.to_canonical())
}

/// Whether the last proxy was asked by HTTPS.
fn says_https(headers: &HeaderMap) -> bool {
    let last = headers.get_all(FORWARDED_PROTO).iter().next_back();
    let last = last.and_then(|value| value.to_str().ok()).and_then(|list| list.rsplit(',').next());
    last.is_some_and(|scheme| scheme.trim().eq_ignore_ascii_case("https"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(sender: &str, channel: Channel, fields: &[(&'static str, &str)]) -> Origin {
        let trusted = ["10.0.0.0/8".parse::<ipnet::IpNet>().expect("a network")];
        let client = format!("{sender}:999").parse().expect("an address");
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().expect("a value"));
        }
        Origin::of(&Peer::new(client, channel), &headers, &trusted.into_iter().collect())
    }

    fn client(way: &str) -> String {
        let origin = origin("10.0.0.1", Channel::Cleartext, &[("x-forwarded-for", way)]);
        origin.client.ip().to_string()
    }

    #[test]
    fn nobody_is_believed_unless_trusted() {
        let claims = [("x-forwarded-for", "203.0.113.9"), ("x-forwarded-proto", "https")];
        let origin = origin("192.0.2.7", Channel::Cleartext, &claims);
        assert_eq!(origin.client.to_string(), "192.0.2.7:999");
        assert_eq!(
            (origin.secure, origin.forwarded_for),
            (false, HeaderValue::from_static("192.0.2.7"))
        );
    }

    #[test]
    fn the_client_is_the_last_one_that_is_not_trusted() {
        assert_eq!(client("203.0.113.9"), "203.0.113.9");
        assert_eq!(client("6.6.6.6, 203.0.113.9"), "203.0.113.9", "the client made up the first");
        assert_eq!(client("6.6.6.6, 203.0.113.9,10.9.9.9"), "203.0.113.9");
        assert_eq!(client("10.3.3.3, 10.9.9.9"), "10.3.3.3", "all are trusted: the farthest");
        assert_eq!(client("6.6.6.6, unknown, 10.9.9.9"), "10.9.9.9", "no way past what is unknown");
        assert_eq!(client("unknown"), "10.0.0.1");
        assert_eq!(client(""), "10.0.0.1");
        assert_eq!(client("203.0.113.9:4711"), "203.0.113.9");
        assert_eq!(client("[2001:db8::1]:4711"), "2001:db8::1");
        assert_eq!(client("[2001:db8::1]"), "2001:db8::1");
    }

    #[test]
    fn what_a_trusted_proxy_passes_on_is_appended_to() {
        let fields = [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "203.0.113.9, 10.9.9.9")];
        let origin = origin("10.0.0.1", Channel::Cleartext, &fields);
        assert_eq!(origin.forwarded_for, "6.6.6.6, 203.0.113.9, 10.9.9.9, 10.0.0.1");
        assert_eq!(origin.client.to_string(), "203.0.113.9:0");
    }

    #[test]
    fn the_scheme_is_that_of_the_client() {
        let says =
            |scheme| origin("10.0.0.1", Channel::Cleartext, &[("x-forwarded-proto", scheme)]);
        assert!(says("https").secure && says("HTTPS").secure && says("http, https").secure);
        assert!(!says("http").secure && !says("https, http").secure && !says("").secure);
        assert!(origin("192.0.2.7", Channel::Tls, &[("x-forwarded-proto", "http")]).secure);
    }
}
