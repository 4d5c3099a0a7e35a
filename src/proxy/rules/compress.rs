//! Responses that are compressed for clients that take it.
//!
//! *Invariant:* what a guest has written is on its way when the guest pauses, so that events pass
//! one by one. What is held is the state of the coding and one chunk.

use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, ETAG, VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body::{Body, Frame};

use crate::model::Code;
use crate::runtime::BodyError;

use super::super::response_body::Content;
use super::coding::best;

/// A response that is known to be smaller is not worth it.
const LEAST_BYTES: u64 = 1_024;
/// What is compressed goes on when there is so much of it.
const CHUNK_BYTES: usize = 4 << 10;
/// Bytes of the guest that are compressed before others have their turn.
const TURN_BYTES: usize = 64 << 10;
/// Between the fastest, 1, and the default, 6.
const LEVEL: u32 = 4;
/// Fields that say what the bytes of the body are, byte by byte.
const DIGESTS: [&str; 4] = ["content-digest", "repr-digest", "digest", "content-md5"];

/// A coding that responses can be sent in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) enum Coding {
    Gzip,
}

/// What a client takes, or that it takes none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Accepted(Option<Coding>);

/// Nobody sees the body of a response to HEAD, so that it is left as it is.
pub(super) fn accepted(head: &Parts) -> Accepted {
    let coding = best(&head.headers, &[("gzip", Coding::Gzip)]);
    Accepted(coding.filter(|_| head.method != Method::HEAD))
}

/// Makes the head of a response that of its compressed form, if it is to be compressed. The coding
/// is left in the extensions, for whoever sends the body.
pub(super) fn prepare<B>(reply: &mut Response<B>, accepted: Accepted) {
    let status = reply.status();
    let headers = reply.headers_mut();
    if !is_compressible(status, headers) {
        return;
    }
    add_vary(headers);
    let Some(coding) = accepted.0 else { return };
    headers.remove(CONTENT_LENGTH);
    headers.remove(ACCEPT_RANGES);
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    weaken_etag(headers);
    reply.extensions_mut().insert(coding);
}

fn is_compressible(status: StatusCode, headers: &HeaderMap) -> bool {
    let has_whole_body = !matches!(status.as_u16(), 0..200 | 204..=206 | 304);
    let is_plain = !headers.contains_key(CONTENT_ENCODING)
        && !headers.contains_key(CONTENT_RANGE)
        && DIGESTS.iter().all(|name| !headers.contains_key(*name));
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let length = text(CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
    let caches = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let mut directives = caches.flat_map(|value| value.split(','));
    has_whole_body
        && is_plain
        && length.is_none_or(|length| length >= LEAST_BYTES)
        && text(CONTENT_TYPE).is_some_and(is_text)
        && !directives.any(|directive| directive.trim().eq_ignore_ascii_case("no-transform"))
}

/// Types whose content repeats itself. Pictures, sound and archives are compressed already.
fn is_text(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let known = ["application/json", "application/javascript", "application/xml"];
    kind.starts_with("text/")
        || kind.ends_with("+json")
        || kind.ends_with("+xml")
        || kind == "application/wasm"
        || known.contains(&&*kind)
}

/// A cache must not give the compressed form to whoever does not take it.
fn add_vary(headers: &mut HeaderMap) {
    let values = headers.get_all(VARY).iter().filter_map(|value| value.to_str().ok());
    let mut names = values.flat_map(|value| value.split(',')).map(str::trim);
    let is_named = names.any(|name| name == "*" || name.eq_ignore_ascii_case("accept-encoding"));
    if !is_named {
        headers.append(VARY, HeaderValue::from(ACCEPT_ENCODING));
    }
}

/// A strong tag is of these bytes (RFC 9110 §8.8.1), which are others now.
fn weaken_etag(headers: &mut HeaderMap) {
    let Some(tag) = headers.get(ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/")) else {
        return;
    };
    match HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat()) {
        Ok(weak) => headers.insert(ETAG, weak),
        Err(_) => headers.remove(ETAG),
    };
}

/// A body on its way through a coding.
pub(in crate::proxy) struct Compressor {
    /// `None` once the body has ended.
    encoder: Option<GzEncoder<Vec<u8>>>,
    /// Whether the encoder may hold bytes back.
    holds_back: bool,
    /// What comes after the last byte.
    trailers: Option<HeaderMap>,
}

impl Compressor {
    pub(in crate::proxy) fn new(coding: Coding) -> Self {
        let encoder = match coding {
            Coding::Gzip => GzEncoder::new(Vec::new(), Compression::new(LEVEL)),
        };
        Self { encoder: Some(encoder), holds_back: false, trailers: None }
    }

