//! Compiles components when they are deployed, away from everything that serves requests.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use registry::Digest;
use tokio::sync::Semaphore;
use wit_component::ComponentEncoder;

use super::cache::{AotCache, CacheKey};
use super::engine::Engine;

/// Components that are compiled at once. One compilation uses every thread of the pool, and takes
/// some 400 MB for a large component.
const AT_ONCE: usize = 1;
/// Components that wait for the compiler. Each holds its bytes.
const MOST_WAITING: usize = 256;
/// Largest component, as pulled: 256 MiB, the most that an image layer may unpack to.
const MOST_BYTES: usize = 256 << 20;
/// How far the compiler's threads step back behind everything else (see nice(2)).
const NICENESS: i32 = 10;

/// Why a component cannot be compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The bytes are compiled code. Nobody may bring native code.
    #[error("this is compiled code, not WebAssembly")]
    Precompiled,
    /// Larger than 256 MiB.
    #[error("the component has {0} bytes, at most {MOST_BYTES} are compiled")]
    TooLarge(usize),
    /// A core module that no adapter turns into a component.
    #[error("this is a core module, and it cannot be made a component: {0}")]
    CoreModule(String),
    /// Not WebAssembly, or WebAssembly that is not valid here.
    #[error("the component is not valid: {0}")]
    Invalid(String),
    /// Too many components wait already.
    #[error("{MOST_WAITING} components wait for the compiler already")]
    Busy,
    /// The compiled code cannot be written.
    #[error("the compiled code cannot be stored")]
    Store(#[source] io::Error),
    /// The compiler itself failed.
    #[error("the compiler failed: {0}")]
    Failed(String),
}

impl CompileError {
    /// The stable code; each has a page under `docs/errors/`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Precompiled => "component-precompiled",
            Self::TooLarge(_) => "component-too-large",
            Self::CoreModule(_) => "component-core-module",
            Self::Invalid(_) => "component-invalid",
            Self::Busy => "compiler-busy",
            Self::Store(error) if error.kind() == io::ErrorKind::StorageFull => "disk-full",
            Self::Store(_) => "cache-unwritable",
            Self::Failed(_) => "compiler-failed",
        }
    }

    /// Whether the same component may compile later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Busy | Self::Store(_))
    }
}

/// The compiler with its threads. Cheap to clone.
#[derive(Clone)]
pub struct Compiler(Arc<Inner>);

struct Inner {
    engine: Engine,
    cache: AotCache,
    threads: rayon::ThreadPool,
    places: Semaphore,
    turns: Arc<Semaphore>,
    compiled: std::sync::atomic::AtomicU64,
}

impl Compiler {
    /// Starts the threads.
    pub fn new(engine: Engine, cache: AotCache, threads: usize) -> io::Result<Self> {
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(threads.max(1))
            .thread_name(|n| format!("wharf-compile-{n}"))
            .start_handler(|_| step_back(NICENESS))
            .build()
            .map_err(io::Error::other)?;
        Ok(Self(Arc::new(Inner {
            engine,
            cache,
            threads,
            places: Semaphore::new(MOST_WAITING),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            compiled: std::sync::atomic::AtomicU64::new(0),
        })))
    }

    /// The key under which this component's code is cached.
    pub fn key(&self, component: &Digest) -> CacheKey {
        CacheKey::of(&self.0.engine, component)
    }

    /// Whether the code of this component is in the cache.
    pub fn is_compiled(&self, component: &Digest) -> bool {
        self.0.cache.contains(&self.key(component))
    }

    /// Compilations since the start.
    pub fn compiled(&self) -> u64 {
        self.0.compiled.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Compiles the component and stores its code. Waits for its turn.
    pub async fn compile(&self, component: Digest, wasm: Bytes) -> Result<(), CompileError> {
        let inner = Arc::clone(&self.0);
        let _place = self.0.places.try_acquire().map_err(|_| CompileError::Busy)?;
        let turn = Arc::clone(&inner.turns).acquire_owned().await;
        let turn = turn.map_err(|_| CompileError::Busy)?;
        let key = self.key(&component);
        // The turn lasts as long as the compilation, whether or not anybody still waits for it.
        let work = move || {
            let _turn = turn;
            inner.threads.install(|| inner.compile_now(&key, &wasm))
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => result,
            Err(panic) => Err(CompileError::Failed(panic.to_string())),
        }
    }
}

impl Inner {
    fn compile_now(&self, key: &CacheKey, wasm: &[u8]) -> Result<(), CompileError> {
        if wasmtime::Engine::detect_precompiled(wasm).is_some() {
            return Err(CompileError::Precompiled);
        }
        if wasm.len() > MOST_BYTES {
            return Err(CompileError::TooLarge(wasm.len()));
        }
        let adapted = is_core_module(wasm).then(|| componentize(wasm)).transpose()?;
        let component = adapted.as_deref().unwrap_or(wasm);
        let compiled = self.engine.wasmtime().precompile_component(component);
        let code = compiled.map_err(|error| CompileError::Invalid(chain(&error)))?;
        self.cache.store(key, &code).map_err(CompileError::Store)?;
        self.compiled.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Ok(())
    }
}

/// Lets the calling thread run only when nothing more urgent wants to.
fn step_back(niceness: i32) {
    let thread = rustix::thread::gettid();
    if let Err(error) = rustix::process::setpriority_process(Some(thread), niceness) {
        tracing::debug!(%error, niceness, "the thread keeps its priority");
    }
}

/// The preamble of a core module: magic and version 1, layer 0 (WebAssembly core 2.0, §5.5.16).
fn is_core_module(wasm: &[u8]) -> bool {
    wasm.starts_with(b"\0asm\x01\0\0\0")
}

/// Makes a component of a module for WASI preview 1, by the adapter that its exports ask for.
fn componentize(module: &[u8]) -> Result<Vec<u8>, CompileError> {
    use wasi_preview1_component_adapter_provider as adapters;
    let is_command = module.windows(8).any(|window| window == b"\x06_start\0");
    let adapter = match is_command {
        true => adapters::WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER,
        false => adapters::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
    };
    let name = adapters::WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME;
    ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(|encoder| encoder.adapter(name, adapter))
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| CompileError::CoreModule(format!("{error:#}")))
}

/// An error and its sources on one line.
pub(super) fn chain(error: &wasmtime::Error) -> String {
    format!("{error:#}").replace('\n', " ")
}
