//! Where outbound HTTP may lead: `scheme://host[:port]`, for some methods or all.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::Method;
use serde::{Deserialize, Serialize};

use super::{HostPattern, Methods};

/// The zone of the names by which services of this node call each other. No name in it is ever
/// looked up.
pub const INTERNAL_ZONE: &str = "wharf.internal";

/// The longest text: a host name (253), a scheme, `*.` and a port.
const MAX_LEN: usize = 272;

/// Servers that a role may send requests to. Stored as text when all methods are meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct Outbound {
    /// Where to.
    pub to: Origin,
    /// With which methods.
    pub methods: Methods,
}

/// The two forms of a stored [`Outbound`].
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Plain(Origin),
    Ruled { to: Origin, methods: Methods },
}

/// How a server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OriginScheme {
    /// In clear text.
    Http,
    /// In TLS.
    Https,
}

impl OriginScheme {
    /// As it stands in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port where a URL names none.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// The servers of an origin: a name, the names below one, all names, or an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OriginHost {
    /// A host name, `*.` and a host name, or `*`.
    Named(HostPattern),
    /// An address. Naming it is the consent to reach it, even in a private network.
    Address(IpAddr),
}

/// `scheme://host[:port]`: a pattern of origins (RFC 6454).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Origin {
    /// How.
    pub scheme: OriginScheme,
    /// Where.
    pub host: OriginHost,
    /// At which port.
    pub port: u16,
}

/// Why a text is not an [`Origin`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOrigin {
    /// It has none, or another one.
    #[error("an origin begins with http:// or https://")]
    Scheme,
    /// It goes on after the host and the port.
    #[error("an origin is a scheme, a host and a port: a role does not tell paths apart")]
    Path,
    /// Somebody's name and password.
    #[error("an origin has no user: the component sends credentials itself")]
    User,
    /// What stands there is no host.
    #[error("this is no host name, `*.` and a host name, `*`, or address")]
    Host,
    /// The port is not one.
    #[error("a port is a number from 1 to 65535")]
    Port,
    /// A name of a service.
    #[error("names in wharf.internal are services of this node, not servers")]
    Internal,
    /// More than 272 bytes.
    #[error("an origin has at most 272 characters")]
    TooLong,
}

impl Outbound {
    /// Whether a request is one of those that are meant. `host` is in lower case and without a
    /// final dot.
    pub fn covers(&self, scheme: OriginScheme, host: &str, port: u16, method: &Method) -> bool {
        self.to.covers(scheme, host, port) && self.methods.contain(method)
    }
}

impl Origin {
    /// Whether it is one of these servers.
    pub fn covers(&self, scheme: OriginScheme, host: &str, port: u16) -> bool {
        self.scheme == scheme && self.port == port && self.host.covers(host)
    }
}

impl OriginHost {
    /// Whether `host`, in lower case and without a final dot, is meant.
    fn covers(&self, host: &str) -> bool {
        match self {
            Self::Address(address) => address_of(host) == Some(*address),
            Self::Named(HostPattern::Any) => true,
            Self::Named(HostPattern::Exact(name)) => **name == *host,
            Self::Named(HostPattern::Wildcard(zone)) => {
                let below = host.strip_suffix(&**zone).and_then(|host| host.strip_suffix('.'));
                below.is_some_and(|labels| !labels.is_empty())
            }
        }
    }
}

/// The address that the host of a URL is, if it is one and not a name; IPv6 in brackets.
pub fn address_of(host: &str) -> Option<IpAddr> {
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let address = match inner {
        Some(inner) => IpAddr::V6(inner.parse().ok()?),
        None => IpAddr::V4(host.parse().ok()?),
    };
    Some(address.to_canonical())
}

