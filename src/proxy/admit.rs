//! Which requests are forwarded at all.
//!
//! hyper refuses what is not HTTP. What stands here is HTTP that two parsers could read in two
//! ways, or that a load balancer must not pass on. All of it is decided before routing.
//!
//! *Invariant:* pure.

use http::header::{CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderValue, Method, Version, request::Parts};

use crate::model::Code;
use crate::runtime::header_bytes;

/// Bytes of header names and values of one request, as in nginx and Envoy within a factor of 2.
const MOST_HEADER_BYTES: usize = 32 << 10;
/// Bytes of a path with its query.
const MOST_PATH_BYTES: usize = 8 << 10;

/// What a request that may be forwarded asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Admitted {
    /// The host with its port, if one was given, as the client wrote it.
    pub(super) authority: Authority,
    /// The path with its query.
    pub(super) target: PathAndQuery,
}

/// Why a request is not forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rejected {
    pub(super) code: Code,
    pub(super) detail: &'static str,
}

const fn bad(detail: &'static str) -> Rejected {
    Rejected { code: Code::BadRequest, detail }
}

/// Checks a request's head.
pub(super) fn admit(head: &Parts) -> Result<Admitted, Rejected> {
    check_method(&head.method)?;
    check_framing(&head.headers)?;
    check_expectation(head)?;
    if header_bytes(&head.headers) > MOST_HEADER_BYTES {
        let detail = "the header section has more than 32 KiB";
        return Err(Rejected { code: Code::HeadersTooLarge, detail });
    }
    let authority = authority(head)?;
    let target = match head.uri.path_and_query() {
        Some(target) if target.as_str() == "*" => return Err(bad("the target `*` has no path")),
        Some(target) => target.clone(),
        None => PathAndQuery::from_static("/"),
    };
    if target.as_str().len() > MOST_PATH_BYTES {
        return Err(bad("the path has more than 8 KiB"));
    }
    if has_dot_segment(target.path()) {
        return Err(bad("the path has `.` or `..` segments"));
    }
    Ok(Admitted { authority, target })
}

fn check_method(method: &Method) -> Result<(), Rejected> {
    match *method {
        Method::CONNECT | Method::TRACE => {
            let detail = "CONNECT and TRACE are not forwarded";
            Err(Rejected { code: Code::MethodNotAllowed, detail })
        }
        _ => Ok(()),
    }
}

/// Only plain `chunked` is understood the same by everybody (RFC 9112 §6.1, §6.3). Of HTTP/1.1
/// lengths hyper refuses those that differ and merges equal ones; of HTTP/2 it passes on all.
fn check_framing(headers: &HeaderMap) -> Result<(), Rejected> {
    if headers.get_all(CONTENT_LENGTH).iter().nth(1).is_some() {
        return Err(bad("there is more than one Content-Length"));
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => {
            let detail = "the only transfer coding that is supported is `chunked`, given once";
            Err(Rejected { code: Code::NotImplemented, detail })
        }
    }
}

/// The one expectation that there is (RFC 9110 §10.1.1) is met by asking for the body when the
/// guest reads it.
fn check_expectation(head: &Parts) -> Result<(), Rejected> {
    let is_known = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    match head.headers.get_all(EXPECT).iter().all(is_known) {
        true => Ok(()),
        false => {
            let detail = "the only expectation that can be met is `100-continue`";
            Err(Rejected { code: Code::ExpectationFailed, detail })
        }
    }
}

/// The authority of the target wins over the Host field (RFC 9112 §3.2.2). In HTTP/2 the two must
/// not differ (RFC 9113 §8.3.1).
fn authority(head: &Parts) -> Result<Authority, Rejected> {
    let mut hosts = head.headers.get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(bad("there is more than one Host"));
    }
    let parse =
        |bytes: &[u8]| Authority::try_from(bytes).map_err(|_| bad("the Host is not a host"));
    let host = host.map(|value| parse(value.as_bytes())).transpose()?;
    let authority = match (head.uri.authority(), host) {
        (Some(target), Some(host)) if head.version == Version::HTTP_2 && *target != host => {
            return Err(bad("the Host differs from the authority"));
        }
        (Some(target), _) => target.clone(),
        (None, Some(host)) => host,
        (None, None) => return Err(bad("the Host is missing")),
    };
    // `GET a.example` is the form of CONNECT: it names a host and no path (RFC 9112 §3.2.3).
    if head.uri.authority().is_some() && head.uri.scheme().is_none() {
        return Err(bad("the target has no path"));
    }
    if !is_host(authority.host()) || !is_port(&authority) {
        return Err(bad("the Host is not a host"));
    }
    Ok(authority)
}

/// A registered name or address without anything that a guest, a log or a router could misread.
fn is_host(host: &str) -> bool {
    let name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    let address = |b: u8| b.is_ascii_hexdigit() || matches!(b, b':' | b'.');
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inner) => !inner.is_empty() && inner.bytes().all(address),
        None => !host.is_empty() && host.len() <= 253 && host.bytes().all(name),
    }
}

/// Whether nothing stands before the host, and nothing but a port after it.
fn is_port(authority: &Authority) -> bool {
    let Some(rest) = authority.as_str().strip_prefix(authority.host()) else { return false };
    matches!(rest, "" | ":") || (rest.starts_with(':') && authority.port_u16().is_some())
}

