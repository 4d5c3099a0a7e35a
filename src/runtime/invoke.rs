//! One request in one fresh instance.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::Instant;
use wasmtime::Store;
use wasmtime_wasi_http::WasiBody;
use wasmtime_wasi_http::WasiHttpView as _;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;

use crate::clock;
use crate::model::{Code, Limits};
use crate::telemetry::{Exchange, LogBook, sanitise};

use super::cpu::{Gate, Turn};
use super::deployment::Deployment;
use super::drive::{Driven, ReplySender, Terms, drive};
use super::engine::Engine;
use super::host::Host;
use super::loader::{LoadError, Loaded};
use super::memory::{Budget, InstanceMemory, base_bytes, prepaid_bytes};
use super::outcome::classify;
use super::outgoing::{Caller, Outside};
use super::reply::{Reply, StopGuest};
use super::task::Slot;
use super::ticker::Running;

/// Component handles that an instance may hold for each host resource that it may.
const HANDLES_PER_RESOURCE: usize = 4;
/// Wall-clock time of the one instantiation that a deployment is tried with.
const TRIAL_TIME: Duration = Duration::from_secs(10);
/// Polls of guests between two looks at timers and sockets: a guest may run for milliseconds.
const GUEST_EVENT_INTERVAL: u32 = 8;
/// Polls of guests between two looks at the queue in which new requests arrive. tokio begins with
/// 61: seconds, when guests that call the host all the time fill every thread.
const GUEST_QUEUE_INTERVAL: u32 = 2;

/// Guest threads beside those that have a turn.
const SPARE_THREADS: usize = 2;
/// W3C Trace Context.
pub(super) const TRACEPARENT: http::HeaderName = http::HeaderName::from_static("traceparent");

/// A request with the slot that it takes.
pub struct Invocation {
    /// The place on a task.
    pub slot: Slot,
    /// What the guest is to see.
    pub request: http::Request<WasiBody>,
    /// Whether its scheme is HTTPS.
    pub secure: bool,
    /// What is known about it.
    pub exchange: Arc<Exchange>,
    /// Takes out of a guest's trailers what must not stand there.
    pub clean_trailers: fn(&mut http::HeaderMap),
}

/// Runs guests on threads of their own. Cheap to clone.
#[derive(Clone)]
pub struct Runtime {
    engine: Engine,
    guests: Handle,
    gate: Arc<Gate>,
    memory: Arc<Budget>,
    outside: Arc<Outside>,
}

impl Runtime {
    /// The threads that guests run on, apart from those that carry bytes: a guest that computes
    /// for milliseconds delays no connection. There are more of them than turns, so that somebody
    /// is left to join the queue for one, and to run when a turn was lent.
    pub fn guest_threads(count: usize) -> std::io::Result<tokio::runtime::Runtime> {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(count.max(1) + SPARE_THREADS)
            .thread_name("wharf-guest")
            // Guests keep the priority of the load balancer: see docs/decisions/0009.
            // A guest's first fault must not be the moment to allocate a signal stack.
            .on_thread_start(wasmtime::Engine::tls_eager_initialize)
            .event_interval(GUEST_EVENT_INTERVAL)
            .global_queue_interval(GUEST_QUEUE_INTERVAL)
            .enable_all()
            .build()
    }

    /// Runs guests of `engine` on `guests`, so many at once as there are `cores`. What they send is
    /// carried by the threads that this is called on, and led nowhere private.
    pub fn new(engine: Engine, guests: Handle, cores: usize) -> Self {
        let memory = Budget::new(engine.sizing().memory_bytes);
        let gate = Gate::new(cores);
        engine.ticker().watch(&gate);
        let outside = Arc::new(Outside::public(Handle::current()));
        Self { engine, guests, gate, memory, outside }
    }

    /// The same with another view of what is outside of the node.
    pub fn seeing(self, outside: Outside) -> Self {
        Self { outside: Arc::new(outside), ..self }
    }

