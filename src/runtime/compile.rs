//! Compiles components when they are deployed, away from everything that serves requests.
//!
//! Each compilation is a process of its own: the node's program, started anew with nothing but
//! the component, under limits, and confined before it reads it. Whatever a component does to
//! the compiler ends as a failed deployment.
//!
//! *Invariant:* the key that makes compiled code valid never enters that process.
//!
//! Start reading at [`Compiler::compile`], then `child.rs` and `worker.rs`.

mod bounds;
mod child;
mod confine;
mod error;
mod order;
mod worker;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use registry::Digest;
use tokio::sync::OnceCell;

use crate::clock;
use crate::model::Name;

use super::cache::{AotCache, CacheKey, stamp};
use super::engine::Engine;
use super::turns::Turns;

pub use bounds::CompileBounds;
pub use child::check_confinement;
pub use error::{CompileError, CompileLimit};
pub use order::CompileOrder;
pub use worker::{compile_in_this_process, probe_confinement};

/// Components that are compiled at once, at most: each uses all cores, and may take 2 GiB.
const AT_ONCE: usize = 2;
/// Largest component, as pulled: 256 MiB, the most that an image layer may unpack to.
const MOST_BYTES: usize = 256 << 20;

/// The compiler: its line, and the program that it starts. Cheap to clone.
#[derive(Clone)]
pub struct Compiler(Arc<Inner>);

struct Inner {
    engine: Engine,
    cache: AotCache,
    setup: CompilerSetup,
    turns: Turns,
    /// Compilations that somebody waits for.
    flights: Mutex<HashMap<Digest, Weak<Flight>>>,
    /// What each service waits for.
    asked: Mutex<HashMap<Name, Arc<Flight>>>,
    compiled: AtomicU64,
    failed: AtomicU64,
    busy_us: AtomicU64,
}

/// How a compiler works.
#[derive(Clone, Debug)]
pub struct CompilerSetup {
    /// The `wharf` program.
    pub program: PathBuf,
    /// Cores of this machine.
    pub cores: usize,
    /// What a compilation may use.
    pub bounds: CompileBounds,
}

impl CompilerSetup {
    /// Compiles with the program that this process runs, also when its file was replaced since.
    pub fn with_this_program(cores: usize) -> Self {
        Self { program: "/proc/self/exe".into(), cores, bounds: CompileBounds::default() }
    }
}

/// The compilation of one component, for all who wait for it.
#[derive(Default)]
struct Flight {
    outcome: OnceCell<Result<(), Arc<CompileError>>>,
    stage: Mutex<Stage>,
}

#[derive(Clone, Copy, Default)]
enum Stage {
    #[default]
    Begun,
    Waiting(u64),
    Running(Instant),
}

/// How far the compilation is that a service waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compiling {
    /// It waits, behind so many others.
    Behind(usize),
    /// It has been running for so long.
    For(Duration),
}

/// What the compiler does and has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompilerLoad {
    /// Compilations that are under way.
    pub running: usize,
    /// Those that wait for their turn.
    pub waiting: usize,
    /// Components compiled since the start.
    pub compiled: u64,
    /// Components that could not be compiled.
    pub failed: u64,
    /// Wall-clock time of all compilations that ended.
    pub busy: Duration,
}

impl Compiler {
    /// A compiler that does nothing yet.
    pub fn new(engine: Engine, cache: AotCache, setup: CompilerSetup) -> Self {
        let turns = Turns::new(setup.cores.clamp(1, AT_ONCE));
        Self(Arc::new(Inner {
            engine,
            cache,
            setup,
            turns,
            flights: Mutex::default(),
            asked: Mutex::default(),
            compiled: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            busy_us: AtomicU64::new(0),
        }))
    }

    /// The key under which this component's code is cached.
    pub fn key(&self, component: &Digest) -> CacheKey {
        CacheKey::of(&self.0.engine, component)
    }

    /// Whether the code of this component is in the cache.
    pub fn is_compiled(&self, component: &Digest) -> bool {
        self.0.cache.contains(&self.key(component))
    }

    /// What it does and has done.
    pub fn load(&self) -> CompilerLoad {
        CompilerLoad {
            running: self.0.turns.taken(),
            waiting: self.0.turns.waiting(),
            compiled: self.0.compiled.load(Ordering::Relaxed),
            failed: self.0.failed.load(Ordering::Relaxed),
            busy: Duration::from_micros(self.0.busy_us.load(Ordering::Relaxed)),
        }
    }

