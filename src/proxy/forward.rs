//! From a request to its response.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::header::{HeaderName, LOCATION, STRICT_TRANSPORT_SECURITY};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;

use crate::listener::{Channel, Peer, Refused, Serve};
use crate::model::{Code, Limits};
use crate::runtime::{
    Backend, Invocation, Pick, Reply, ReplyBody, Routes, Runtime, ServiceCell, Slot, Target,
    check_size,
};
use crate::telemetry::{AccessLog, Exchange, ExchangeStart, TakenBy, Unparsed};

use super::admit::{Admitted, Rejected, admit};
use super::balancer::ProxyParts;
use super::edge::{Edge, strict_transport, to_https};
use super::failure::Failure;
use super::headers::{self, REQUEST_ID};
use super::ids::RequestIds;
use super::mirror::Original;
use super::origin::Origin;
use super::request_body::RequestBody;
use super::response_body::{Content, ResponseBody};
use super::rules::Passed;
use super::upstream::{Passage, Via, is_websocket};

const COLD_START: HeaderName = HeaderName::from_static("wharf-cold-start");
/// Stands in the access line of what was no request, where the method would.
const NO_METHOD: &[u8] = b"-";
/// What is said to plain HTTP on the port of TLS.
const SPEAKS_TLS: &str = "this port speaks HTTPS; the request came in plain HTTP";

/// What every connection shares.
pub(super) struct Front {
    edge: Edge,
    routes: Arc<Routes>,
    runtime: Runtime,
    log: Option<AccessLog>,
    body_idle: Duration,
    ids: RequestIds,
    via: Via,
    unparsed: Arc<Unparsed>,
}

impl Front {
    pub(super) fn new(parts: ProxyParts) -> Self {
        let ProxyParts { edge, routes, runtime, log, bounds, .. } = parts;
        let (ids, via, unparsed) = (RequestIds::new(), Via::new(), Arc::default());
        Self { edge, routes, runtime, log, body_idle: bounds.idle_timeout, ids, via, unparsed }
    }

    /// Counters of what was no request.
    pub(super) fn unparsed(&self) -> &Arc<Unparsed> {
        &self.unparsed
    }

    async fn forward(
        &self,
        request: Request<Incoming>,
        admitted: Admitted,
        origin: &Origin,
        id: &HeaderValue,
        exchange: &Arc<Exchange>,
    ) -> Result<Response<Content>, Failure> {
        let Target { backend, rules } = self.find(&admitted).ok_or(Code::NoRoute)?;
        let (service, only) = match backend {
            Backend::Service { service, only } => (service, only),
            Backend::Upstream(cell) => {
                exchange.for_service(cell.name(), Arc::clone(cell.stats()));
                let (head, body) = request.into_parts();
                let passed = Passed::by(rules.as_deref(), &head, origin)?;
                let (via, most_bytes, point) = (&self.via, passed.most_body, passed.pick.point);
                let passage = Passage { cell: &cell, origin, id, via, most_bytes, point, exchange };
                let request = Request::from_parts(head, body);
                // In a box of its own: the future of a request to a guest would have room for it.
                let answered = Box::pin(passage.forward(request, admitted));
                return Ok(passed.dress(answered.await?));
            }
        };
        exchange.for_service(service.name(), Arc::clone(service.stats()));
        if is_websocket(&request) {
            return Err(Code::UpgradeUnsupported.into());
        }
        let (mut head, body) = request.into_parts();
        let passed = Passed::by(rules.as_deref(), &head, origin)?;
        let pick = Pick { only, ..passed.pick };
        let slot = take(&service, pick, &head.headers, exchange).await?;
        let cold_start = slot.cold_start;
        let limits = &slot.deployment().definition.limits;
        headers::for_guest(&mut head.headers, origin, &admitted.authority, id);
        head.uri = Uri::from(admitted.target);
        let most = limits.request_body.0.min(passed.most_body);
        let body = RequestBody::new(body, most, self.body_idle, exchange.clone());
        let mirror = rules.as_ref().and_then(|rules| rules.steering.mirror.as_ref());
        let original = Original {
            service: &service,
            slot: &slot,
            head: &head,
            secure: origin.secure,
            exchange,
        };
        let body = original.mirrored(mirror, &self.runtime, body);
        let request = Request::from_parts(head, body);
        let reply = self.invoke(slot, request, origin.secure, exchange).await?;
        Ok(passed.dress(finish(reply, cold_start).map(Content::Guest)))
    }

    fn find(&self, admitted: &Admitted) -> Option<Target> {
        let routes = self.routes.load();
        routes.find(admitted.authority.host(), admitted.target.path()).cloned()
    }

    /// Where the request should have been sent instead.
    fn elsewhere(&self, admitted: &Admitted, origin: &Origin) -> Option<HeaderValue> {
        let port = self.edge.redirect.filter(|_| !origin.secure)?;
        to_https(admitted, port)
    }

    async fn invoke(
        &self,
        slot: Slot,
        request: Request<crate::runtime::WasiBody>,
        secure: bool,
        exchange: &Arc<Exchange>,
    ) -> Result<Reply, Failure> {
        let exchange = Arc::clone(exchange);
        let clean_trailers = headers::clean_trailers;
        let invocation = Invocation { slot, request, secure, exchange, clean_trailers };
        Ok(self.runtime.invoke(invocation).await?)
    }
}