/// Whether a segment is `.` or `..`, with dots and separators percent-encoded or not, `\` among
/// the separators: a router and a guest could resolve them differently. What is encoded twice is
/// not looked at: it has no dots after it was decoded once.
fn has_dot_segment(path: &str) -> bool {
    if !path.contains('.') && !path.contains('%') {
        return false;
    }
    // Dots of the segment so far; `None` once there was anything else in it.
    let mut dots = Some(0);
    let mut rest = path.as_bytes();
    while let Some((byte, after)) = first_decoded(rest) {
        dots = match byte {
            b'/' | b'\\' if matches!(dots, Some(1 | 2)) => return true,
            b'/' | b'\\' => Some(0),
            b'.' => dots.map(|dots: u32| dots + 1),
            _ => None,
        };
        rest = after;
    }
    matches!(dots, Some(1 | 2))
}

/// The first byte, percent-decoded, and what follows it. A `%` without two digits is itself.
fn first_decoded(text: &[u8]) -> Option<(u8, &[u8])> {
    let digit = |at: usize| text.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    match (text.split_first()?, digit(1), digit(2)) {
        ((b'%', _), Some(high), Some(low)) => {
            Some((u8::try_from(high * 16 + low).unwrap_or(b'%'), &text[3..]))
        }
        ((byte, rest), _, _) => Some((*byte, rest)),
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn head(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request").into_parts().0
    }

    fn code(method: &str, uri: &str, headers: &[(&str, &str)]) -> Option<Code> {
        admit(&head(method, uri, headers)).err().map(|rejected| rejected.code)
    }

    #[test]
    fn an_ordinary_request_passes() {
        let head = head("GET", "/a/b?c=../d", &[("host", "Example.com:8080")]);
        let admitted = admit(&head).expect("admitted");
        assert_eq!(admitted.authority.host(), "Example.com");
        assert_eq!(admitted.target.as_str(), "/a/b?c=../d");
    }

    #[test]
    fn the_authority_of_the_target_wins() {
        let head = head("GET", "http://real.example/x", &[("host", "other.example")]);
        assert_eq!(admit(&head).expect("admitted").authority, "real.example");
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let host = ("host", "a.example");
        let bad = Some(Code::BadRequest);
        assert_eq!(code("GET", "/", &[]), bad);
        assert_eq!(code("GET", "/", &[host, ("host", "b.example")]), bad);
        assert_eq!(code("GET", "/", &[("host", "a b")]), bad);
        assert_eq!(code("GET", "/", &[("host", "a/b")]), bad);
        assert_eq!(code("GET", "/", &[("host", "u@a")]), bad);
        assert_eq!(code("GET", "/", &[("host", "")]), bad);
        assert_eq!(code("GET", "/", &[("host", "a:b")]), bad);
        assert_eq!(code("GET", "/", &[("host", "a:65536")]), bad);
        assert_eq!(code("GET", "a.example", &[host]), bad);
        let length = ("content-length", "1");
        assert_eq!(code("POST", "/", &[host, length, length]), bad);
        assert_eq!(code("OPTIONS", "*", &[host]), bad);
        for path in ["/..", "/a/../b", "/a/%2e%2E/b", "/%2e", "/a/.%2e", "/a\\..\\b"] {
            assert_eq!(code("GET", path, &[host]), bad, "{path}");
        }
        for path in ["/a/..%2fb", "/a%2F..", "/a%2f%2e%2E%5cb", "/a/..%5Cb", "/a%5c.%2fb", "/%2f.."]
        {
            assert_eq!(code("GET", path, &[host]), bad, "{path}");
        }
        for path in ["/...", "/.well-known/x", "/a..b", "/%2e%2e%2e", "/a%2fb", "/%2f", "/a%2f.b"] {
            assert_eq!(code("GET", path, &[host]), None, "{path}");
        }
        // No escape, an escape of a percent sign, and bytes that are no text.
        for path in ["/%", "/..%", "/..%2", "/..%2g", "/%252e%252e/", "/..%252fb", "/%ff..%ff"] {
            assert_eq!(code("GET", path, &[host]), None, "{path}");
        }
    }

    #[test]
    fn methods_and_codings_that_are_not_forwarded() {
        let host = ("host", "a.example");
        assert_eq!(code("CONNECT", "a.example:443", &[host]), Some(Code::MethodNotAllowed));
        assert_eq!(code("TRACE", "/", &[host]), Some(Code::MethodNotAllowed));
        let coding = |value| code("POST", "/", &[host, ("transfer-encoding", value)]);
        assert_eq!(coding("chunked"), None);
        assert_eq!(coding("Chunked"), None);
        for value in ["gzip, chunked", "chunked, chunked", "identity", "xchunked", ""] {
            assert_eq!(coding(value), Some(Code::NotImplemented), "{value}");
        }
        let twice = [host, ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")];
        assert_eq!(code("POST", "/", &twice), Some(Code::NotImplemented));
    }

    #[test]
    fn only_one_expectation_is_known() {
        let expect = |value| code("POST", "/", &[("host", "a.example"), ("expect", value)]);
        assert_eq!((expect("100-continue"), expect("100-Continue")), (None, None));
        for value in ["200-ok", "", "100-continue, x=1"] {
            assert_eq!(expect(value), Some(Code::ExpectationFailed), "{value}");
        }
    }

    #[test]
    fn large_heads_are_refused() {
        let huge = "x".repeat(33 << 10);
        let host = ("host", "a.example");
        assert_eq!(code("GET", "/", &[host, ("x", &huge)]), Some(Code::HeadersTooLarge));
        let path = format!("/{}", "x".repeat(9 << 10));
        assert_eq!(code("GET", &path, &[host]), Some(Code::BadRequest));
    }
}
