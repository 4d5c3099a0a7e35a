//! Answers a registry's challenge: basic, or a bearer token from its token service.
//!
//! Source: the Docker registry token authentication specification (the `Bearer` challenge, a
//! `GET` with basic authentication, or a `POST` with a refresh token), and RFC 7235.
//!
//! *Invariant:* credentials leave this machine only for the registry that they are kept for
//! or the token service that this registry names, and never over plain HTTP unless the
//! registry itself is spoken to that way.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_auth::parser::ChallengeParser;
use reqwest::{Response, Url};
use serde::Deserialize;

use super::credentials::{self, Credentials};
use super::guard::Reach;
use super::transport::{self, Action, Transport, same_origin};
use super::{Error, Result};
use crate::clock;

/// How many answers are kept. Beyond that all are asked for again: a node that talks to more
/// repositories than this within a minute can afford it.
const CACHE_MAX: usize = 256;

/// The life of a token that says nothing of it, from the token specification.
const DEFAULT_LIFE: Duration = Duration::from_secs(60);

/// A token is not used this close to its end, so that it does not end on the way.
const LIFE_MARGIN: Duration = Duration::from_secs(5);

/// The most that a token service may answer, in bytes; tokens have a few kilobytes.
const TOKEN_MAX_BYTES: u64 = 256 << 10;

/// The name by which token services know this client.
const CLIENT_ID: &str = "wharf-registry";

/// What a token is for.
pub(super) struct Scope<'a> {
    pub(super) repository: &'a str,
    pub(super) action: Action,
}

/// The answers that are known, and where credentials come from.
pub(super) struct Auth {
    config: Option<PathBuf>,
    cache: Mutex<HashMap<(String, String), Answer>>,
}

#[derive(Clone)]
struct Answer {
    authorization: HeaderValue,
    /// `None` for basic authentication, which has no end.
    expires: Option<SystemTime>,
}

/// What a registry asks for.
#[derive(Debug, PartialEq, Eq)]
enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
    expires_in: Option<u64>,
}

impl Auth {
    pub(super) fn new(config: Option<PathBuf>) -> Self {
        Self { config: config.or_else(credentials::default_path), cache: Mutex::default() }
    }

    /// The header that worked before, if it still may.
    pub(super) fn cached(&self, registry: &str, scope: &Scope<'_>) -> Option<HeaderValue> {
        let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = cache.get(&(registry.to_owned(), scope.to_string()))?;
        let fresh = answer.expires.is_none_or(|end| clock::now() < end);
        fresh.then(|| answer.authorization.clone())
    }

    /// The header that answers the 401 in `response`; `None` if there is nothing to answer
    /// with.
    pub(super) async fn answer(
        &self,
        transport: &Transport,
        registry: &str,
        scope: &Scope<'_>,
        response: &Response,
        reach: Reach,
    ) -> Result<Option<HeaderValue>> {
        let Some(challenge) = parse(response.headers()) else {
            return Ok(None);
        };
        let credentials = self.credentials(registry).await?;
        let answer = match (challenge, credentials) {
            (Challenge::Basic, Some(Credentials::Basic { username, password })) => {
                Some(Answer { authorization: basic(&username, &password), expires: None })
            }
            (Challenge::Basic, _) => None,
            (Challenge::Bearer { realm, service, scope: asked }, credentials) => {
                // A registry may ask for more than the path says, a mount for example.
                let scope = asked.unwrap_or_else(|| scope.to_string());
                let request = TokenRequest { transport, registry, response, reach, realm: &realm };
                Some(request.send(service.as_deref(), &scope, credentials).await?)
            }
        };
        Ok(answer.map(|answer| {
            let header = answer.authorization.clone();
            self.keep(registry, scope, answer);
            header
        }))
    }

    async fn credentials(&self, registry: &str) -> Result<Option<Credentials>> {
        let Some(path): Option<&Path> = self.config.as_deref() else {
            return Ok(None);
        };
        credentials::lookup(path, registry).await.map_err(|source| Error::Credentials {
            registry: registry.to_owned(),
            source: Box::new(source),
        })
    }

    fn keep(&self, registry: &str, scope: &Scope<'_>, answer: Answer) {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= CACHE_MAX {
            cache.clear();
        }
        cache.insert((registry.to_owned(), scope.to_string()), answer);
    }
}

/// A request to the token service that the registry named in `response`.
struct TokenRequest<'a> {
    transport: &'a Transport,
    registry: &'a str,
    response: &'a Response,
    reach: Reach,
    realm: &'a str,
}