/// The name of a service of this node that a host stands for: `users` for `users.wharf.internal`;
/// `Some("")` for what is in the zone and names none.
pub fn internal_name(host: &str) -> Option<&str> {
    let rest = host.strip_suffix(INTERNAL_ZONE)?;
    if rest.is_empty() { Some("") } else { rest.strip_suffix('.') }
}

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        if text.len() > MAX_LEN {
            return Err(InvalidOrigin::TooLong);
        }
        let (scheme, rest) = text.split_once("://").ok_or(InvalidOrigin::Scheme)?;
        let scheme = match scheme {
            "http" => OriginScheme::Http,
            "https" => OriginScheme::Https,
            _ => return Err(InvalidOrigin::Scheme),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        match authority {
            _ if authority.contains(['/', '?', '#']) => return Err(InvalidOrigin::Path),
            _ if authority.contains('@') => return Err(InvalidOrigin::User),
            _ => {}
        }
        // The colons of an IPv6 address stand within brackets.
        let after_host = authority.find(']').unwrap_or(0);
        let (host, port) = match authority[after_host..].find(':') {
            None => (authority, None),
            Some(colon) => {
                let (host, port) = authority.split_at(after_host + colon);
                (host, Some(&port[1..]))
            }
        };
        let host = parse_host(host)?;
        let port = match port {
            None => scheme.default_port(),
            Some(port) => parse_port(port).ok_or(InvalidOrigin::Port)?,
        };
        Ok(Self { scheme, host, port })
    }
}

fn parse_host(text: &str) -> Result<OriginHost, InvalidOrigin> {
    if let Some(address) = address_of(text) {
        return Ok(OriginHost::Address(address));
    }
    let pattern = text.parse::<HostPattern>().map_err(|_| InvalidOrigin::Host)?;
    if let HostPattern::Exact(name) | HostPattern::Wildcard(name) = &pattern {
        let last = name.rsplit('.').next().unwrap_or_default();
        // `127.1` and `0x7f.1` are addresses to some resolvers (WHATWG URL §3.5).
        let is_number = last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x");
        if is_number {
            return Err(InvalidOrigin::Host);
        }
        if internal_name(name).is_some() {
            return Err(InvalidOrigin::Internal);
        }
    }
    Ok(OriginHost::Named(pattern))
}

fn parse_port(text: &str) -> Option<u16> {
    let is_number = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|port| is_number && *port != 0)
}

impl fmt::Display for OriginHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(pattern) => write!(f, "{pattern}"),
            Self::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.host)?;
        match self.port == self.scheme.default_port() {
            true => Ok(()),
            false => write!(f, ":{}", self.port),
        }
    }
}

impl fmt::Display for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.methods.is_any() {
            true => write!(f, "{}", self.to),
            false => write!(f, "{} ({})", self.to, self.methods),
        }
    }
}

impl TryFrom<String> for Origin {
    type Error = InvalidOrigin;

    fn try_from(text: String) -> Result<Self, InvalidOrigin> {
        text.parse()
    }
}

impl From<Origin> for String {
    fn from(origin: Origin) -> Self {
        origin.to_string()
    }
}

impl From<Origin> for Outbound {
    fn from(to: Origin) -> Self {
        Self { to, methods: Methods::default() }
    }
}

impl From<Written> for Outbound {
    fn from(written: Written) -> Self {
        match written {
            Written::Plain(to) => to.into(),
            Written::Ruled { to, methods } => Self { to, methods },
        }
    }
}

