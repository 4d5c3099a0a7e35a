//! Talks to the API of a node.

use std::time::Duration;

use anyhow::Context;
use reqwest::{Client, Method, RequestBuilder, Response, Url};
use serde::de::DeserializeOwned;

use crate::api::Problem;

use super::told::Told;

/// How long a connection may take. A node is on this machine or near it.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a call may take: a little more than the API itself allows.
const CALL: Duration = Duration::from_secs(70);
/// Where a node's API listens unless it is told otherwise.
const API_PORT: u16 = 7300;
/// The hint for an address that is none.
const EXAMPLE: &str = "write it like http://127.0.0.1:7300, after --api or in WHARF_API";
/// Bytes of an answer that is not ours that are repeated to the user.
const FOREIGN_TEXT: usize = 200;

/// A client of one node.
pub(super) struct ApiClient {
    http: Client,
    base: Url,
}

impl ApiClient {
    /// A client of the node at `url`. Nothing is contacted yet.
    pub(super) fn new(url: &str) -> anyhow::Result<Self> {
        let base = base(url)?;
        let mut builder = Client::builder().connect_timeout(CONNECT);
        if is_local(&base) {
            builder = builder.no_proxy();
        }
        let http = builder.build().context("the HTTP client cannot be set up")?;
        Ok(Self { http, base })
    }

    /// Host and port, as the embedded registry is called.
    pub(super) fn authority(&self) -> String {
        let host = self.base.host_str().unwrap_or_default();
        let port = self.base.port_or_known_default().unwrap_or(80);
        format!("{host}:{port}")
    }

    /// A request to a path, whose segments are escaped.
    pub(super) fn request(&self, method: Method, segments: &[&str]) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        self.http.request(method, url)
    }

    /// Sends a request and reads the answer as JSON.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> anyhow::Result<T> {
        let response = self.open(request.timeout(CALL)).await?;
        let body = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        serde_json::from_slice(&body).map_err(|_| self.foreign(&body).into())
    }

    /// Reads an object.
    pub(super) async fn get<T: DeserializeOwned>(&self, segments: &[&str]) -> anyhow::Result<T> {
        self.call(self.request(Method::GET, segments)).await
    }

    /// Sends a request and returns the answer unread, if it is a success.
    pub(super) async fn open(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let body = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        let problem = serde_json::from_slice::<Problem>(&body);
        Err(problem.map_or_else(|_| self.foreign(&body), Told::from).into())
    }

    fn unreachable(&self, error: &reqwest::Error) -> Told {
        let base = self.base.as_str().trim_end_matches('/');
        if error.is_connect() {
            return Told::new(format!("no node answers at {base}")).hint(self.reach());
        }
        if error.is_timeout() {
            return Told::new(format!("the node at {base} did not answer in time"))
                .hint("see its log, and try again");
        }
        let mut cause: &dyn std::error::Error = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        if error.is_builder() {
            return Told::usage(format!("`{base}` cannot be asked: {cause}")).hint(EXAMPLE);
        }
        Told::new(format!("the connection to the node at {base} broke: {cause}"))
            .hint("see whether the node is still running, and try again")
    }

    /// How a node is reached, for somebody who has not.
    fn reach(&self) -> String {
        let host = self.base.host_str().unwrap_or_default();
        let port = self.base.port();
        match (self.base.scheme(), port) {
            ("https", _) => format!(
                "a node's API speaks plain HTTP: write http://{host}:{}, unless a proxy with TLS \
                 stands before it",
                port.unwrap_or(API_PORT)
            ),
            (_, None) => format!(
                "the API has a port of its own, {API_PORT} by default: write \
                 http://{host}:{API_PORT}, after --api or in WHARF_API"
            ),
            _ => "start one with `wharf serve`, or name another with --api or WHARF_API".to_owned(),
        }
    }

    fn foreign(&self, body: &[u8]) -> Told {
        let shown = &body[..body.len().min(FOREIGN_TEXT)];
        let text = crate::telemetry::sanitise(shown.trim_ascii());
        let base = self.base.as_str().trim_end_matches('/');
        Told::new(format!("what answers at {base} is not a Wharf node: {text}"))
            .hint("check --api and WHARF_API; the API has a listener of its own, 7300 by default")
    }
}

/// Reads the address of an API; the scheme may be left out.
fn base(text: &str) -> Result<Url, Told> {
    let bad = || Told::usage(format!("`{text}` is not the address of an API"));
    let port = text.trim_start_matches(':');
    if port.parse::<u16>().is_ok() {
        // As a URL it would be a number that stands for an IPv4 address.
        return Err(bad().hint(format!("write http://127.0.0.1:{port}")));
    }
    let full = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let url = Url::parse(&full).map_err(|error| {
        Told::usage(format!("`{text}` is not the address of an API: {error}")).hint(EXAMPLE)
    })?;
    if !["http", "https"].contains(&url.scheme()) {
        let (_, rest) = full.split_once("://").unwrap_or_default();
        return Err(bad().hint(format!("a node's API speaks HTTP: write http://{rest}")));
    }
    // `http:/127.0.0.1:7300` and `http//127.0.0.1:7300` are hosts named `http`.
    let host = url.host_str().unwrap_or_default();
    let has_more = url.query().is_some() || url.fragment().is_some();
    if ["", "http", "https"].contains(&host) || has_more {
        return Err(bad().hint(EXAMPLE));
    }
    Ok(url)
}

/// Whether the node is on this machine, so that no proxy stands between.
fn is_local(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let loopback = host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    loopback || host == "localhost" || host.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(url: &str) -> anyhow::Result<ApiClient> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        ApiClient::new(url)
    }

    #[test]
    fn addresses_are_read_and_names_escaped() {
        let api = client("127.0.0.1:7301").expect("valid");
        assert_eq!(api.authority(), "127.0.0.1:7301");
        let request = api.request(Method::GET, &["v1", "services", "a/b c"]).build();
        let url = request.expect("a request").url().clone();
        assert_eq!(url.as_str(), "http://127.0.0.1:7301/v1/services/a%2Fb%20c");
        assert_eq!(client("http://[::1]:7300/").expect("valid").authority(), "[::1]:7300");
        for (bad, hint) in [
            ("", EXAMPLE),
            ("http://", EXAMPLE),
            ("http//127.0.0.1:7300", EXAMPLE),
            ("http:/127.0.0.1:7300", EXAMPLE),
            ("127.0.0.1:99999", EXAMPLE),
            ("http://127.0.0.1:7300/?a", EXAMPLE),
            ("7300", "write http://127.0.0.1:7300"),
            (":7301", "write http://127.0.0.1:7301"),
            ("tcp://10.0.0.1:7300", "a node's API speaks HTTP: write http://10.0.0.1:7300"),
        ] {
            let told = base(bad).expect_err(bad);
            assert!(format!("{told:?}").contains(hint), "{bad}: {told:?}");
        }
    }

    #[tokio::test]
    async fn a_node_that_is_not_there_is_a_clear_message() {
        let api = client("http://127.0.0.1:1").expect("valid");
        let error = api.get::<serde_json::Value>(&["v1", "version"]).await.expect_err("nobody");
        assert_eq!(error.to_string(), "no node answers at http://127.0.0.1:1");
        for (url, says) in [
            ("https://10.0.0.1:7300", "write http://10.0.0.1:7300, unless"),
            ("https://node.example", "write http://node.example:7300, unless"),
            ("http://localhost", "write http://localhost:7300, after"),
            ("http://localhost:7301", "start one with"),
        ] {
            let hint = client(url).expect("valid").reach();
            assert!(hint.contains(says), "{url}: {hint}");
        }
    }
}