    /// The next frame of `body`, compressed.
    pub(in crate::proxy) fn poll(
        &mut self,
        body: &mut Content,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut taken = 0;
        while let Some(encoder) = &mut self.encoder {
            let written = match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => {
                        taken += data.len();
                        self.holds_back = true;
                        encoder.write_all(&data)
                    }
                    Err(trailers) => {
                        self.trailers = trailers.into_trailers().ok();
                        continue;
                    }
                },
                Poll::Ready(None) => return self.end(),
                Poll::Pending if !self.holds_back => return Poll::Pending,
                Poll::Pending => {
                    self.holds_back = false;
                    encoder.flush()
                }
            };
            if written.is_err() {
                return broken();
            }
            if encoder.get_ref().len() >= CHUNK_BYTES || !self.holds_back {
                let chunk = std::mem::take(encoder.get_mut());
                return Poll::Ready(Some(Ok(Frame::data(chunk.into()))));
            }
            if taken >= TURN_BYTES {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn end(&mut self) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.encoder.take().map(GzEncoder::finish) {
            Some(Ok(rest)) => Poll::Ready(Some(Ok(Frame::data(rest.into())))),
            Some(Err(_)) => broken(),
            None => Poll::Ready(None),
        }
    }

    /// Whether nothing more comes.
    pub(in crate::proxy) fn has_ended(&self) -> bool {
        self.encoder.is_none() && self.trailers.is_none()
    }
}

/// Writing into memory does not fail, so this is a fault of ours.
fn broken() -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
    Poll::Ready(Some(Err(BodyError(Code::Internal))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(status: u16, fields: &[(&'static str, &str)]) -> Response<()> {
        let mut reply = Response::new(());
        *reply.status_mut() = StatusCode::from_u16(status).expect("a status");
        for (name, value) in fields {
            reply.headers_mut().append(*name, value.parse().expect("a value"));
        }
        prepare(&mut reply, Accepted(Some(Coding::Gzip)));
        reply
    }

    fn is_compressed(status: u16, fields: &[(&'static str, &str)]) -> bool {
        let reply = prepared(status, fields);
        let said = reply.headers().get("content-encoding").is_some_and(|coding| coding == "gzip");
        assert_eq!(said, reply.extensions().get::<Coding>().is_some());
        said
    }

    #[test]
    fn only_whole_texts_that_nobody_has_encoded_are_compressed() {
        for kind in [
            "text/html; charset=utf-8",
            "TEXT/PLAIN",
            "text/event-stream",
            "application/json",
            "application/problem+json",
            "image/svg+xml",
            "application/javascript",
            "application/wasm",
        ] {
            assert!(is_compressed(200, &[("content-type", kind)]), "{kind}");
            assert!(is_compressed(404, &[("content-type", kind)]), "{kind}");
        }
        for kind in ["image/png", "application/octet-stream", "application/zip", "", "json"] {
            assert!(!is_compressed(200, &[("content-type", kind)]), "{kind}");
        }
        assert!(!is_compressed(200, &[]));
        for status in [204, 205, 206, 304] {
            assert!(!is_compressed(status, &[("content-type", "text/plain")]), "{status}");
        }
        for (name, value) in [
            ("content-encoding", "br"),
            ("content-range", "bytes 0-1/2"),
            ("cache-control", "private, No-Transform"),
            ("content-length", "1023"),
            ("repr-digest", "sha-256=:AA==:"),
        ] {
            assert!(
                !is_compressed(200, &[("content-type", "text/plain"), (name, value)]),
                "{name}"
            );
        }
        assert!(is_compressed(200, &[("content-type", "text/plain"), ("content-length", "1024")]));
    }

    #[test]
    fn the_head_says_what_the_bytes_are() {
        let reply = prepared(
            200,
            &[
                ("content-type", "text/plain"),
                ("content-length", "5000"),
                ("accept-ranges", "bytes"),
                ("etag", "\"x\""),
                ("vary", "origin"),
            ],
        );
        let headers = reply.headers();
        assert!(!headers.contains_key("content-length") && !headers.contains_key("accept-ranges"));
        assert_eq!(headers["etag"], "W/\"x\"");
        let vary: Vec<_> = headers.get_all("vary").iter().collect();
        assert_eq!(vary, ["origin", "accept-encoding"]);
        let weak = prepared(
            200,
            &[("content-type", "text/plain"), ("etag", "W/\"x\""), ("vary", "a, Accept-Encoding")],
        );
        assert_eq!(weak.headers()["etag"], "W/\"x\"");
        assert_eq!(weak.headers().get_all("vary").iter().count(), 1);
    }
}
