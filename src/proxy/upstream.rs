//! Requests that are forwarded to servers that are not Wharf's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::header::{CONNECTION, HeaderName, UPGRADE, VIA};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;

use crate::listener::AfterUpgrade;
use crate::model::Code;
use crate::telemetry::Exchange;
use crate::upstream::{Outgoing, Sent, Tunnel, UpstreamCell};

use super::admit::Admitted;
use super::forwarded::Forwarded;
use super::headers;
use super::origin::Origin;
use super::request_body::RequestBody;
use super::response_body::Content;

/// The protocol that cannot be asked for in the middle of things (RFC 9113 §3.1).
const H2C: &[u8] = b"h2c";
const WEBSOCKET: &[u8] = b"websocket";

/// The name that this process goes by in `Via` (RFC 9110 §7.6.3): a request that has it already
/// goes in a circle.
pub(super) struct Via {
    name: String,
    value: HeaderValue,
}

impl Via {
    pub(super) fn new() -> Self {
        let name = format!("wharf-{:016x}", rand::random::<u64>());
        let value = HeaderValue::try_from(format!("1.1 {name}"));
        Self { name, value: value.unwrap_or(HeaderValue::from_static("1.1 wharf")) }
    }

    fn has_passed(&self, headers: &HeaderMap) -> bool {
        let name = self.name.as_bytes();
        let mut values = headers.get_all(VIA).iter();
        // Whatever bytes a client has put before it.
        values.any(|value| value.as_bytes().windows(name.len()).any(|part| part == name))
    }
}

/// The protocols in a field of `Upgrade`.
fn protocols(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// What a server goes on with, if the client has offered all of it: a server must not choose what
/// it was not offered (RFC 9110 §7.8).
fn chosen_upgrade(headers: &HeaderMap, offered: &HeaderValue) -> Option<HeaderValue> {
    let mut fields = headers.get_all(UPGRADE).iter();
    let chosen = fields.next().filter(|_| fields.next().is_none())?;
    let is_offered = |one: &[u8]| protocols(offered).any(|other| other.eq_ignore_ascii_case(one));
    protocols(chosen).all(|one| !one.is_empty() && is_offered(one)).then(|| chosen.clone())
}

/// The protocol that a request asks to go on with, if that is one which can be passed on.
fn wanted_upgrade<B>(request: &Request<B>) -> Option<HeaderValue> {
    let wanted = request.headers().get(UPGRADE)?;
    let listed =
        request.headers().get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let mut listed = listed.flat_map(|value| value.split(','));
    let is_meant = listed.any(|token| token.trim().eq_ignore_ascii_case("upgrade"));
    let can = request.version() == Version::HTTP_11
        && !protocols(wanted).any(|protocol| protocol.eq_ignore_ascii_case(H2C));
    (is_meant && can).then(|| wanted.clone())
}

/// Whether a client would not understand an ordinary response.
pub(super) fn is_websocket<B>(request: &Request<B>) -> bool {
    request.method() == Method::GET
        && wanted_upgrade(request).is_some_and(|w| w.as_bytes().eq_ignore_ascii_case(WEBSOCKET))
}

/// A request on its way to an upstream.
pub(super) struct Passage<'a> {
    pub(super) cell: &'a Arc<UpstreamCell>,
    pub(super) origin: &'a Origin,
    pub(super) id: &'a HeaderValue,
    pub(super) via: &'a Via,
    /// Bytes that the request's body may have.
    pub(super) most_bytes: u64,
    pub(super) point: Option<u32>,
    pub(super) exchange: &'a Arc<Exchange>,
}

