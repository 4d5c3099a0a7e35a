//! Which header fields pass from the client to the guest, and back.
//!
//! *Invariant:* pure.

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderName};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue};

use super::origin::Origin;

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(super) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// The longest request id that is taken over from a client.
const MOST_ID_BYTES: usize = 128;

/// Fields that concern one connection only (RFC 9110 §7.6.1).
fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
    )
}

/// What a client says about who sent its request. What somebody vouches for is in the [`Origin`].
fn is_claim(name: &str) -> bool {
    let claims = name == "forwarded" || name == "x-real-ip";
    claims || matches!(name.strip_prefix("x-forwarded-"), Some("for" | "proto" | "host" | "port"))
}

/// Wharf's own fields, which neither a client nor a guest can set.
fn is_own(name: &str) -> bool {
    name.starts_with("wharf-")
}

/// Fields that frame or route a message, modify a request, say who somebody is, control what
/// becomes of a response, describe the content, or make a request conditional. Not among them is
/// what is known of the content only at its end (RFC 9530 §2).
fn is_misplaced(name: &str) -> bool {
    let describes = name.starts_with("content-") && name != "content-digest";
    let named = matches!(
        name,
        "host"
            | "trailer"
            | "expect"
            | "max-forwards"
            | "cache-control"
            | "pragma"
            | "range"
            | "authorization"
            | "www-authenticate"
            | "cookie"
            | "set-cookie"
            | "age"
            | "date"
            | "expires"
            | "location"
            | "retry-after"
            | "vary"
            | "warning"
            | "x-request-id"
    );
    named || describes || name.starts_with("if-")
}

/// Makes a client's fields into those that a guest sees.
pub(super) fn for_guest(
    headers: &mut HeaderMap,
    origin: &Origin,
    authority: &Authority,
    id: &HeaderValue,
) {
    // An expectation is met here, by asking for the body when the guest reads it.
    strip(headers, |name| {
        is_hop_by_hop(name) || is_claim(name) || is_own(name) || name == "expect"
    });
    headers.insert(FORWARDED_FOR, origin.forwarded_for.clone());
    let scheme = if origin.secure { "https" } else { "http" };
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(scheme));
    if let Some(host) = host_field(headers, authority) {
        headers.insert(FORWARDED_HOST, host);
    }
    headers.insert(REQUEST_ID, id.clone());
}

/// Makes `Host` say what was asked for, which the target of a request may have said instead.
fn host_field(headers: &mut HeaderMap, authority: &Authority) -> Option<HeaderValue> {
    let given = headers.get(HOST).filter(|host| host.as_bytes() == authority.as_str().as_bytes());
    if let Some(host) = given {
        return Some(host.clone());
    }
    let host = HeaderValue::try_from(authority.as_str()).ok()?;
    headers.insert(HOST, host.clone());
    Some(host)
}

/// Makes a guest's fields into those that a client sees.
pub(super) fn for_client(headers: &mut HeaderMap) {
    strip(headers, |name| is_hop_by_hop(name) || is_own(name));
}

/// The client's request id, if it is one that can stand in a log.
pub(super) fn client_id(headers: &HeaderMap) -> Option<HeaderValue> {
    let id = headers.get(REQUEST_ID)?;
    let allowed = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let bytes = id.as_bytes();
    let valid = !bytes.is_empty() && bytes.len() <= MOST_ID_BYTES && bytes.iter().all(allowed);
    valid.then(|| id.clone())
}

/// Removes the trailer fields that must not come after the content (RFC 9110 §6.5.1): whoever reads
/// a message has acted on them by then, or would merge them with what was checked before.
pub(super) fn clean_trailers(trailers: &mut HeaderMap) {
    strip(trailers, |name| {
        is_hop_by_hop(name) || is_claim(name) || is_own(name) || is_misplaced(name)
    });
}

