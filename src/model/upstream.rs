//! Servers that are not Wharf's: what the load balancer forwards to beside services.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use http::uri::Authority;
use serde::{Deserialize, Serialize};

use super::{Affinity, Name, Percent, Probe, Route, duration};

/// The longest target, in bytes: a host name (253), a scheme and a port.
const MAX_TARGET_LEN: usize = 272;

/// Servers that answer the same requests: a container or a machine that has not moved yet.
///
/// Every node forwards to them by itself; nothing is placed anywhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upstream {
    /// Its name, which no service has.
    pub name: Name,
    /// Which requests are forwarded.
    pub routes: Vec<Route>,
    /// The servers, at least one.
    pub targets: Vec<TargetUrl>,
    /// How they are used.
    pub policy: UpstreamPolicy,
    /// Counts the changes to this upstream, from 1.
    pub generation: u64,
}

/// How the servers of an upstream are used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamPolicy {
    /// Which host the servers are asked for.
    pub host: HostHeader,
    /// How long a connection may take to open, its TLS included.
    #[serde(with = "duration")]
    pub connect_timeout: Duration,
    /// How long a server may take until the head of its response is there.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// How long either side may pause within a body, and how long a WebSocket may be silent.
    #[serde(with = "duration")]
    pub idle_timeout: Duration,
    /// Requests in flight to one server at most.
    pub max_in_flight: u32,
    /// What is sent again, and how often.
    pub retry: Retry,
    /// When a server is left alone for a while.
    pub eject: Ejection,
    /// What each server is asked to find out whether it is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Probe>,
    /// What keeps the requests of one client at one server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// Certificates, as PEM, of the authorities that vouch for the servers in place of those of
    /// the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
}

impl Default for UpstreamPolicy {
    fn default() -> Self {
        Self {
            host: HostHeader::Client,
            connect_timeout: Duration::from_secs(2),
            timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(60),
            max_in_flight: 1_024,
            retry: Retry::default(),
            eject: Ejection::default(),
            health: None,
            affinity: None,
            ca: None,
        }
    }
}

/// Which host a server is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostHeader {
    /// That of the client's request.
    Client,
    /// That of the target's URL.
    Target,
}

impl HostHeader {
    /// The word of manifests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Target => "target",
        }
    }
}

/// When a request is sent to another server.
///
/// Only where no server can have seen it, or where seeing it twice does no harm: no connection
/// came about, or the connection broke and the request is idempotent and has no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// Further attempts of one request; 0 for none.
    pub attempts: u32,
    /// Share of the requests that may be sent again, so that an outage is not answered with a
    /// multiple of the load.
    pub budget: Percent,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 2, budget: Percent::whole(20) }
    }
}

/// When a server that answers badly is left alone. At least half of them always take requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ejection {
    /// Failures in a row: status 5xx, no connection, no response. 0 for never.
    pub failures: u32,
    /// For how long the first time; each further time that much longer.
    #[serde(with = "duration")]
    pub time: Duration,
}

impl Default for Ejection {
    /// As in Envoy.
    fn default() -> Self {
        Self { failures: 5, time: Duration::from_secs(30) }
    }
}

/// How a server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TargetScheme {
    /// HTTP/1.1 in clear text.
    Http,
    /// HTTP/2 or HTTP/1.1 in TLS, as the server chooses.
    Https,
    /// HTTP/2 in clear text, without asking first.
    H2c,
}

impl TargetScheme {
    fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::H2c => "h2c",
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Self::Http | Self::H2c => 80,
            Self::Https => 443,
        }
    }
}

/// `http://host:port`: where a server is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TargetUrl {
    scheme: TargetScheme,
    authority: Authority,
}

/// Why a text is not a [`TargetUrl`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTarget {
    /// It begins with something else.
    #[error("a target begins with http://, https:// or h2c://")]
    Scheme,
    /// It goes on after the host and the port.
    #[error("a target is a scheme, a host and a port: requests keep their own path")]
    Path,
    /// What stands there is no host and port.
    #[error("this is no host and port")]
    Authority,
    /// More than 272 bytes.
    #[error("a target has at most 272 characters")]
    TooLong,
}

impl TargetUrl {
    /// How it is spoken to.
    pub fn scheme(&self) -> TargetScheme {
        self.scheme
    }

    /// The host and the port, as they were written.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The host, an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        self.authority.host().trim_start_matches('[').trim_end_matches(']')
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.authority.port_u16().unwrap_or(self.scheme.default_port())
    }
}

impl FromStr for TargetUrl {
    type Err = InvalidTarget;

    fn from_str(text: &str) -> Result<Self, InvalidTarget> {
        if text.len() > MAX_TARGET_LEN {
            return Err(InvalidTarget::TooLong);
        }
        let (scheme, rest) = text.split_once("://").ok_or(InvalidTarget::Scheme)?;
        let scheme = match scheme {
            "http" => TargetScheme::Http,
            "https" => TargetScheme::Https,
            "h2c" => TargetScheme::H2c,
            _ => return Err(InvalidTarget::Scheme),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#']) {
            return Err(InvalidTarget::Path);
        }
        let authority: Authority = authority.parse().map_err(|_| InvalidTarget::Authority)?;
        let host = authority.host();
        let after = authority.as_str().strip_prefix(host);
        let is_port = match after {
            Some("") => true,
            Some(port) => authority.port_u16().is_some_and(|n| n != 0) && port.starts_with(':'),
            // Somebody's name and password stand before the host.
            None => false,
        };
        if host.is_empty() || !is_port || host.contains('%') {
            return Err(InvalidTarget::Authority);
        }
        Ok(Self { scheme, authority })
    }
}

impl fmt::Display for TargetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.authority)
    }
}

impl TryFrom<String> for TargetUrl {
    type Error = InvalidTarget;

    fn try_from(text: String) -> Result<Self, InvalidTarget> {
        text.parse()
    }
}

impl From<TargetUrl> for String {
    fn from(target: TargetUrl) -> Self {
        target.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_read_and_write() {
        for (text, host, port) in [
            ("http://127.0.0.1:8080", "127.0.0.1", 8080),
            ("http://legacy.internal", "legacy.internal", 80),
            ("https://[::1]:8443", "::1", 8443),
            ("https://api.example.com/", "api.example.com", 443),
            ("h2c://grpc:50051", "grpc", 50051),
        ] {
            let target: TargetUrl = text.parse().expect(text);
            assert_eq!((target.host(), target.port()), (host, port), "{text}");
            assert_eq!(target.to_string().parse(), Ok(target), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_target_is_refused() {
        use InvalidTarget::{Authority, Path, Scheme, TooLong};
        for (text, error) in [
            ("127.0.0.1:80", Scheme),
            ("ftp://a", Scheme),
            ("http://a/b", Path),
            ("http://a?b", Path),
            ("http://", Authority),
            ("http://:80", Authority),
            ("http://u:p@a", Authority),
            ("http://a:0", Authority),
            ("http://a:65536", Authority),
            ("http://a b", Authority),
            (&format!("http://{}", "a".repeat(300)), TooLong),
        ] {
            assert_eq!(text.parse::<TargetUrl>(), Err(error), "{text}");
        }
    }
}