impl Passage<'_> {
    pub(super) async fn forward(
        self,
        request: Request<Incoming>,
        admitted: Admitted,
    ) -> Result<Response<Content>, Code> {
        let Self { cell, origin, id, via, most_bytes, point, exchange } = self;
        exchange.for_service(cell.name(), Arc::clone(cell.stats()));
        if via.has_passed(request.headers()) {
            return Err(Code::LoopDetected);
        }
        // A server that leaves HTTP in the middle of a body leaves nobody who knows where it ends.
        let protocol = wanted_upgrade(&request).filter(|_| request.body().is_end_stream());
        let (mut head, body) = request.into_parts();
        headers::for_guest(&mut head.headers, origin, &admitted.authority, id);
        head.headers.append(VIA, via.value.clone());
        let client = match &protocol {
            Some(protocol) => {
                set_upgrade(&mut head.headers, protocol.clone());
                head.extensions.remove::<OnUpgrade>()
            }
            None => None,
        };
        let body = outgoing(body, most_bytes, cell, exchange);
        let mut request = Request::new(body);
        *request.method_mut() = head.method;
        *request.uri_mut() = Uri::from(admitted.target);
        *request.headers_mut() = head.headers;
        let sent = Sent { request, upgrade: protocol.is_some(), point };
        let answer = cell.send(sent).await.map_err(|error| {
            exchange.sent_to(error.server);
            tracing::debug!(upstream = %cell.name(), request = exchange.id(),
                code = error.code.as_str(), detail = error.detail, "the upstream did not answer");
            error.code
        })?;
        exchange.sent_to(Some(answer.server));
        let forwarded = |body| Content::Upstream(Forwarded::new(body, Arc::clone(exchange)));
        let mut response = answer.response.map(forwarded);
        let chosen = protocol.and_then(|offered| chosen_upgrade(response.headers(), &offered));
        headers::for_client(response.headers_mut());
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let (Some(tunnel), Some(client), Some(chosen)) = (answer.tunnel, client, chosen) else {
                // Nobody has asked for this protocol.
                return Err(Code::UpstreamFailed);
            };
            set_upgrade(response.headers_mut(), chosen);
            let after = pass_on(tunnel, client, Arc::clone(exchange));
            response.extensions_mut().insert(AfterUpgrade::new(after));
        }
        Ok(response)
    }
}

fn outgoing(
    body: Incoming,
    most_bytes: u64,
    cell: &UpstreamCell,
    exchange: &Arc<Exchange>,
) -> Outgoing {
    if body.is_end_stream() {
        return Outgoing::Empty;
    }
    let idle = cell.upstream().policy.idle_timeout;
    let body = RequestBody::new(body, most_bytes, idle, Arc::clone(exchange));
    let passed = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&passed);
    let body = body.map_err(Into::into).map_frame(move |frame| {
        count.fetch_add(1, Ordering::Relaxed);
        frame
    });
    Outgoing::Stream { body: body.boxed_unsync(), passed }
}

fn set_upgrade(headers: &mut HeaderMap, protocol: HeaderValue) {
    const UPGRADE_TOKEN: HeaderValue = HeaderValue::from_static("upgrade");
    let fields: [(HeaderName, HeaderValue); 2] = [(CONNECTION, UPGRADE_TOKEN), (UPGRADE, protocol)];
    for (name, value) in fields {
        headers.insert(name, value);
    }
}

async fn pass_on(tunnel: Tunnel, client: OnUpgrade, exchange: Arc<Exchange>) {
    let passed = tunnel.run(client).await;
    let bytes = |count: AtomicU64| usize::try_from(count.into_inner()).unwrap_or(usize::MAX);
    exchange.add_bytes_in(bytes(passed.up));
    exchange.add_bytes_out(bytes(passed.down));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_chooses_among_what_it_was_offered() {
        let chosen = |offered: &'static str, fields: &[&'static str]| {
            let fields = fields.iter().map(|field| (UPGRADE, HeaderValue::from_static(field)));
            let headers: HeaderMap = fields.collect();
            let chosen = chosen_upgrade(&headers, &HeaderValue::from_static(offered));
            chosen.map(|value| value.to_str().expect("text").to_owned())
        };
        assert_eq!(chosen("websocket", &["WebSocket"]).as_deref(), Some("WebSocket"));
        assert_eq!(chosen("foo/2, bar", &["foo/2"]).as_deref(), Some("foo/2"));
        assert_eq!(chosen("foo/2, bar", &["bar, foo/2"]).as_deref(), Some("bar, foo/2"));
        for (offered, fields) in [
            ("websocket", &[][..]),
            ("websocket", &[""]),
            ("websocket", &["other"]),
            ("foo/2", &["foo"]),
            ("websocket", &["websocket, other"]),
            ("websocket, other", &["websocket", "other"]),
        ] {
            assert_eq!(chosen(offered, fields), None, "{offered}: {fields:?}");
        }
    }
}