impl Serve for Front {
    type Body = ResponseBody;

    async fn answer(&self, request: Request<Incoming>, peer: &Peer) -> Response<ResponseBody> {
        let (head, body) = request.into_parts();
        let admitted = admit_from(peer, &head);
        let origin = Origin::of(peer, &head.headers, &self.edge.trusted_proxies);
        let is_head = head.method == http::Method::HEAD;
        let id = headers::client_id(&head.headers).unwrap_or_else(|| self.ids.next());
        let start = ExchangeStart {
            id: id.clone(),
            method: head.method.clone(),
            authority: admitted.as_ref().ok().map(|admitted| admitted.authority.clone()),
            target: head.uri.path_and_query().cloned(),
            client: origin.client,
        };
        let exchange = Exchange::begin(start, self.log.clone());
        let result = match admitted {
            Ok(admitted) => match self.elsewhere(&admitted, &origin) {
                Some(location) => Ok(redirect(location, &exchange)),
                None => {
                    let request = Request::from_parts(head, body);
                    self.forward(request, admitted, &origin, &id, &exchange).await
                }
            },
            Err(rejected) => Err(Failure::from(rejected.code).saying(rejected.detail)),
        };
        if is_head && result.is_ok() {
            // Nobody wants the body: its guest is stopped now, and that is no failure.
            exchange.decide(Code::Ok);
        }
        if let (Err(failure), false) = (&result, exchange.has_service()) {
            self.unparsed.count_unrouted(failure.code);
        }
        let mut reply = result.unwrap_or_else(|failure| failure.answer(&exchange));
        reply.headers_mut().insert(REQUEST_ID, id);
        if let Some(max_age) = self.edge.hsts.filter(|_| origin.secure) {
            // What a service says for itself stands.
            let field = reply.headers_mut().entry(STRICT_TRANSPORT_SECURITY);
            field.or_insert_with(|| strict_transport(max_age));
        }
        exchange.set_status(reply.status());
        ResponseBody::of(reply, exchange)
    }

    fn stalled(body: &ResponseBody) {
        body.exchange.stall();
    }

    /// The parser has answered, or closed, before there was a request. The access line has what is
    /// known.
    fn refused(&self, peer: &Peer, refused: Refused) {
        let (count, code, status) = match refused {
            Refused::Malformed => (&self.unparsed.malformed, Code::BadRequest, Some(400)),
            Refused::TooLarge => (&self.unparsed.too_large, Code::HeadersTooLarge, Some(431)),
            Refused::Http2 => (&self.unparsed.http2, Code::BadRequest, None),
        };
        count.fetch_add(1, Ordering::Relaxed);
        if self.log.is_none() {
            return;
        }
        let id = self.ids.next();
        let method = Method::from_bytes(NO_METHOD).unwrap_or_default();
        let (authority, target) = (None, None);
        let start = ExchangeStart { id, method, authority, target, client: peer.client };
        let exchange = Exchange::begin(start, self.log.clone());
        exchange.decide(code);
        if let Some(status) = status.and_then(|status| StatusCode::from_u16(status).ok()) {
            exchange.set_status(status);
        }
    }
}

/// Admits a request that came the right way.
fn admit_from(peer: &Peer, head: &Parts) -> Result<Admitted, Rejected> {
    match peer.channel {
        Channel::Cleartext | Channel::Tls => admit(head),
        Channel::CleartextOnTls => Err(Rejected { code: Code::BadRequest, detail: SPEAKS_TLS }),
    }
}

/// Takes a place for a request on a task, and notes which.
pub(super) async fn take(
    service: &ServiceCell,
    pick: Pick,
    headers: &HeaderMap,
    exchange: &Exchange,
) -> Result<Slot, Code> {
    // What will be refused wakes nobody, and takes nobody's place.
    let fits = |limits: &Limits| check_size(headers, limits);
    let slot = service.acquire(pick, fits).await.map_err(|refusal| refusal.code())?;
    exchange.taken_by(taken_by(&slot), Arc::clone(slot.stats()), slot.waited);
    if let Some(took) = slot.cold_start {
        exchange.cold_start(took);
    }
    if !slot.waited.is_zero() {
        // What it waited for was perhaps not known before.
        check_size(headers, &slot.deployment().definition.limits)?;
    }
    Ok(slot)
}

fn taken_by(slot: &Slot) -> TakenBy {
    TakenBy {
        revision: slot.revision(),
        definition: slot.deployment().definition.id.clone(),
        task: slot.task_number(),
    }
}

fn finish(mut reply: Reply, cold_start: Option<Duration>) -> Reply {
    headers::for_client(reply.headers_mut());
    if let Some(took) = cold_start {
        let value = format!("{:.3}ms", took.as_secs_f64() * 1e3);
        if let Ok(value) = HeaderValue::try_from(value) {
            reply.headers_mut().insert(COLD_START, value);
        }
    }
    reply
}

fn redirect(location: HeaderValue, exchange: &Exchange) -> Response<Content> {
    exchange.decide(Code::Ok);
    let mut response = Response::new(Content::Guest(ReplyBody::whole(Vec::new())));
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    response.headers_mut().insert(LOCATION, location);
    response
}