impl From<Outbound> for Written {
    fn from(Outbound { to, methods }: Outbound) -> Self {
        match methods.is_any() {
            true => Self::Plain(to),
            false => Self::Ruled { to, methods },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_read_and_write() {
        for (text, written) in [
            ("https://API.example.com", "https://api.example.com"),
            ("https://api.example.com:443/", "https://api.example.com"),
            ("http://api.example.com:443", "http://api.example.com:443"),
            ("http://*.example.org:8080", "http://*.example.org:8080"),
            ("https://*", "https://*"),
            ("http://10.0.0.5:8080", "http://10.0.0.5:8080"),
            ("http://[::1]:8080", "http://[::1]:8080"),
            ("http://[::ffff:10.0.0.5]", "http://10.0.0.5"),
        ] {
            let origin: Origin = text.parse().expect(text);
            assert_eq!(origin.to_string(), written, "{text}");
            assert_eq!(written.parse(), Ok(origin), "{text}");
        }
    }

    #[test]
    fn what_is_not_an_origin_is_refused() {
        use InvalidOrigin::*;
        for (text, error) in [
            ("api.example.com", Scheme),
            ("ftp://a.example", Scheme),
            ("HTTP://a.example", Scheme),
            ("http://a.example/x", Path),
            ("http://a.example?x", Path),
            ("http://u:p@a.example", User),
            ("http://", Host),
            ("http://:80", Host),
            ("http://a b", Host),
            ("http://*.*.example", Host),
            ("http://a.*", Host),
            ("http://::1", Host),
            ("http://127.1", Host),
            ("http://0x7f.0x1", Host),
            ("http://a.example:0", Port),
            ("http://a.example:65536", Port),
            ("http://a.example:+80", Port),
            ("http://a.example:", Port),
            ("http://users.wharf.internal", Internal),
            ("https://*.wharf.internal", Internal),
            (&format!("http://{}", "a".repeat(300)), TooLong),
        ] {
            assert_eq!(text.parse::<Origin>(), Err(error), "{text}");
        }
    }

    #[test]
    fn an_origin_covers_its_scheme_host_and_port_and_nothing_else() {
        let covers = |origin: &str, scheme, host, port| {
            origin.parse::<Origin>().expect(origin).covers(scheme, host, port)
        };
        use OriginScheme::{Http, Https};
        assert!(covers("https://a.example", Https, "a.example", 443));
        assert!(!covers("https://a.example", Http, "a.example", 443));
        assert!(!covers("https://a.example", Https, "a.example", 80));
        assert!(!covers("https://a.example", Https, "b.a.example", 443));
        assert!(!covers("https://a.example", Https, "a.example.evil", 443));
        for (host, is_below) in [
            ("a.example.org", true),
            ("a.b.example.org", true),
            ("example.org", false),
            (".example.org", false),
            ("aexample.org", false),
            ("example.org.evil", false),
        ] {
            assert_eq!(covers("https://*.example.org", Https, host, 443), is_below, "{host}");
        }
        assert!(covers("http://*:81", Http, "10.0.0.1", 81));
        assert!(covers("http://[::1]", Http, "[0:0:0:0:0:0:0:1]", 80));
        assert!(covers("http://10.0.0.5", Http, "[::ffff:10.0.0.5]", 80));
        assert!(!covers("http://10.0.0.5", Http, "10.0.0.6", 80));
    }

    #[test]
    fn methods_are_kept_and_head_follows_get() {
        let json = serde_json::json!({ "to": "http://10.0.0.5:8080", "methods": ["GET"] });
        let outbound: Outbound = serde_json::from_value(json.clone()).expect("valid");
        assert_eq!(serde_json::to_value(&outbound).expect("JSON"), json);
        let covers = |method| outbound.covers(OriginScheme::Http, "10.0.0.5", 8_080, &method);
        assert!(covers(Method::GET) && covers(Method::HEAD) && !covers(Method::POST));
        assert_eq!(outbound.to_string(), "http://10.0.0.5:8080 (GET, HEAD)");
        let plain: Outbound = serde_json::from_value("https://a.example".into()).expect("valid");
        assert_eq!(serde_json::to_value(&plain).expect("JSON"), "https://a.example");
    }

    #[test]
    fn names_in_the_internal_zone_are_services() {
        for (host, name) in [
            ("users.wharf.internal", Some("users")),
            ("a.b.wharf.internal", Some("a.b")),
            ("wharf.internal", Some("")),
            ("notwharf.internal", None),
            ("wharf.internal.example", None),
        ] {
            assert_eq!(internal_name(host), name, "{host}");
        }
    }
}
