//! One request and its response, from the head to the last byte.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use http::uri::{Authority, PathAndQuery};
use http::{HeaderValue, Method, Uri};

use crate::clock;
use crate::model::{Code, Name, TaskDefinitionId};

use super::access::AccessLog;
use super::stats::{Ended, RevisionStats, ServiceStats};

/// What a request used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Instructions executed, instantiation included.
    pub fuel: u64,
    /// CPU time of the guest and of its instance's set-up and reset.
    pub cpu: Duration,
    /// Most bytes of memory that the instance held at once.
    pub peak_memory: u64,
    /// Request body bytes that the guest was given.
    pub bytes_in: u64,
    /// Response body bytes that the guest produced.
    pub bytes_out: u64,
}

/// What is known of a request when it arrives.
#[derive(Clone, Debug)]
pub struct ExchangeStart {
    /// The request id, as sent to the guest and back to the client.
    pub id: HeaderValue,
    /// The method.
    pub method: Method,
    /// The host that was asked for, if it could be read.
    pub authority: Option<Authority>,
    /// The path; its query is left out of the log.
    pub target: Option<PathAndQuery>,
    /// The client's address.
    pub client: std::net::SocketAddr,
}

/// Who served it.
#[derive(Debug)]
struct Served {
    by: TakenBy,
    stats: Arc<RevisionStats>,
}

/// The task that took a request.
#[derive(Clone, Debug)]
pub struct TakenBy {
    /// The revision of the service.
    pub revision: u64,
    /// What it runs.
    pub definition: TaskDefinitionId,
    /// The task's number within its service.
    pub task: u64,
}

/// A request under way. Shared by the connection and the guest; the last of them to let go
/// writes the access line and counts the request, when everything about it is known.
#[derive(Debug)]
pub struct Exchange {
    start: ExchangeStart,
    origin: Origin,
    started: Instant,
    service: OnceLock<(Name, Arc<ServiceStats>)>,
    target: OnceLock<Arc<str>>,
    served: OnceLock<Served>,
    log: Option<AccessLog>,
    code: AtomicU8,
    status: AtomicU64,
    wait_us: AtomicU64,
    cold_us: AtomicU64,
    cold: AtomicBool,
    fuel: AtomicU64,
    cpu_ns: AtomicU64,
    peak_memory: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

/// Who sent a request.
#[derive(Debug)]
enum Origin {
    /// A client.
    Client,
    /// This node: it is a copy, whose answer nobody waits for.
    Copy,
    /// A service of this node, and so many calls stand before it and behind a client.
    Service { caller: Name, depth: u8 },
}

/// No code has been decided yet.
const UNDECIDED: u8 = u8::MAX;

impl Exchange {
    /// Begins to follow a request. Without `log`, no line is written.
    pub fn begin(start: ExchangeStart, log: Option<AccessLog>) -> Arc<Self> {
        Arc::new(Self::new(start, Origin::Client, log))
    }

    /// Begins to follow a copy of this request.
    pub fn copy(&self) -> Arc<Self> {
        Arc::new(Self::new(self.start.clone(), Origin::Copy, self.log.clone()))
    }

    /// Begins to follow a request that the service `caller` sends to another because of this one.
    pub fn call(&self, caller: &Name, method: Method, uri: &Uri) -> Arc<Self> {
        let (id, client) = (self.start.id.clone(), self.start.client);
        let (authority, target) = (uri.authority().cloned(), uri.path_and_query().cloned());
        let start = ExchangeStart { id, method, authority, target, client };
        let depth = self.depth().saturating_add(1);
        let origin = Origin::Service { caller: caller.clone(), depth };
        Arc::new(Self::new(start, origin, self.log.clone()))
    }

    /// How many calls of services stand between a client and this request.
    pub fn depth(&self) -> u8 {
        match &self.origin {
            Origin::Service { depth, .. } => *depth,
            Origin::Client | Origin::Copy => 0,
        }
    }

    fn new(start: ExchangeStart, origin: Origin, log: Option<AccessLog>) -> Self {
        Self {
            start,
            origin,
            started: clock::now(),
            service: OnceLock::new(),
            target: OnceLock::new(),
            served: OnceLock::new(),
            log,
            code: AtomicU8::new(UNDECIDED),
            status: AtomicU64::new(0),
            wait_us: AtomicU64::new(0),
            cold_us: AtomicU64::new(0),
            cold: AtomicBool::new(false),
            fuel: AtomicU64::new(0),
            cpu_ns: AtomicU64::new(0),
            peak_memory: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
        }
    }

    /// The request id.
    pub fn id(&self) -> &str {
        self.start.id.to_str().unwrap_or_default()
    }

    /// Says which service the request is for.
    pub fn for_service(&self, name: &Name, stats: Arc<ServiceStats>) {
        let _ = self.service.set((name.clone(), stats));
    }

    /// The service that the request is for, if it is known.
    pub fn service_name(&self) -> Option<&Name> {
        self.service.get().map(|(name, _)| name)
    }

    /// Names the server of an upstream that the request was sent to last, if it was sent.
    pub fn sent_to(&self, target: Option<Arc<str>>) {
        if let Some(target) = target {
            let _ = self.target.set(target);
        }
    }

    /// Whether it is for a service.
    pub fn has_service(&self) -> bool {
        self.service.get().is_some()
    }

    /// Says which task took the request, and how long it had waited for it.
    pub fn taken_by(&self, by: TakenBy, stats: Arc<RevisionStats>, wait: Duration) {
        let _ = self.served.set(Served { by, stats });
        self.wait_us.store(micros(wait), Ordering::Relaxed);
    }

