//! One request to a registry: scheme, authentication, redirects, and bounded answers.
//!
//! *Invariant:* an `Authorization` header goes only to the origin of the registry itself; see
//! [`super::auth`] for the one exception, the token service.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use reqwest::{Response, Url};

use super::auth::{Auth, Scope};
use super::guard::{self, GuardedResolver, Reach};
use super::upload::Upload;
use super::{ClientConfig, Error, Result};
use crate::digest::quote;
use crate::reference::Reference;

/// How many redirects are followed for one request; registries use one, to blob storage.
const REDIRECTS_MAX: usize = 5;

/// The most of an error's body that is read, in bytes; it is only shown.
const ERROR_BODY_MAX_BYTES: u64 = 64 << 10;

/// How long the question "HTTP or HTTPS?" to an insecure registry may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// How many registries' schemes are remembered; beyond that all are asked again.
const SCHEMES_MAX: usize = 256;

/// Where Docker Hub's API lives.
const DOCKER_HUB_HOST: &str = "registry-1.docker.io";

/// What is done to a repository: it decides the scope of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Action {
    Pull,
    Push,
}

/// A request to the registry of `reference`.
pub(super) struct Call<'a> {
    pub(super) reference: &'a Reference,
    pub(super) action: Action,
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Upload>,
    /// What is asked for, for messages.
    pub(super) what: String,
}

/// Everything that requests share.
pub(super) struct Transport {
    config: ClientConfig,
    root_certificates: Vec<reqwest::Certificate>,
    http: reqwest::Client,
    /// For registries on this machine: no proxy can reach those, whatever the environment says.
    loopback: OnceLock<reqwest::Client>,
    /// For places that a registry names, by [`Reach`]; made when first needed.
    guarded: [OnceLock<reqwest::Client>; 3],
    schemes: Mutex<HashMap<String, &'static str>>,
    auth: Auth,
}

