//! What a guest asks for, read once and then believed.

use std::time::Duration;

use http::{Method, Request};
use tokio::time::Instant;
use wasmtime_wasi_http::{Error as WasiError, RequestOptions, WasiBody};

use crate::clock;
use crate::model::{OriginScheme, RoleLimits};

use super::body::Terms;
use super::failed::Failed;
use super::pool::Key;

/// How long a connection may take to open where the guest says nothing.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// No time at all would be read as one without an end.
const SHORTEST: Duration = Duration::from_millis(1);

/// The server that a request is for.
pub(super) fn key_of(request: &Request<WasiBody>) -> Result<Key, Failed> {
    let uri = request.uri();
    let scheme = match uri.scheme_str() {
        Some("http") => OriginScheme::Http,
        Some("https") => OriginScheme::Https,
        _ => return Err(Failed::unsendable(WasiError::HttpRequestUriInvalid)),
    };
    let invalid = || Failed::unsendable(WasiError::HttpRequestUriInvalid);
    let authority = uri.authority().ok_or_else(invalid)?;
    let host = authority.host().to_ascii_lowercase();
    let host = host.strip_suffix('.').unwrap_or(&host);
    if host.is_empty() || authority.as_str().contains(['@', '%']) {
        return Err(invalid());
    }
    if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
        return Err(Failed::unsendable(WasiError::HttpRequestMethodInvalid));
    }
    let port = authority.port_u16().unwrap_or(scheme.default_port());
    Ok(Key { scheme, host: host.into(), port })
}

/// How long the parts of a request may take. None is ever zero, and none goes beyond the time of
/// the request that it is sent for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Times {
    /// Until a connection is open.
    pub(super) connected: Instant,
    /// From then until the response's head is there.
    pub(super) first_byte: Duration,
    /// Between two frames of its body.
    pub(super) between: Duration,
    /// Until its last byte.
    pub(super) until: Instant,
}

impl Times {
    pub(super) fn of(
        options: Option<RequestOptions>,
        limits: &RoleLimits,
        deadline: Instant,
    ) -> Self {
        let now = Instant::from_std(clock::now());
        let until = deadline.min(now + limits.timeout.max(SHORTEST));
        let options = options.unwrap_or_default();
        let most = until.saturating_duration_since(now).max(SHORTEST);
        let time = |wanted: Option<Duration>| wanted.unwrap_or(most).clamp(SHORTEST, most);
        Self {
            connected: now + time(options.connect_timeout.or(Some(CONNECT_TIME))),
            first_byte: time(options.first_byte_timeout),
            between: time(options.between_bytes_timeout),
            until,
        }
    }

    pub(super) fn terms(&self, limits: &RoleLimits) -> Terms {
        let (between, until) = (self.between, self.until);
        Terms { most_bytes: limits.response_bytes.0, between, until }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::{BodyExt, Empty};

    use super::*;

    fn key(method: &str, url: &str) -> Result<Key, WasiError> {
        let body = Empty::<Bytes>::new().map_err(|never| match never {}).boxed_unsync();
        let request = Request::builder().method(method).uri(url).body(body).expect("a request");
        key_of(&request).map_err(|failed| failed.error)
    }

    #[test]
    fn a_server_is_known_by_one_name_only() {
        for (url, scheme, host, port) in [
            ("https://A.Example/x", OriginScheme::Https, "a.example", 443),
            ("https://a.example.:443", OriginScheme::Https, "a.example", 443),
            ("http://a.example", OriginScheme::Http, "a.example", 80),
            ("http://[::1]:8080/", OriginScheme::Http, "[::1]", 8_080),
        ] {
            let expected = Key { scheme, host: host.into(), port };
            assert_eq!(key("GET", url).expect(url), expected, "{url}");
        }
        assert!(matches!(key("GET", "http://u:p@a/"), Err(WasiError::HttpRequestUriInvalid)));
        assert!(matches!(key("GET", "/x"), Err(WasiError::HttpRequestUriInvalid)));
        assert!(matches!(key("TRACE", "http://a/"), Err(WasiError::HttpRequestMethodInvalid)));
    }

    #[test]
    fn times_are_never_zero_and_never_beyond_the_deadline() {
        let now = Instant::from_std(clock::now());
        let limits = RoleLimits { timeout: Duration::from_secs(10), ..RoleLimits::default() };
        let all = |time| {
            Some(RequestOptions {
                connect_timeout: Some(time),
                first_byte_timeout: Some(time),
                between_bytes_timeout: Some(time),
            })
        };
        for (options, deadline) in [
            (None, now + Duration::from_secs(3)),
            (all(Duration::ZERO), now + Duration::from_secs(3)),
            (all(Duration::MAX), now + Duration::from_secs(3)),
            (None, now),
            (all(Duration::MAX), now),
        ] {
            let times = Times::of(options, &limits, deadline);
            assert_eq!(times.until, deadline);
            assert!(times.first_byte >= SHORTEST && times.between >= SHORTEST);
            assert!(times.first_byte <= Duration::from_secs(3));
            assert!(times.connected > now && times.connected <= now + Duration::from_secs(4));
        }
        let times = Times::of(None, &limits, now + Duration::from_secs(60));
        assert!(times.until < now + Duration::from_secs(20), "the role has its own bound");
    }
}
