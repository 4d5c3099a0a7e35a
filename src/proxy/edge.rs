//! What the load balancer is told about the way to its clients.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use rustls::ServerConfig;

use crate::listener::Networks;

use super::admit::Admitted;

/// Where a certificate authority looks for its proof, in cleartext (RFC 8555 §8.3).
const ACME_CHALLENGES: &str = "/.well-known/acme-challenge/";
/// The port that a URL of HTTPS does not name.
const HTTPS_PORT: u16 = 443;

/// TLS, and whom to believe.
#[derive(Clone, Debug, Default)]
pub struct Edge {
    /// Where TLS is spoken, beside cleartext.
    pub tls: Option<TlsListen>,
    /// The port of HTTPS that requests in cleartext are sent to; 0 is that of `tls`,
    /// or 443.
    pub redirect: Option<u16>,
    /// How long browsers are told to come by HTTPS only.
    pub hsts: Option<Duration>,
    /// Proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed.
    pub trusted_proxies: Networks,
    /// Senders that begin each connection with a header of the PROXY protocol.
    pub proxy_protocol: Networks,
}

impl Edge {
    /// Told of the address that was taken for TLS.
    pub(super) fn know_port(&mut self, https: Option<SocketAddr>) {
        let known = https.map_or(HTTPS_PORT, |address| address.port());
        self.redirect = self.redirect.map(|port| if port == 0 { known } else { port });
    }
}

/// A listener for TLS.
#[derive(Clone, Debug)]
pub struct TlsListen {
    /// The address; port 0 takes a free one.
    pub address: SocketAddr,
    /// Certificates and versions.
    pub config: Arc<ServerConfig>,
}

/// Where a request in cleartext should have been sent, if it is not to be served.
pub(super) fn to_https(admitted: &Admitted, port: u16) -> Option<HeaderValue> {
    let (host, target) = (admitted.authority.host(), &admitted.target);
    if target.path().starts_with(ACME_CHALLENGES) {
        return None;
    }
    let port = if port == HTTPS_PORT { String::new() } else { format!(":{port}") };
    HeaderValue::try_from(format!("https://{host}{port}{target}")).ok()
}

/// Says for how long the host is to be asked by HTTPS only (RFC 6797 §6.1).
pub(super) fn strict_transport(max_age: Duration) -> HeaderValue {
    let value = HeaderValue::try_from(format!("max-age={}", max_age.as_secs()));
    value.unwrap_or_else(|_| HeaderValue::from_static("max-age=0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(host: &'static str, target: &'static str, port: u16) -> Option<String> {
        let admitted = Admitted {
            authority: http::uri::Authority::from_static(host),
            target: http::uri::PathAndQuery::from_static(target),
        };
        let value = to_https(&admitted, port)?;
        Some(value.to_str().expect("text").to_owned())
    }

    #[test]
    fn host_path_and_query_stay_as_they_are() {
        let at = |host, target, port| location(host, target, port).expect("a place");
        assert_eq!(at("a.example", "/b?c=d", 443), "https://a.example/b?c=d");
        assert_eq!(at("a.example:80", "/", 443), "https://a.example/");
        assert_eq!(at("a.example:8080", "/", 8443), "https://a.example:8443/");
        assert_eq!(at("[::1]:8080", "//evil.example/", 8443), "https://[::1]:8443//evil.example/");
    }

    #[test]
    fn challenges_are_answered_in_cleartext() {
        assert_eq!(location("a.example", "/.well-known/acme-challenge/x", 443), None);
        assert!(location("a.example", "/.well-known/acme-challenge", 443).is_some());
        assert!(location("a.example", "/x/.well-known/acme-challenge/x", 443).is_some());
    }
}
