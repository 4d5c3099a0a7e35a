//! Who may call, and for how long.
//!
//! There is no authentication yet, so that whoever reaches the listener may do everything. What
//! must not reach it is a web page in a browser on the same machine: by a name of its own that
//! resolves to this address (DNS rebinding), or by a form or script of another site.
//!
//! *Invariant:* a browser cannot make this API change anything on behalf of another site.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::failure::Failure;

/// How long a call may take. Resolving the tags of a manifest asks registries, each of which may
/// be silent for 30 s.
const CALL: Duration = Duration::from_secs(60);

/// The host names besides the usual ones.
#[derive(Debug, Default)]
pub(super) struct Hosts(BTreeSet<String>);

impl Hosts {
    pub(super) fn allow(&mut self, hosts: impl IntoIterator<Item = String>) {
        self.0.extend(hosts.into_iter().map(|host| host.to_ascii_lowercase()));
    }

    /// Whether the API answers to this host, which is without its port.
    fn allows(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let bare = host.strip_suffix('.').unwrap_or(&host);
        let bracketed = bare.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let literal = bare.parse::<IpAddr>().is_ok()
            || bracketed.is_some_and(|inner| inner.parse::<Ipv6Addr>().is_ok());
        literal || bare == "localhost" || bare.ends_with(".localhost") || self.0.contains(bare)
    }
}

/// Refuses foreign host names, and changes that pages of other sites ask for. Health and metrics
/// are read by programs under whatever name they know the node by.
pub(super) async fn only_own_callers(
    State(hosts): State<Arc<Hosts>>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    let (is_api, is_registry) = (is_below(path, "/v1"), is_below(path, "/v2"));
    if !is_api && !is_registry {
        return next.run(request).await;
    }
    match check(&hosts, &request) {
        Ok(()) => next.run(request).await,
        // Clients of registries read their own kind of errors.
        Err(failure) if is_registry => {
            let hint = failure.hint().unwrap_or_default();
            registry::server::denied(failure.status(), format!("{failure}: {hint}"))
        }
        Err(failure) => failure.into_response(),
    }
}

fn is_below(path: &str, root: &str) -> bool {
    path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Ends calls that take too long. A followed log is as long as it is.
pub(super) async fn in_time(request: Request, next: Next) -> Response {
    if request.uri().path().ends_with("/logs") {
        return next.run(request).await;
    }
    match tokio::time::timeout(CALL, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Failure::Timeout(CALL).into_response(),
    }
}

fn check(hosts: &Hosts, request: &Request) -> Result<(), Failure> {
    let host = host(request).unwrap_or_default();
    let name = without_port(host).unwrap_or_default();
    if !hosts.allows(name) {
        return Err(Failure::Host(crate::telemetry::sanitise(name.as_bytes())));
    }
    let safe = [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method());
    match request.headers().get(ORIGIN) {
        Some(origin) if !safe && !same_host(origin.as_bytes(), host) => {
            Err(Failure::Origin(crate::telemetry::sanitise(origin.as_bytes())))
        }
        _ => Ok(()),
    }
}

/// The host that was asked for: that of the URI (HTTP/2, absolute form) or of the header.
fn host(request: &Request) -> Option<&str> {
    fn only(headers: &HeaderMap) -> Option<&str> {
        let mut all = headers.get_all(HOST).iter();
        let first = all.next()?.to_str().ok()?;
        all.next().is_none().then_some(first)
    }
    let authority = request.uri().authority().map(|authority| authority.as_str());
    authority.or_else(|| only(request.headers()))
}

/// The host of `host`, `host:port`, `[address]` or `[address]:port`; `None` for anything else.
fn without_port(authority: &str) -> Option<&str> {
    let end = match authority.starts_with('[') {
        true => authority.find(']')? + 1,
        false => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at(end);
    let digits = |port: &str| port.bytes().all(|b| b.is_ascii_digit());
    (port.is_empty() || port.strip_prefix(':').is_some_and(digits)).then_some(host)
}

fn same_host(origin: &[u8], host: &str) -> bool {
    let origin = std::str::from_utf8(origin).unwrap_or_default();
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn verdict(method: &str, host: &str, origin: Option<&str>) -> u16 {
        let mut hosts = Hosts::default();
        hosts.allow(["Wharf.Example.com".to_owned()]);
        let request = Request::builder().method(method).uri("/v1/services").header(HOST, host);
        let request = match origin {
            Some(origin) => request.header(ORIGIN, origin),
            None => request,
        };
        let request = request.body(Body::empty()).expect("a request");
        check(&hosts, &request).err().map_or(200, |failure| failure.status().as_u16())
    }

    #[test]
    fn only_addresses_and_local_names_are_answered() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:7300",
            "[::1]:7300",
            "10.0.0.1",
            "localhost:80",
            "LOCALHOST",
            "api.localhost:7300",
            "localhost.",
            "wharf.example.com:7300",
        ] {
            assert_eq!(verdict("GET", host, None), 200, "{host}");
        }
        for host in [
            "",
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "evillocalhost",
            "wharf.example.com.evil",
            "a@127.0.0.1",
            "[::1",
            "127.0.0.1:x",
            "::1:80",
            "[::1].evil",
        ] {
            assert_eq!(verdict("GET", host, None), 421, "{host}");
        }
    }

    #[test]
    fn other_sites_change_nothing() {
        let own = "127.0.0.1:7300";
        for origin in ["http://evil.example", "null", "http://127.0.0.1:8080", "", "http://"] {
            assert_eq!(verdict("POST", own, Some(origin)), 403, "{origin}");
            assert_eq!(verdict("DELETE", own, Some(origin)), 403, "{origin}");
            assert_eq!(verdict("GET", own, Some(origin)), 200, "{origin}");
        }
        assert_eq!(verdict("POST", own, Some("http://127.0.0.1:7300")), 200);
        assert_eq!(verdict("PATCH", own, None), 200);
    }
}