    /// What is outside of the node.
    pub fn outside(&self) -> &Arc<Outside> {
        &self.outside
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// What the instances of all tasks hold.
    pub fn memory(&self) -> &Arc<Budget> {
        &self.memory
    }

    /// Runs the request and returns the response as soon as its head may leave.
    ///
    /// Dropping the future, or a body that has not ended, stops the guest. The time limit is
    /// kept here, on a thread that no guest runs on.
    pub async fn invoke(&self, invocation: Invocation) -> Result<Reply, Code> {
        let exchange = Arc::clone(&invocation.exchange);
        let (logs, task) = (Arc::clone(invocation.slot.logs()), invocation.slot.task_number());
        let timeout = invocation.slot.deployment().definition.limits.timeout;
        let deadline = Instant::from_std(clock::now()) + timeout;
        let (sender, reply) = oneshot::channel();
        let who = invocation.slot.who(Arc::clone(&exchange));
        let run = run(self.clone(), invocation, deadline, sender);
        let turn = Turn::new(run, who, Arc::clone(&self.gate), self.engine.ticker().hurry());
        let guest = self.guests.spawn(turn).abort_handle();
        let guest = StopGuest::new(guest, Arc::clone(&exchange));
        match tokio::time::timeout_at(deadline, reply).await {
            Ok(Ok(Ok(mut reply))) => {
                reply.body_mut().attach(guest);
                Ok(reply)
            }
            Ok(Ok(Err(code))) => Err(code),
            Ok(Err(_)) => {
                exchange.decide(Code::Internal);
                Err(exchange.code().unwrap_or(Code::Internal))
            }
            Err(_) => {
                exchange.decide(Code::RequestTimeout);
                note(&logs, task, &exchange, Code::RequestTimeout, "it had no response yet");
                Err(Code::RequestTimeout)
            }
        }
    }

    /// Instantiates the component once under the definition's limits, as a deployment is tried
    /// before it takes requests.
    pub async fn try_out(
        &self,
        loaded: Arc<Loaded>,
        deployment: &Deployment,
    ) -> Result<(), LoadError> {
        loaded.check_fit(&deployment.definition.limits)?;
        let limits = deployment.definition.limits.clone();
        let logs = LogBook::new(deployment.definition.id.family.clone());
        let task = Budget::new(limits.memory.0);
        let memory = begin_memory(&limits, task, Arc::clone(&self.memory))
            .ok_or_else(|| LoadError::StartFailed("the node has no memory left".to_owned()))?;
        let host = Host::new(deployment, memory, (&logs, 0), None);
        let engine = self.engine.clone();
        let trial = self.guests.spawn(async move {
            let _running = engine.ticker().guest();
            let mut store = new_store(&engine, host, &limits)?;
            let result = loaded.pre.instantiate_async(&mut store).await;
            result.map(drop).map_err(|error| classify(&error, store.data().memory.denied()).1)
        });
        let stop = trial.abort_handle();
        match tokio::time::timeout(TRIAL_TIME, trial).await {
            Ok(Ok(result)) => result.map_err(LoadError::StartFailed),
            Ok(Err(panic)) => Err(LoadError::Internal(panic.to_string())),
            Err(_) => {
                stop.abort();
                Err(LoadError::StartFailed("it did not start within 10s".to_owned()))
            }
        }
    }
}

/// The instance's store, and what must be noted when it goes, however it goes.
struct Instance {
    store: Store<Host>,
    fuel: u64,
    exchange: Arc<Exchange>,
    _running: Running,
    // Declared after the store: the slot is free only when the instance is gone.
    slot: Slot,
}

impl Drop for Instance {
    fn drop(&mut self) {
        let left = self.store.get_fuel().unwrap_or(0);
        let peak = self.store.data().memory.peak();
        self.exchange.set_instance_usage(self.fuel.saturating_sub(left), peak);
    }
}

async fn run(runtime: Runtime, invocation: Invocation, deadline: Instant, reply: ReplySender) {
    let exchange = Arc::clone(&invocation.exchange);
    let mut reply = Some(reply);
    let (code, detail) = match run_instance(runtime, invocation, deadline, &mut reply).await {
        Ok(()) => return,
        Err(failure) => failure,
    };
    exchange.decide(code);
    if let Some(reply) = reply {
        // Whoever decided first knows best: a body that was too large is why the guest failed.
        let _ = reply.send(Err(exchange.code().unwrap_or(code)));
    }
    tracing::debug!(request = exchange.id(), code = code.as_str(), detail, "the request failed");
}

async fn run_instance(
    runtime: Runtime,
    invocation: Invocation,
    deadline: Instant,
    reply: &mut Option<ReplySender>,
) -> Result<(), (Code, String)> {
    let Invocation { slot, request, secure, exchange, clean_trailers } = invocation;
    let deployment = Arc::clone(&slot.task.deployment);
    let limits = &deployment.definition.limits;
    let (task, node) = (Arc::clone(&slot.task.memory), Arc::clone(&runtime.memory));
    let Some(memory) = begin_memory(limits, task, node) else {
        return Err((Code::NoCapacity, "no memory for another instance".to_owned()));
    };
    let caller = (!deployment.definition.role.is_none()).then(|| {
        let trace = request.headers().get(TRACEPARENT).cloned();
        let (runtime, deployment) = (runtime.clone(), Arc::clone(&deployment));
        Caller::new(runtime, deployment, slot.sender(), Arc::clone(&exchange), deadline, trace)
    });
    let host = Host::new(&deployment, memory, (slot.logs(), slot.task.number), caller);
    let internal = |detail| (Code::Internal, detail);
    let store = new_store(&runtime.engine, host, limits).map_err(internal)?;
    let (head_sender, head) = oneshot::channel();
    let loaded = Arc::clone(&slot.task.loaded);
    let running = runtime.engine.ticker().guest();
    let mut instance =
        Instance { store, fuel: limits.fuel, exchange: exchange.clone(), _running: running, slot };
    let store = &mut instance.store;
    let scheme = if secure { Scheme::Https } else { Scheme::Http };
    let request = store.data_mut().http().new_incoming_request(scheme, request);
    let request = request.map_err(|error| internal(error.to_string()))?;
    let out = store.data_mut().http().new_response_outparam(head_sender);
    let out = out.map_err(|error| internal(error.to_string()))?;
    let terms = Terms {
        exchange: exchange.clone(),
        deadline,
        most_bytes: limits.response_body.0,
        clean_trailers,
    };
    let call = async {
        let guest = loaded.pre.instantiate_async(&mut *store).await?;
        guest.wasi_http_incoming_handler().call_handle(&mut *store, request, out).await
    };
    let mut in_transit = None;
    let driven = {
        // Pinned here, so that it is not moved once more: it is large.
        let driven = pin!(drive(call, head, terms, reply, &mut in_transit));
        instance.slot.unless_stopped(driven).await
    };
    let (code, detail) = match driven {
        Some(Driven::Answered) => return Ok(()),
        Some(Driven::Failed(error)) => classify(&error, instance.store.data().memory.denied()),
        Some(Driven::Broken(code)) => (code, code.title().to_owned()),
        None => (Code::Drained, Code::Drained.title().to_owned()),
    };
    exchange.decide(code);
    drop(in_transit);
    if !matches!(code, Code::ClientClosed | Code::NoCapacity) {
        note(instance.slot.logs(), instance.slot.task.number, &exchange, code, &detail);
    }
    Err((code, detail))
}

/// Tells the guest's author what became of a request.
fn note(logs: &LogBook, task: u64, exchange: &Exchange, code: Code, detail: &str) {
    let text = format!("[request {}: {}: {detail}]", exchange.id(), code.as_str());
    logs.note(task, sanitise(text.as_bytes()));
}

fn begin_memory(limits: &Limits, task: Arc<Budget>, node: Arc<Budget>) -> Option<InstanceMemory> {
    let (base, prepaid) = (base_bytes(limits), prepaid_bytes(limits));
    InstanceMemory::begin(base, prepaid, limits.instance_memory.0, task, node)
}

fn new_store(engine: &Engine, host: Host, limits: &Limits) -> Result<Store<Host>, String> {
    let mut store = Store::new(engine.wasmtime(), host);
    store.limiter(|host| &mut host.memory);
    store.set_fuel(limits.fuel).map_err(|error| error.to_string())?;
    // Yields at every tick, and is given the next one.
    store.set_epoch_deadline(1);
    store.epoch_deadline_async_yield_and_update(1);
    store.set_hostcall_fuel(limits.hostcall_bytes.as_usize());
    store.set_max_component_handles(limits.handles as usize * HANDLES_PER_RESOURCE);
    Ok(store)
}