    /// Says that a task was started for this request, and how long that took.
    pub fn cold_start(&self, took: Duration) {
        self.cold.store(true, Ordering::Relaxed);
        self.cold_us.store(micros(took), Ordering::Relaxed);
    }

    /// Decides how the request ended. The first decision stands; returns whether this was it.
    pub fn decide(&self, code: Code) -> bool {
        let first = Ordering::AcqRel;
        self.code.compare_exchange(UNDECIDED, code as u8, first, Ordering::Acquire).is_ok()
    }

    /// Says that the client did not take what it was sent. If the response was fine until then,
    /// or nothing was decided, this is how the request ended.
    pub fn stall(&self) {
        if !self.decide(Code::ClientStalled) {
            let (fine, stalled) = (Code::Ok as u8, Code::ClientStalled as u8);
            let order = Ordering::AcqRel;
            let _ = self.code.compare_exchange(fine, stalled, order, Ordering::Acquire);
        }
    }

    /// How the request ended, if that has been decided.
    pub fn code(&self) -> Option<Code> {
        Code::from_u8(self.code.load(Ordering::Acquire))
    }

    /// Notes the status that the client is sent.
    pub fn set_status(&self, status: http::StatusCode) {
        self.status.store(u64::from(status.as_u16()), Ordering::Relaxed);
    }

    /// Notes what the instance used.
    pub fn set_instance_usage(&self, fuel: u64, peak_memory: u64) {
        self.fuel.store(fuel, Ordering::Relaxed);
        self.peak_memory.store(peak_memory, Ordering::Relaxed);
    }

    /// Adds CPU time.
    pub fn add_cpu(&self, cpu: Duration) {
        let ns = u64::try_from(cpu.as_nanos()).unwrap_or(u64::MAX);
        self.cpu_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// Adds request body bytes.
    pub fn add_bytes_in(&self, bytes: usize) {
        self.bytes_in.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Adds response body bytes and returns the new sum.
    pub fn add_bytes_out(&self, bytes: usize) -> u64 {
        self.bytes_out.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64
    }

    /// What was used so far.
    pub fn usage(&self) -> Usage {
        Usage {
            fuel: self.fuel.load(Ordering::Relaxed),
            cpu: Duration::from_nanos(self.cpu_ns.load(Ordering::Relaxed)),
            peak_memory: self.peak_memory.load(Ordering::Relaxed),
            bytes_in: self.bytes_in.load(Ordering::Relaxed),
            bytes_out: self.bytes_out.load(Ordering::Relaxed),
        }
    }

    /// Whether the client saw a failure that is not its own.
    fn has_failed(&self, code: Code) -> bool {
        self.status.load(Ordering::Relaxed) >= 500 || code.status().is_server_error()
    }

    fn line(&self, code: Code, duration: Duration, usage: &Usage) -> String {
        let served = self.served.get();
        let line = AccessLine {
            at: clock::rfc3339(clock::unix_ms()),
            id: self.id(),
            client: self.start.client,
            method: self.start.method.as_str(),
            host: self.start.authority.as_ref().map_or("", Authority::host),
            path: self.start.target.as_ref().map_or("", PathAndQuery::path),
            service: self.service.get().map(|(name, _)| name.as_str()),
            revision: served.map(|served| served.by.revision),
            definition: served.map(|served| served.by.definition.to_string()),
            task: served.map(|served| served.by.task),
            target: self.target.get().map(|target| &**target),
            mirror: matches!(self.origin, Origin::Copy),
            caller: match &self.origin {
                Origin::Service { caller, .. } => Some(caller.as_str()),
                Origin::Client | Origin::Copy => None,
            },
            status: self.status.load(Ordering::Relaxed),
            code: code.as_str(),
            duration_us: micros(duration),
            wait_us: self.wait_us.load(Ordering::Relaxed),
            cold_start_us: self
                .cold
                .load(Ordering::Relaxed)
                .then(|| self.cold_us.load(Ordering::Relaxed)),
            fuel: usage.fuel,
            cpu_us: micros(usage.cpu),
            peak_memory_bytes: usage.peak_memory,
            bytes_in: usage.bytes_in,
            bytes_out: usage.bytes_out,
        };
        serde_json::to_string(&line).unwrap_or_default()
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let code = self.code().unwrap_or(Code::ClientClosed);
        let duration = clock::now().saturating_duration_since(self.started);
        let usage = self.usage();
        let failed = self.has_failed(code);
        if let Some((_, stats)) = self.service.get() {
            let wait = Duration::from_micros(self.wait_us.load(Ordering::Relaxed));
            stats.record(Ended { code, failed }, duration, wait, &usage);
            if self.cold.load(Ordering::Relaxed) {
                stats.record_cold_start();
            }
        }
        if let Some(served) = self.served.get() {
            // A node without room says nothing about the revision.
            served.stats.record(failed && code != Code::NoCapacity, duration);
        }
        if let Some(log) = &self.log {
            log.write(self.line(code, duration, &usage));
        }
    }
}

/// The fields of the access log, in their order.
#[derive(serde::Serialize)]
struct AccessLine<'a> {
    at: String,
    id: &'a str,
    client: std::net::SocketAddr,
    method: &'a str,
    host: &'a str,
    path: &'a str,
    service: Option<&'a str>,
    revision: Option<u64>,
    definition: Option<String>,
    task: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    mirror: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    caller: Option<&'a str>,
    status: u64,
    code: &'static str,
    duration_us: u64,
    wait_us: u64,
    cold_start_us: Option<u64>,
    fuel: u64,
    cpu_us: u64,
    peak_memory_bytes: u64,
    bytes_in: u64,
    bytes_out: u64,
}

fn micros(value: Duration) -> u64 {
    u64::try_from(value.as_micros()).unwrap_or(u64::MAX)
}