impl TokenRequest<'_> {
    async fn send(
        &self,
        service: Option<&str>,
        scope: &str,
        credentials: Option<Credentials>,
    ) -> Result<Answer> {
        let mut url: Url =
            self.realm.parse().map_err(|_| self.malformed("its token service has no URL"))?;
        let http = if same_origin(&url, self.response.url()) {
            self.transport.direct(self.registry)?
        } else {
            self.transport.guarded(self.registry, &url, self.response.url(), self.reach)?
        };
        let request = match credentials {
            Some(Credentials::IdentityToken(token)) => http.post(url).form_of(&[
                ("grant_type", "refresh_token"),
                ("service", service.unwrap_or_default()),
                ("scope", scope),
                ("client_id", CLIENT_ID),
                ("refresh_token", &token),
            ]),
            other => {
                url.query_pairs_mut().append_pair("scope", scope);
                if let Some(service) = service {
                    url.query_pairs_mut().append_pair("service", service);
                }
                match other {
                    Some(Credentials::Basic { username, password }) => {
                        http.get(url).header(header::AUTHORIZATION, basic(&username, &password))
                    }
                    _ => http.get(url),
                }
            }
        };
        let response = request.send().await.map_err(|e| Error::unreachable(self.registry, e))?;
        self.read(response, scope).await
    }

    async fn read(&self, response: Response, scope: &str) -> Result<Answer> {
        let status = response.status();
        if status != StatusCode::OK {
            let registry = self.registry.to_owned();
            let what = format!("a token for {scope}");
            return Err(match status.as_u16() {
                429 | 500.. => Error::Status {
                    registry,
                    what,
                    status: status.as_u16(),
                    detail: "the token service failed".to_owned(),
                },
                _ => Error::Unauthorized {
                    registry,
                    what,
                    detail: format!("the token service answered {status}"),
                },
            });
        }
        let what = "the answer of the token service";
        let content = transport::body(response, TOKEN_MAX_BYTES, self.registry, what).await?;
        let answer: TokenAnswer = serde_json::from_slice(&content)
            .map_err(|_| self.malformed("its token service sent no token"))?;
        let token = if answer.token.is_empty() { answer.access_token } else { answer.token };
        let value = HeaderValue::from_str(&format!("Bearer {token}"));
        match value {
            Ok(mut authorization) if !token.is_empty() => {
                authorization.set_sensitive(true);
                let life = answer.expires_in.map_or(DEFAULT_LIFE, Duration::from_secs);
                let life = life.saturating_sub(LIFE_MARGIN);
                Ok(Answer { authorization, expires: clock::now().checked_add(life) })
            }
            _ => Err(self.malformed("its token service sent no usable token")),
        }
    }

    fn malformed(&self, detail: &str) -> Error {
        let what = "the authentication challenge".to_owned();
        Error::Malformed { registry: self.registry.to_owned(), what, detail: detail.to_owned() }
    }
}

/// A form body without reqwest's `form` feature.
trait FormOf {
    fn form_of(self, fields: &[(&str, &str)]) -> Self;
}

impl FormOf for reqwest::RequestBuilder {
    fn form_of(self, fields: &[(&str, &str)]) -> Self {
        // The encoding of a query is that of a form.
        let mut scratch = Url::parse("http://form.invalid/").ok();
        let encoded = scratch.as_mut().and_then(|url| {
            url.query_pairs_mut().extend_pairs(fields);
            url.query().map(str::to_owned)
        });
        self.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(encoded.unwrap_or_default())
    }
}

impl std::fmt::Display for Scope<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let actions = match self.action {
            Action::Pull => "pull",
            Action::Push => "pull,push",
        };
        write!(f, "repository:{}:{actions}", self.repository)
    }
}

/// The challenge that is answered: bearer before basic, because it gives less away.
fn parse(headers: &HeaderMap) -> Option<Challenge> {
    let mut found = None;
    for value in headers.get_all(header::WWW_AUTHENTICATE) {
        let Ok(text) = value.to_str() else { continue };
        for challenge in ChallengeParser::new(text).flatten() {
            let param = |name: &str| {
                let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
                found.map(|(_, value)| value.to_unescaped())
            };
            if challenge.scheme.eq_ignore_ascii_case("bearer") {
                if let Some(realm) = param("realm") {
                    let (service, scope) = (param("service"), param("scope"));
                    return Some(Challenge::Bearer { realm, service, scope });
                }
            } else if challenge.scheme.eq_ignore_ascii_case("basic") {
                found = Some(Challenge::Basic);
            }
        }
    }
    found
}

fn basic(username: &str, password: &str) -> HeaderValue {
    let text = format!("Basic {}", STANDARD.encode(format!("{username}:{password}")));
    // Base64 is always a valid header value.
    let mut value = HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("Basic"));
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(values: &[&'static str]) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_static(value));
        }
        parse(&headers)
    }

    #[test]
    fn challenges_are_understood_and_bearer_is_preferred() {
        assert_eq!(parsed(&[]), None);
        assert_eq!(parsed(&["Negotiate"]), None);
        assert_eq!(parsed(&["Basic realm=\"x\""]), Some(Challenge::Basic));
        let bearer = Challenge::Bearer {
            realm: "https://auth.io/token".into(),
            service: Some("reg".into()),
            scope: None,
        };
        let text = "Bearer realm=\"https://auth.io/token\",service=\"reg\"";
        assert_eq!(parsed(&["Basic realm=\"x\"", text]), Some(bearer));
        assert_eq!(parsed(&["Bearer service=\"reg\""]), None);
    }

    #[test]
    fn secrets_are_marked() {
        let value = basic("a", "b");
        assert_eq!(value, "Basic YTpi");
        assert!(value.is_sensitive());
    }
}