/// Removes the fields that are not to pass, in one look at all of them; and what `Connection`
/// names, except fields that the message could not be read without.
fn strip(headers: &mut HeaderMap, is_stripped: impl Fn(&str) -> bool) {
    if headers.contains_key(CONNECTION) {
        strip_listed(headers);
    }
    let stripped = headers.keys().filter(|name| is_stripped(name.as_str()));
    // Mostly there are none, and then nothing is allocated.
    let stripped: Vec<HeaderName> = stripped.cloned().collect();
    for name in stripped {
        headers.remove(name);
    }
}

fn strip_listed(headers: &mut HeaderMap) {
    let listed: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .filter(|name| *name != HOST && *name != CONTENT_LENGTH)
        .collect();
    for name in listed {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        let parse = |(name, value): &(&str, &str)| {
            (name.parse::<HeaderName>().expect("a name"), value.parse().expect("a value"))
        };
        fields.iter().map(parse).collect()
    }

    fn seen_by_guest(fields: &[(&str, &str)]) -> HeaderMap {
        let mut headers = headers(fields);
        let client = "192.0.2.7:55555".parse().expect("an address");
        let origin =
            Origin { client, secure: true, forwarded_for: HeaderValue::from_static("192.0.2.7") };
        let authority = Authority::from_static("real.example:8080");
        for_guest(&mut headers, &origin, &authority, &HeaderValue::from_static("id-1"));
        headers
    }

    #[test]
    fn a_guest_sees_who_really_asked() {
        let seen = seen_by_guest(&[
            ("host", "lie.example"),
            ("x-forwarded-for", "203.0.113.9"),
            ("forwarded", "for=203.0.113.9"),
            ("x-real-ip", "203.0.113.9"),
            ("wharf-cold-start", "1"),
            ("accept", "text/plain"),
        ]);
        let expected = headers(&[
            ("host", "real.example:8080"),
            ("accept", "text/plain"),
            ("x-forwarded-for", "192.0.2.7"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "real.example:8080"),
            ("x-request-id", "id-1"),
        ]);
        assert_eq!(seen, expected);
    }

    #[test]
    fn connection_fields_stay_on_their_connection() {
        let seen = seen_by_guest(&[
            ("connection", "upgrade, X-Private, x-request-id, host"),
            ("connection", "x-forwarded-for"),
            ("x-private", "1"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABkAAQAAP__"),
            ("te", "trailers"),
            ("proxy-authorization", "Basic eA=="),
        ]);
        assert!(!seen.contains_key("x-private") && !seen.contains_key("upgrade"));
        assert!(!seen.contains_key("http2-settings") && !seen.contains_key("te"));
        assert!(!seen.contains_key("proxy-authorization") && !seen.contains_key("connection"));
        assert_eq!(seen["x-forwarded-for"], "192.0.2.7", "ours cannot be named away");
        assert_eq!(seen["x-request-id"], "id-1");
    }

    #[test]
    fn only_harmless_ids_are_taken_over() {
        let id = |value: &str| client_id(&headers(&[("x-request-id", value)])).is_some();
        assert!(id("3f2a-9_b.c"));
        assert!(!id("") && !id("a b") && !id("a\"b") && !id(&"x".repeat(129)));
    }

    #[test]
    fn trailers_say_nothing_that_belongs_before_the_content() {
        let mut trailers = headers(&[
            ("content-length", "5"),
            ("transfer-encoding", "chunked"),
            ("host", "x"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
            ("cookie", "a=1"),
            ("authorization", "Basic eA=="),
            ("www-authenticate", "Basic"),
            ("content-type", "text/html"),
            ("content-encoding", "gzip"),
            ("content-security-policy", "default-src *"),
            ("cache-control", "public"),
            ("location", "https://evil.example/"),
            ("if-none-match", "*"),
            ("x-forwarded-for", "192.0.2.1"),
            ("x-request-id", "1"),
            ("wharf-error", "x"),
        ]);
        let kept = headers(&[
            ("x-checksum", "abc"),
            ("grpc-status", "0"),
            ("content-digest", "sha-256=:AA==:"),
            ("etag", "\"1\""),
            ("server-timing", "db;dur=53"),
        ]);
        trailers.extend(kept.clone());
        clean_trailers(&mut trailers);
        assert_eq!(trailers, kept);
    }
}
