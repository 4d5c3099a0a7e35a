//! Calls of services of this node: `http://NAME.wharf.internal/`.
//!
//! No socket and no name server has a part in it. A call takes a place on a task of the service as
//! any request does: it waits in the same queue, wakes the service, is split over its revisions,
//! and is bounded by the same limits.
//!
//! *Invariant:* a caller keeps its own place while it waits. A circle of services that are at
//! their maximum is ended by the bounds of a queue or by a deadline, never by nobody.

use std::sync::Arc;

use http::header::{HOST, HeaderName};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};
use wasmtime_wasi_http::WasiBody;

use crate::clock;
use crate::model::{Code, INTERNAL_ZONE, Name, OriginScheme};
use crate::runtime::sizes::check_size;
use crate::telemetry::{Exchange, TakenBy};

use super::super::invoke::{Invocation, TRACEPARENT};
use super::super::problem;
use super::super::reply::{Reply, ReplyBody};
use super::super::service::{Pick, ServiceCell};
use super::super::task::Slot;
use super::body::{Receiving, Rest, Sending, Source};
use super::caller::{Caller, Places};
use super::failed::Failed;
use super::pool::Key;
use super::request::Times;

/// Calls that may stand behind each other.
const MOST_DEPTH: u8 = 8;
/// Names the service that calls. A client cannot say it: the load balancer takes it away.
const CALLER: HeaderName = HeaderName::from_static("wharf-caller");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// What the load balancer says of clients, which is nobody else's to say.
const CLAIMS: [HeaderName; 6] = [
    http::header::FORWARDED,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-real-ip"),
];
/// Fields that start with this are Wharf's own.
const OWN_PREFIX: &str = "wharf-";

impl Caller {
    /// The service of this name, if the role grants calling it.
    pub(super) fn callee(&self, name: &str, key: &Key) -> Result<Arc<ServiceCell>, Failed> {
        if (key.scheme, key.port) != (OriginScheme::Http, 80) {
            let note = format!("services are called as http://{name}.{INTERNAL_ZONE}/");
            return Err(Failed::denied(note));
        }
        let name: Name = name.parse().map_err(|_| Failed::no_service(name))?;
        if !self.role().services.contain(&name) {
            let role = self.role().name.as_ref().map_or("NAME", |role| role.as_str());
            let note = format!(
                "the role does not grant calling {name}: add `services = [\"{name}\"]` to \
                 [role.{role}]"
            );
            return Err(Failed::denied(note));
        }
        if self.exchange.depth() >= MOST_DEPTH {
            return Err(Failed::loops(MOST_DEPTH));
        }
        self.cell.other_service(&name).ok_or_else(|| Failed::no_service(name.as_str()))
    }

    /// Calls a service that the role grants. What the service, or the node, has to say is a
    /// response; only a caller that has no more time gets none.
    pub(super) async fn call(
        self: &Arc<Self>,
        service: &Arc<ServiceCell>,
        request: Request<WasiBody>,
        times: &Times,
        places: Places,
    ) -> Result<Response<WasiBody>, Failed> {
        let (method, path) = (request.method().clone(), path_of(&request));
        let host = request.uri().authority().map_or_else(Default::default, ToString::to_string);
        let exchange = self.exchange.call(self.cell.service(), method.clone(), request.uri());
        exchange.for_service(service.name(), Arc::clone(service.stats()));
        let (mut head, body) = request.into_parts();
        head.uri = Uri::from(path);
        self.dress(&mut head.headers, &host);
        let request = Request::from_parts(head, body);
        let head_until = Instant::from_std(clock::now()) + times.first_byte;
        let until = times.until.min(head_until);
        let answered = self.invoke(service, request, &exchange);
        let answered = timeout_at(until, answered).await.map_err(|_| Failed::response_timeout())?;
        let reply = answered.unwrap_or_else(|code| refusal(code, &exchange));
        exchange.set_status(reply.status());
        let (mut head, mut body) = reply.into_parts();
        if method == Method::HEAD {
            // Nobody wants the body: its guest is stopped now, and that is no failure.
            exchange.decide(Code::Ok);
            body = ReplyBody::whole(Vec::new());
        }
        strip_own(&mut head.headers, |name| *name != problem::ERROR);
        let rest = Rest { places: Box::new((places, exchange)), finish: None };
        let body = Receiving::new(Source::Service(body), times.terms(self.limits()), rest);
        Ok(Response::from_parts(head, body.boxed_unsync()))
    }

    async fn invoke(
        &self,
        service: &Arc<ServiceCell>,
        request: Request<WasiBody>,
        exchange: &Arc<Exchange>,
    ) -> Result<Reply, Code> {
        let headers = request.headers();
        let slot = service.acquire(Pick::default(), |limits| check_size(headers, limits)).await;
        let slot = slot.map_err(|refusal| refusal.code())?;
        exchange.taken_by(taken_by(&slot), Arc::clone(slot.stats()), slot.waited);
        if let Some(took) = slot.cold_start {
            exchange.cold_start(took);
        }
        let limits = &slot.deployment().definition.limits;
        check_size(headers, limits)?;
        let most = limits.request_body.min(self.limits().request_bytes);
        let (head, body) = request.into_parts();
        let (body, _) = Sending::new(body, most.0, Some(Arc::clone(exchange)));
        let request = Request::from_parts(head, body.boxed_unsync());
        let (exchange, clean_trailers) = (Arc::clone(exchange), no_trailer_is_ours);
        let invocation = Invocation { slot, request, secure: false, exchange, clean_trailers };
        self.runtime.invoke(invocation).await
    }

    /// Makes the caller's fields into those that the service sees.
    fn dress(&self, headers: &mut HeaderMap, host: &str) {
        CLAIMS.iter().for_each(|name| drop(headers.remove(name)));
        strip_own(headers, |_| true);
        let caller = self.cell.service().as_str();
        for (name, value) in [(HOST, host), (REQUEST_ID, self.exchange.id()), (CALLER, caller)] {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        }
        if let Some(trace) = &self.trace {
            headers.entry(TRACEPARENT).or_insert_with(|| trace.clone());
        }
    }
}

fn taken_by(slot: &Slot) -> TakenBy {
    TakenBy {
        revision: slot.revision(),
        definition: slot.deployment().definition.id.clone(),
        task: slot.task_number(),
    }
}

/// What a client of the load balancer would be answered.
fn refusal(code: Code, exchange: &Exchange) -> Reply {
    exchange.decide(code);
    let code = exchange.code().filter(|code| *code != Code::Ok).unwrap_or(code);
    problem::response(code, None, exchange.id()).map(ReplyBody::whole)
}

/// The guest has set them, and wasmtime has refused those that it may not set.
fn no_trailer_is_ours(trailers: &mut HeaderMap) {
    strip_own(trailers, |_| true);
}

fn strip_own(headers: &mut HeaderMap, is_taken: impl Fn(&HeaderName) -> bool) {
    let own = headers.keys().filter(|name| name.as_str().starts_with(OWN_PREFIX) && is_taken(name));
    let own: Vec<HeaderName> = own.cloned().collect();
    own.iter().for_each(|name| drop(headers.remove(name)));
}

fn path_of(request: &Request<WasiBody>) -> PathAndQuery {
    let path = request.uri().path_and_query().cloned();
    path.unwrap_or_else(|| PathAndQuery::from_static("/"))
}
