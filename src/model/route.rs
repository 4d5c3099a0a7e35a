//! Which requests a service asks for: `host/path-prefix`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest route text, in bytes: a host name (253) and a generous path.
const MAX_ROUTE_LEN: usize = 2_048;

/// The host part of a route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostPattern {
    /// `api.example.com`: this host only.
    Exact(Box<str>),
    /// `*.example.com`: every host below `example.com`, at any depth, but not itself. Holds the
    /// text after `*.`.
    Wildcard(Box<str>),
    /// `*`: every host that no other route names.
    Any,
}

/// `host/path/*` or `host/path`: a host pattern and a path prefix that ends at a `/` boundary.
///
/// `example.com/api/*` and `example.com/api` are the same: both match `/api`, `/api/` and
/// `/api/x`, and neither matches `/apix`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RoutePattern {
    /// Which hosts.
    pub host: HostPattern,
    /// The prefix without a final `/`; empty for every path.
    pub prefix: Box<str>,
}

/// Why a text is not a [`RoutePattern`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRoute {
    /// Nothing was given.
    #[error("a route cannot be empty: write `host/*` or `host/path/*`")]
    Empty,
    /// More than 2048 bytes.
    #[error("a route has at most 2048 characters, this one has {0}")]
    TooLong(usize),
    /// A scheme was given.
    #[error("leave out the scheme: write `{0}`")]
    Scheme(String),
    /// A port was given: the listener decides the port.
    #[error("a route names no port: the load balancer's listener decides it")]
    Port,
    /// The host is not a host name.
    #[error("`{0}` is not a host name, `*.` and a host name, or `*`")]
    Host(String),
    /// The path has a character or segment that a request path cannot have.
    #[error("`{0}` is not a path prefix: no spaces, `?`, `#`, `..`, `//` or inner `*`")]
    Path(String),
}

impl FromStr for RoutePattern {
    type Err = InvalidRoute;

    fn from_str(text: &str) -> Result<Self, InvalidRoute> {
        if text.is_empty() {
            return Err(InvalidRoute::Empty);
        }
        if text.len() > MAX_ROUTE_LEN {
            return Err(InvalidRoute::TooLong(text.chars().count()));
        }
        if let Some((_, rest)) = text.split_once("://") {
            return Err(InvalidRoute::Scheme(rest.to_owned()));
        }
        let (host, path) = match text.find('/') {
            Some(slash) => text.split_at(slash),
            None => (text, ""),
        };
        Ok(Self { host: host.parse()?, prefix: parse_prefix(path)? })
    }
}

impl FromStr for HostPattern {
    type Err = InvalidRoute;

    fn from_str(text: &str) -> Result<Self, InvalidRoute> {
        if text == "*" {
            return Ok(Self::Any);
        }
        if text.contains(':') {
            return Err(InvalidRoute::Port);
        }
        let lower = text.to_ascii_lowercase();
        let name = lower.strip_prefix("*.").unwrap_or(&lower);
        let label = |l: &str| {
            !l.is_empty()
                && l.len() <= 63
                && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if name.len() > 253 || !name.split('.').all(label) {
            return Err(InvalidRoute::Host(text.to_owned()));
        }
        Ok(match lower.starts_with("*.") {
            true => Self::Wildcard(name.into()),
            false => Self::Exact(name.into()),
        })
    }
}

fn parse_prefix(path: &str) -> Result<Box<str>, InvalidRoute> {
    let prefix = path.strip_suffix("/*").unwrap_or(path);
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    let allowed = |b: u8| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'*' | b'\\');
    let dotted = prefix.split('/').any(|segment| segment == "." || segment == "..");
    if !prefix.bytes().all(allowed) || prefix.contains("//") || dotted {
        return Err(InvalidRoute::Path(path.to_owned()));
    }
    Ok(prefix.into())
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => f.write_str(host),
            Self::Wildcard(suffix) => write!(f, "*.{suffix}"),
            Self::Any => f.write_str("*"),
        }
    }
}

impl fmt::Display for RoutePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}/*", self.host, self.prefix)
    }
}

impl TryFrom<String> for RoutePattern {
    type Error = InvalidRoute;

    fn try_from(text: String) -> Result<Self, InvalidRoute> {
        text.parse()
    }
}

impl From<RoutePattern> for String {
    fn from(route: RoutePattern) -> Self {
        route.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_read_and_write() {
        for (text, written) in [
            ("hello.localhost/*", "hello.localhost/*"),
            ("hello.localhost", "hello.localhost/*"),
            ("Hello.Localhost/", "hello.localhost/*"),
            ("*.example.com/api/*", "*.example.com/api/*"),
            ("*/a/b", "*/a/b/*"),
            ("*", "*/*"),
        ] {
            assert_eq!(text.parse::<RoutePattern>().expect(text).to_string(), written);
        }
    }

    #[test]
    fn what_is_not_a_route_is_refused() {
        for bad in [
            "",
            "http://a.b/",
            "a.b:80/",
            "a b/",
            "/x",
            "a..b",
            "*.*.b",
            "a.b/x y",
            "a.b/../c",
            "a.b//c",
            "a.b/*/c",
            "a.b/c?d",
            "ü.de/*",
            &"a".repeat(70_000),
        ] {
            assert!(bad.parse::<RoutePattern>().is_err(), "{bad}");
        }
    }
}