    /// How far the compilation is that this service waits for, if it does.
    pub fn progress(&self, service: &Name) -> Option<Compiling> {
        let flight = self.0.asked.lock().get(service).cloned()?;
        let stage = *flight.stage.lock();
        match stage {
            Stage::Begun => None,
            Stage::Waiting(number) => Some(Compiling::Behind(self.0.turns.before(number)?)),
            Stage::Running(since) => Some(Compiling::For(clock::now() - since)),
        }
    }

    /// Compiles the component and stores its code, for this service. Services take turns; who asks
    /// for a component that is in the line already waits for that one. The bytes are read when its
    /// turn has come. Once nobody waits any more, it is given up.
    pub async fn compile<E: From<Arc<CompileError>>>(
        &self,
        service: &Name,
        component: Digest,
        read: impl Future<Output = Result<Bytes, E>>,
    ) -> Result<(), E> {
        let asked = Asked::new(&self.0, service, component);
        let flight = &asked.flight;
        let outcome = flight.outcome.get_or_try_init(|| self.fly(service, component, flight, read));
        outcome.await?.clone().map_err(E::from)
    }

    async fn fly<E>(
        &self,
        service: &Name,
        component: Digest,
        flight: &Flight,
        read: impl Future<Output = Result<Bytes, E>>,
    ) -> Result<Result<(), Arc<CompileError>>, E> {
        let waiting = self.0.turns.join(service);
        *flight.stage.lock() = Stage::Waiting(waiting.number());
        let _turn = waiting.turn().await;
        if self.is_compiled(&component) {
            return Ok(Ok(()));
        }
        let begun = clock::now();
        *flight.stage.lock() = Stage::Running(begun);
        let wasm = read.await?;
        let result = self.compile_now(component, wasm).await;
        let busy = u64::try_from((clock::now() - begun).as_micros()).unwrap_or(u64::MAX);
        self.0.busy_us.fetch_add(busy, Ordering::Relaxed);
        let count = if result.is_ok() { &self.0.compiled } else { &self.0.failed };
        count.fetch_add(1, Ordering::Relaxed);
        Ok(result.map_err(Arc::new))
    }

    async fn compile_now(&self, component: Digest, wasm: Bytes) -> Result<(), CompileError> {
        if wasm.len() > MOST_BYTES {
            return Err(CompileError::TooLarge(wasm.len()));
        }
        let (key, cache) = (self.key(&component), self.0.cache.clone());
        let code = match self.start(wasm.clone()).await {
            Err(CompileError::Killed) => {
                tracing::warn!(%component, "the compiler was killed; it is tried once more");
                self.start(wasm).await?
            }
            result => result?,
        };
        let stored = tokio::task::spawn_blocking(move || cache.store(&key, &code)).await;
        stored
            .map_err(|panic| CompileError::Failed(panic.to_string()))?
            .map_err(CompileError::Store)
    }

    async fn start(&self, wasm: Bytes) -> Result<Vec<u8>, CompileError> {
        let CompilerSetup { program, cores, bounds } = &self.0.setup;
        let stamp = stamp(self.0.engine.wasmtime());
        child::compile(program, bounds, *cores, &stamp, wasm).await
    }
}

/// A service that waits for a compilation, until it is dropped.
struct Asked<'a> {
    compiler: &'a Inner,
    service: &'a Name,
    flight: Arc<Flight>,
}

impl<'a> Asked<'a> {
    fn new(compiler: &'a Inner, service: &'a Name, component: Digest) -> Self {
        let mut flights = compiler.flights.lock();
        flights.retain(|_, flight| flight.strong_count() > 0);
        let flight = flights.get(&component).and_then(Weak::upgrade).unwrap_or_default();
        flights.insert(component, Arc::downgrade(&flight));
        drop(flights);
        compiler.asked.lock().insert(service.clone(), Arc::clone(&flight));
        Self { compiler, service, flight }
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        let mut asked = self.compiler.asked.lock();
        // A newer revision of the service may have asked before this one noticed that it is over.
        if asked.get(self.service).is_some_and(|flight| Arc::ptr_eq(flight, &self.flight)) {
            asked.remove(self.service);
        }
    }
}

/// An error and its sources on one line.
pub(super) fn chain(error: &wasmtime::Error) -> String {
    format!("{error:#}").replace('\n', " ")
}
