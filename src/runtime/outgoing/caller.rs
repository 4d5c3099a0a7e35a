//! One request of a service, as the sender of others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

use http::{HeaderValue, Request, Response};
use tokio::time::Instant;
use wasmtime_wasi_http::{Error as WasiError, RequestOptions, WasiBody};

use crate::model::{Role, RoleLimits, internal_name};
use crate::telemetry::{Exchange, sanitise};

use super::super::deployment::Deployment;
use super::super::invoke::Runtime;
use super::super::revision::RevisionCell;
use super::failed::{Failed, Outcome};
use super::outlet::{Outlet, UnderWay};
use super::pool::Key;
use super::request::{Times, key_of};

/// Requests that one request may have under way at once: each is a task of the host.
const MOST_AT_ONCE: u32 = 16;

/// What a request that may send others is made with.
pub(in crate::runtime) struct Caller {
    pub(super) runtime: Runtime,
    pub(super) deployment: Arc<Deployment>,
    pub(super) cell: Arc<RevisionCell>,
    pub(super) exchange: Arc<Exchange>,
    /// When the request itself is over.
    pub(super) deadline: Instant,
    /// What it says about the trace that it belongs to (W3C Trace Context).
    pub(super) trace: Option<HeaderValue>,
    pub(super) task: u64,
    under_way: AtomicU32,
    noted: AtomicBool,
}

/// A request's places, until the last byte of its response.
pub(super) struct Places {
    pub(super) caller: Arc<Caller>,
    _under_way: UnderWay,
}

impl Drop for Places {
    fn drop(&mut self) {
        self.caller.under_way.fetch_sub(1, Relaxed);
    }
}

/// Says how a request ended, if nobody else has: then its guest did not wait for that.
struct Counting {
    outlet: Arc<Outlet>,
    outcome: Outcome,
}

impl Drop for Counting {
    fn drop(&mut self) {
        self.outlet.count(self.outcome);
    }
}

impl Caller {
    pub(in crate::runtime) fn new(
        runtime: Runtime,
        deployment: Arc<Deployment>,
        (cell, task): (Arc<RevisionCell>, u64),
        exchange: Arc<Exchange>,
        deadline: Instant,
        trace: Option<HeaderValue>,
    ) -> Arc<Self> {
        Arc::new(Self {
            runtime,
            deployment,
            cell,
            exchange,
            deadline,
            trace,
            task,
            under_way: AtomicU32::new(0),
            noted: AtomicBool::new(false),
        })
    }

    /// Sends a request. Dropping the future, or a body that has not ended, ends it.
    pub(in crate::runtime) async fn send(
        self: Arc<Self>,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
    ) -> Result<Response<WasiBody>, WasiError> {
        let outlet = Arc::clone(self.cell.outlet());
        let mut counting = Counting { outlet, outcome: Outcome::Abandoned };
        let to = request.uri().authority().map_or_else(String::new, ToString::to_string);
        match self.try_send(&counting.outlet, request, options).await {
            Ok(response) => {
                counting.outcome = Outcome::Answered;
                Ok(response)
            }
            Err(failed) => {
                counting.outcome = failed.outcome;
                self.note(&to, &failed.note);
                Err(failed.error)
            }
        }
    }

    async fn try_send(
        self: &Arc<Self>,
        outlet: &Arc<Outlet>,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
    ) -> Result<Response<WasiBody>, Failed> {
        let key = key_of(&request)?;
        let times = Times::of(options, self.limits(), self.deadline);
        if let Some(name) = internal_name(&key.host) {
            let service = self.callee(name, &key)?;
            let places = self.enter(outlet)?;
            return self.call(&service, request, &times, places).await;
        }
        let Key { scheme, host, port } = &key;
        if !self.role().permits(*scheme, host, *port, request.method()) {
            return Err(Failed::denied(self.advice(&key, request.method())));
        }
        let places = self.enter(outlet)?;
        self.ask(outlet, key, request, &times, places).await
    }

    pub(super) fn role(&self) -> &Role {
        &self.deployment.definition.role
    }

    pub(super) fn limits(&self) -> &RoleLimits {
        &self.role().limits
    }

    fn enter(self: &Arc<Self>, outlet: &Arc<Outlet>) -> Result<Places, Failed> {
        let one_more = |count| (count < MOST_AT_ONCE).then_some(count + 1);
        if self.under_way.fetch_update(Relaxed, Relaxed, one_more).is_err() {
            let note = format!("a request has at most {MOST_AT_ONCE} others under way");
            return Err(Failed::limited(note));
        }
        match outlet.enter(self.limits()) {
            Ok(under_way) => Ok(Places { caller: Arc::clone(self), _under_way: under_way }),
            Err(failed) => {
                self.under_way.fetch_sub(1, Relaxed);
                Err(failed)
            }
        }
    }

    /// What to write into the role.
    fn advice(&self, key: &Key, method: &http::Method) -> String {
        let Key { scheme, host, port } = key;
        let origin = match *port == scheme.default_port() {
            true => format!("{}://{host}", scheme.as_str()),
            false => format!("{}://{host}:{port}", scheme.as_str()),
        };
        let role = self.role().name.as_ref().map_or("NAME", |name| name.as_str());
        format!(
            "the role does not grant {method} to {origin}: add `outbound = [\"{origin}\"]` to \
             [role.{role}]"
        )
    }

    /// One note a request: a guest that tries in a loop does not fill its own log.
    fn note(&self, to: &str, why: &str) {
        if self.noted.swap(true, Relaxed) {
            return;
        }
        let id = self.exchange.id();
        let text = format!("[request {id}: outbound HTTP to {to}: {why}]");
        self.cell.logs().note(self.task, sanitise(text.as_bytes()));
    }
}

/// What is said where a task has no role, or none that grants anything.
pub(in crate::runtime) fn advice_without_role(to: &str) -> String {
    format!(
        "[outbound HTTP to {to} was refused: the task's role grants none. Give the task a `role`, \
         and the role an `outbound`]"
    )
}