impl Transport {
    pub(super) fn new(config: ClientConfig) -> Result<Self> {
        // Another part of the process may have chosen a provider already; either serves.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let root_certificates = match &config.extra_ca_pem {
            None => Vec::new(),
            Some(pem) => reqwest::Certificate::from_pem_bundle(pem)
                .map_err(|e| Error::Config { detail: format!("extra certificates: {e}") })?,
        };
        let http = build(&config, &root_certificates, Route::Registry)?;
        let auth = Auth::new(config.docker_config.clone());
        let (loopback, guarded) = Default::default();
        let schemes = Mutex::default();
        Ok(Self { config, root_certificates, http, loopback, guarded, schemes, auth })
    }

    /// `<scheme>://<host>/v2/<repository>/<path>`.
    pub(super) async fn url(&self, reference: &Reference, path: &str) -> Result<Url> {
        let registry = reference.registry();
        let scheme = self.scheme(registry).await?;
        let host = api_host(registry);
        let text = format!("{scheme}://{host}/v2/{}/{path}", reference.repository());
        text.parse().map_err(|_| Error::Config { detail: format!("`{text}` is not a URL") })
    }

    /// Sends the call, with the credentials that it turns out to need, and follows redirects
    /// of reads. The answer has a status that is neither 401 nor a redirect.
    pub(super) async fn send(&self, call: Call<'_>) -> Result<Response> {
        let registry = call.reference.registry();
        let scope = Scope { repository: call.reference.repository(), action: call.action };
        let mut authorization = self.auth.cached(registry, &scope);
        let mut url = call.url.clone();
        let mut asked = false;
        for _ in 0..=REDIRECTS_MAX + 1 {
            let http = self.direct(registry)?;
            let request = self.request(http, &call, url.clone(), authorization.clone());
            let response = request.send().await.map_err(|e| self.broken(registry, e))?;
            let reach = reach_of(&response);
            if response.status() == StatusCode::UNAUTHORIZED {
                if std::mem::replace(&mut asked, true) {
                    return Err(self.refused(&call, response).await);
                }
                authorization = self.auth.answer(self, registry, &scope, &response, reach).await?;
                if authorization.is_none() {
                    return Err(self.refused(&call, response).await);
                }
                continue;
            }
            match self.redirect(&call, &response)? {
                None => return Ok(response),
                Some(next) if same_origin(&next, &call.url) => url = next,
                Some(next) => return self.send_elsewhere(&call, next, reach).await,
            }
        }
        Err(self.forbidden(registry, &url, "it redirects too often"))
    }

    /// Goes where the registry pointed, without credentials, from now on.
    async fn send_elsewhere(
        &self,
        call: &Call<'_>,
        mut url: Url,
        reach: Reach,
    ) -> Result<Response> {
        let registry = call.reference.registry();
        for _ in 0..REDIRECTS_MAX {
            let http = self.guarded(registry, &url, &call.url, reach)?;
            let request = self.request(http, call, url.clone(), None);
            let response = request.send().await.map_err(|e| Error::unreachable(registry, e))?;
            match self.redirect(call, &response)? {
                None if response.status() == StatusCode::UNAUTHORIZED => {
                    return Err(self.refused(call, response).await);
                }
                None => return Ok(response),
                Some(next) => url = next,
            }
        }
        Err(self.forbidden(registry, &url, "it redirects too often"))
    }

    /// The client for a place that `registry` names, if that place is allowed.
    pub(super) fn guarded(
        &self,
        registry: &str,
        target: &Url,
        registry_url: &Url,
        reach: Reach,
    ) -> Result<&reqwest::Client> {
        let plain_http = registry_url.scheme() == "http";
        guard::check(target, reach, plain_http)
            .map_err(|reason| self.forbidden(registry, target, reason))?;
        self.lazily(&self.guarded[reach as usize], Route::Named(reach))
    }

    /// The client for the registry itself.
    pub(super) fn direct(&self, registry: &str) -> Result<&reqwest::Client> {
        if is_loopback(registry) {
            return self.lazily(&self.loopback, Route::Loopback);
        }
        Ok(&self.http)
    }

    fn lazily<'a>(
        &self,
        cell: &'a OnceLock<reqwest::Client>,
        route: Route,
    ) -> Result<&'a reqwest::Client> {
        if let Some(client) = cell.get() {
            return Ok(client);
        }
        let client = build(&self.config, &self.root_certificates, route)?;
        Ok(cell.get_or_init(|| client))
    }

    fn request(
        &self,
        http: &reqwest::Client,
        call: &Call<'_>,
        url: Url,
        authorization: Option<HeaderValue>,
    ) -> reqwest::RequestBuilder {
        let mut request = http.request(call.method.clone(), url).headers(call.headers.clone());
        if let Some(value) = authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        match &call.body {
            Some(body) => body.put_on(request),
            None => request,
        }
    }

    /// Where the answer redirects to. Only reads are redirected: sending a blob again to a
    /// place that the registry makes up is not part of the protocol.
    fn redirect(&self, call: &Call<'_>, response: &Response) -> Result<Option<Url>> {
        if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Ok(None);
        }
        let registry = call.reference.registry();
        if !matches!(call.method, Method::GET | Method::HEAD) {
            return Err(self.forbidden(registry, response.url(), "it redirects an upload"));
        }
        let location = response.headers().get(header::LOCATION).and_then(|v| v.to_str().ok());
        let target = location.and_then(|location| response.url().join(location).ok());
        let detail = || "it redirects without a usable Location".to_owned();
        let (registry, what) = (registry.to_owned(), call.what.clone());
        target.map(Some).ok_or_else(|| Error::Malformed { registry, what, detail: detail() })
    }

    /// `http` or `https`. Only registries that may be insecure are asked which; the question
    /// carries no credentials.
    async fn scheme(&self, registry: &str) -> Result<&'static str> {
        if !is_insecure(registry, &self.config.insecure_registries) {
            return Ok("https");
        }
        if let Some(scheme) = self.schemes().get(registry) {
            return Ok(scheme);
        }
        let probe =
            self.direct(registry)?.get(format!("http://{registry}/v2/")).timeout(PROBE_TIMEOUT);
        let scheme = match probe.send().await {
            // A TLS server says 400 to plain HTTP, or hangs up.
            Ok(response) if response.status() != StatusCode::BAD_REQUEST => "http",
            Err(error) if error.is_connect() => return Err(Error::unreachable(registry, error)),
            _ => "https",
        };
        let mut schemes = self.schemes();
        if schemes.len() >= SCHEMES_MAX {
            schemes.clear();
        }
        schemes.insert(registry.to_owned(), scheme);
        Ok(scheme)
    }

    fn schemes(&self) -> MutexGuard<'_, HashMap<String, &'static str>> {
        self.schemes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A registry that does not answer may come back with another scheme.
    fn broken(&self, registry: &str, error: reqwest::Error) -> Error {
        self.schemes().remove(registry);
        Error::unreachable(registry, error)
    }

    async fn refused(&self, call: &Call<'_>, response: Response) -> Error {
        let registry = call.reference.registry().to_owned();
        let detail = error_detail(response).await;
        Error::Unauthorized { registry, what: call.what.clone(), detail }
    }

    pub(super) fn forbidden(&self, registry: &str, target: &Url, reason: &str) -> Error {
        // The query of a redirect may be a signature.
        let mut shown = target.clone();
        shown.set_query(None);
        let (registry, target) = (registry.to_owned(), quote(shown.as_str()));
        Error::Forbidden { registry, target, reason: reason.to_owned() }
    }
}

/// Turns an answer that is not the `expected` one into an error.
pub(super) async fn expect(
    response: Response,
    expected: &[StatusCode],
    reference: &Reference,
    what: &str,
) -> Result<Response> {
    let status = response.status();
    if expected.contains(&status) {
        return Ok(response);
    }
    let (registry, what) = (reference.registry().to_owned(), what.to_owned());
    let detail = error_detail(response).await;
    Err(match status {
        StatusCode::NOT_FOUND => Error::NotFound { registry, what },
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Error::Unauthorized { registry, what, detail }
        }
        _ => Error::Status { registry, what, status: status.as_u16(), detail },
    })
}

