//! Copies of requests, whose answers nobody waits for.
//!
//! *Invariant:* a copy takes nothing of the request that it is made of: no time, no place, no
//! answer. Whatever goes wrong with it is counted, and no more.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderName};
use http::request::Parts;
use http::{HeaderValue, Request};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use tokio::runtime::Handle;

use crate::model::{Code, Mirror, MirrorTo};
use crate::runtime::{
    Invocation, MirrorOutcome, MirrorPlace, Pick, Reply, Runtime, ServiceCell, Slot, WasiBody,
};
use crate::telemetry::Exchange;

use super::forward::take;
use super::headers;
use super::request_body::{RequestBody, Unread};

/// Tells a guest that nobody waits for its answer. A client cannot say it.
const MIRRORED: HeaderName = HeaderName::from_static("wharf-mirror");
/// The largest body that is kept in memory for a copy.
const MOST_BODY: usize = 64 << 10;

/// A request as it is passed on.
pub(super) struct Original<'a> {
    /// What takes it.
    pub(super) service: &'a Arc<ServiceCell>,
    pub(super) slot: &'a Slot,
    /// As its guest sees it.
    pub(super) head: &'a Parts,
    pub(super) secure: bool,
    pub(super) exchange: &'a Arc<Exchange>,
}

impl Original<'_> {
    /// The body that is passed on, and a copy of the request on its way, if there is to be one.
    pub(super) fn mirrored(
        &self,
        mirror: Option<&Mirror>,
        runtime: &Runtime,
        body: RequestBody,
    ) -> WasiBody {
        let copy = mirror.and_then(|mirror| self.copy(mirror, runtime, &body));
        match copy {
            None => body.map_err(Into::into).boxed_unsync(),
            Some(copy) if copy.missing == 0 => {
                copy.send();
                body.map_err(Into::into).boxed_unsync()
            }
            Some(copy) => Tee { body, copy: Some(copy) }.map_err(Into::into).boxed_unsync(),
        }
    }

    fn copy(&self, mirror: &Mirror, runtime: &Runtime, body: &RequestBody) -> Option<Copy> {
        let mirrors = self.service.mirrors();
        // What went there anyway needs no copy there.
        let is_there = mirror.revision() == Some(self.slot.revision());
        if is_there || !mirrors.is_next(mirror.percent) {
            return None;
        }
        let Some(missing) = body_bytes(self.head, body) else {
            mirrors.count(MirrorOutcome::Body);
            return None;
        };
        let Some(place) = MirrorPlace::take(self.service) else {
            mirrors.count(MirrorOutcome::Busy);
            return None;
        };
        let mut request = Request::new(());
        request.method_mut().clone_from(&self.head.method);
        request.uri_mut().clone_from(&self.head.uri);
        request.headers_mut().clone_from(&self.head.headers);
        request.headers_mut().insert(MIRRORED, HeaderValue::from_static("1"));
        Some(Copy {
            to: mirror.to.clone(),
            request,
            body: Vec::new(),
            missing,
            secure: self.secure,
            exchange: Arc::clone(self.exchange),
            runtime: runtime.clone(),
            threads: Handle::current(),
            place,
        })
    }
}

/// How long the body is, if a copy can have it.
fn body_bytes(head: &Parts, body: &RequestBody) -> Option<usize> {
    if body.is_end_stream() {
        return Some(0);
    }
    let declared = head.headers.get(CONTENT_LENGTH)?.to_str().ok()?;
    declared.parse().ok().filter(|bytes| *bytes <= MOST_BODY)
}

/// A copy that is not sent yet.
struct Copy {
    to: MirrorTo,
    request: Request<()>,
    body: Vec<u8>,
    /// Bytes of the body that are still to come.
    missing: usize,
    secure: bool,
    /// That of the original.
    exchange: Arc<Exchange>,
    runtime: Runtime,
    /// Those that carry bytes: the end of a body is seen on those of guests.
    threads: Handle,
    place: MirrorPlace,
}

impl Copy {
    fn send(self) {
        self.threads.clone().spawn(self.run());
    }

    async fn run(self) {
        let Self { to, request, body, secure, exchange: original, runtime, place, .. } = self;
        let from = place.service();
        let (target, pick) = match to {
            MirrorTo::Revision(number) => {
                let pick = Pick { only: Some(number), ..Pick::default() };
                (from.is_ready(number).then(|| Arc::clone(from)), pick)
            }
            MirrorTo::Service(name) => (from.other(&name), Pick::default()),
        };
        let Some(target) = target else { return from.mirrors().count(MirrorOutcome::Absent) };
        from.mirrors().count(MirrorOutcome::Sent);
        let exchange = original.copy();
        // It is written down when the last lets go of it, which must not wait for the copy.
        drop(original);
        exchange.for_service(target.name(), Arc::clone(target.stats()));
        exchange.add_bytes_in(body.len());
        let body = Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync();
        match answer(&target, pick, request.map(|()| body), secure, &runtime, &exchange).await {
            Ok(reply) => {
                exchange.set_status(reply.status());
                let mut body = reply.into_body();
                while let Some(Ok(_)) = body.frame().await {}
            }
            Err(code) => {
                exchange.decide(code);
                exchange.set_status(code.status());
            }
        }
    }
}

async fn answer(
    target: &Arc<ServiceCell>,
    pick: Pick,
    request: Request<WasiBody>,
    secure: bool,
    runtime: &Runtime,
    exchange: &Arc<Exchange>,
) -> Result<Reply, Code> {
    let slot = take(target, pick, request.headers(), exchange).await?;
    let (exchange, clean_trailers) = (Arc::clone(exchange), headers::clean_trailers);
    runtime.invoke(Invocation { slot, request, secure, exchange, clean_trailers }).await
}

/// A body that is kept for a copy while it is passed on.
struct Tee {
    body: RequestBody,
    copy: Option<Copy>,
}

impl Tee {
    fn keep(&mut self, data: &Bytes) {
        let Some(copy) = &mut self.copy else { return };
        copy.body.extend_from_slice(data);
        copy.missing = copy.missing.saturating_sub(data.len());
        if copy.missing == 0
            && let Some(copy) = self.copy.take()
        {
            copy.send();
        }
    }
}

impl Body for Tee {
    type Data = Bytes;
    type Error = Unread;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Unread>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(data) = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()) {
            self.keep(data);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Tee {
    fn drop(&mut self) {
        if let Some(copy) = &self.copy {
            copy.place.service().mirrors().count(MirrorOutcome::Body);
        }
    }
}
