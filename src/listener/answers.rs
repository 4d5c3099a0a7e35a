//! The answers on one connection, and what they tell its client about the connection itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use http::header::CONNECTION;
use http::{HeaderValue, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use parking_lot::Mutex;

use crate::shutdown::{Draining, Shutdown};

use super::io::Link;
use super::taken::Taken;
use super::upgrade::AfterUpgrade;
use super::{Peer, Serve};

/// What the requests of a connection share.
pub(super) struct Answers<S> {
    pub(super) service: Arc<S>,
    pub(super) peer: Peer,
    link: Link,
    pub(super) shutdown: Shutdown,
    pub(super) draining: Draining,
    /// Whether there was a request.
    pub(super) served: AtomicBool,
    pub(super) goodbye: Goodbye,
    /// What goes on when the connection has left HTTP.
    pub(super) after: Mutex<Option<AfterUpgrade>>,
}

impl<S: Serve> Answers<S> {
    pub(super) fn new(
        service: Arc<S>,
        peer: Peer,
        link: Link,
        shutdown: Shutdown,
        draining: Draining,
    ) -> Self {
        let (served, goodbye, after) = Default::default();
        Self { service, peer, link, shutdown, draining, served, goodbye, after }
    }

    /// Notes that a request has come.
    pub(super) fn take_note(&self, request: &Request<Incoming>) {
        self.served.store(true, Relaxed);
        if self.draining.is_on() && !is_http1(request) {
            self.goodbye.ask();
        }
    }

    /// The answer. Over HTTP/1 it says whether the connection ends with it.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response<Taken<S>> {
        let is_http1 = is_http1(&request);
        let is_last = self.shutdown.is_replaced();
        let mut response = self.service.answer(request, &self.peer).await;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            *self.after.lock() = response.extensions_mut().remove::<AfterUpgrade>();
        } else if is_http1 && (is_last || self.draining.is_on()) {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response.map(|body| Taken::new(body, self.link.clone()))
    }
}

fn is_http1(request: &Request<Incoming>) -> bool {
    request.version() < Version::HTTP_2
}

/// Whether an HTTP/2 client is to be told to go away, and whether it was. What it has asked for by
/// then is answered.
#[derive(Default)]
pub(super) struct Goodbye {
    asked: AtomicBool,
    said: AtomicBool,
}

impl Goodbye {
    pub(super) fn ask(&self) {
        self.asked.store(true, Relaxed);
    }

    /// Whether it is to be said now: once.
    pub(super) fn is_due(&self) -> bool {
        self.asked.load(Relaxed) && !self.said.swap(true, Relaxed)
    }

    pub(super) fn was_said(&self) -> bool {
        self.said.load(Relaxed)
    }
}