/// Reads a body of at most `max_bytes`; stops as soon as there is more.
pub(super) async fn body(
    mut response: Response,
    max_bytes: u64,
    registry: &str,
    what: &str,
) -> Result<Bytes> {
    let too_large = || Error::TooLarge {
        what: what.to_owned(),
        detail: format!("it has more than {max_bytes} bytes"),
    };
    if response.content_length().is_some_and(|length| length > max_bytes) {
        return Err(too_large());
    }
    let mut content = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| Error::unreachable(registry, e))? {
        if (content.len() + chunk.len()) as u64 > max_bytes {
            return Err(too_large());
        }
        content.extend_from_slice(&chunk);
    }
    Ok(content.freeze())
}

/// How close the peer of this answer is. Where that is unknown, the strictest is assumed.
fn reach_of(response: &Response) -> Reach {
    response.remote_addr().and_then(|peer| Reach::of(peer.ip())).unwrap_or(Reach::Public)
}

pub(super) fn same_origin(a: &Url, b: &Url) -> bool {
    a.origin() == b.origin()
}

/// What an error's body says, by the OCI distribution specification if it follows that.
async fn error_detail(response: Response) -> String {
    let status = response.status();
    let fallback = status.canonical_reason().unwrap_or("no reason given").to_owned();
    let Ok(content) = body(response, ERROR_BODY_MAX_BYTES, "", "").await else {
        return fallback;
    };
    let Ok(envelope) = serde_json::from_slice::<Envelope>(&content) else {
        return fallback;
    };
    match envelope.errors.first() {
        Some(error) if !error.message.is_empty() => quote(&error.message),
        Some(error) if !error.code.is_empty() => quote(&error.code),
        _ => fallback,
    }
}

#[derive(serde::Deserialize)]
struct Envelope {
    errors: Vec<EnvelopeError>,
}

#[derive(serde::Deserialize)]
#[serde(default)]
#[derive(Default)]
struct EnvelopeError {
    code: String,
    message: String,
}

/// What a client is used for.
#[derive(Clone, Copy)]
enum Route {
    /// The registry that the user named.
    Registry,
    /// The same, on this machine.
    Loopback,
    /// What a registry named, at most this close to this machine.
    Named(Reach),
}

fn build(
    config: &ClientConfig,
    root_certificates: &[reqwest::Certificate],
    route: Route,
) -> Result<reqwest::Client> {
    let builder = || {
        let builder = reqwest::Client::builder()
            .user_agent(concat!("wharf-registry/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(config.connect_timeout)
            .read_timeout(config.read_timeout)
            .timeout(config.request_timeout);
        match route {
            Route::Registry => builder,
            Route::Loopback => builder.no_proxy(),
            Route::Named(reach) => builder.dns_resolver(GuardedResolver(reach)),
        }
    };
    let certificates = || root_certificates.iter().cloned();
    builder()
        .tls_certs_merge(certificates())
        .build()
        // A minimal system has no certificates at all; registries without TLS, or with a
        // certificate that was given, still work there.
        .or_else(|_| builder().tls_certs_only(certificates()).build())
        .map_err(|e| Error::Config { detail: e.to_string() })
}

fn api_host(registry: &str) -> &str {
    if registry == "docker.io" { DOCKER_HUB_HOST } else { registry }
}

fn is_insecure(registry: &str, listed: &[String]) -> bool {
    is_loopback(registry)
        || listed.iter().any(|name| name == registry || name == host_without_port(registry))
}

fn is_loopback(registry: &str) -> bool {
    let host = host_without_port(registry);
    let literal = host.trim_start_matches('[').trim_end_matches(']').parse();
    host == "localhost" || literal.is_ok_and(|address| Reach::of(address) == Some(Reach::Loopback))
}

fn host_without_port(registry: &str) -> &str {
    match registry.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => registry,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_listed_registries_may_be_insecure() {
        let listed = ["plain.io".to_owned(), "other.io:5000".to_owned()];
        for yes in [
            "127.0.0.1:5000",
            "127.1.2.3",
            "localhost",
            "localhost:1",
            "[::1]:5000",
            "[::1]",
            "plain.io",
            "plain.io:80",
            "other.io:5000",
        ] {
            assert!(is_insecure(yes, &listed), "{yes}");
        }
        for no in [
            "ghcr.io",
            "docker.io",
            "other.io",
            "other.io:5001",
            "10.0.0.1:5000",
            "localhost.evil.io",
            "[fe80::1]:5000",
            "plain.io.evil",
        ] {
            assert!(!is_insecure(no, &listed), "{no}");
        }
    }
}
