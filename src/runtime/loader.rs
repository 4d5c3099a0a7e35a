//! Components in memory, shared by digest.

use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry as Place;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use registry::Digest;
use wasmtime::component::Component;
use wasmtime_wasi_http::p2::bindings::ProxyPre;

use crate::model::{Code, Limits};

use super::cache::{AotCache, CacheError, CacheKey};
use super::compile::chain;
use super::engine::{self, Engine};
use super::host::Host;
use super::memory::base_bytes;

/// Why a component cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// There is no compiled code that can be used: the component has to be compiled again.
    #[error("the component is not compiled")]
    NotCompiled,
    /// The node holds as many components as it can.
    #[error("the node holds {0} loaded components, which is all that it can")]
    TooMany(u32),
    /// The component needs more than an instance can have.
    #[error("the component does not fit: {0}")]
    TooLarge(String),
    /// The component imports what no host function of ours provides.
    #[error("the component cannot be linked: {0}")]
    Unlinkable(String),
    /// The component does not handle HTTP requests.
    #[error("the component exports no wasi:http/incoming-handler@0.2: {0}")]
    NotHttp(String),
    /// The task definition gives less memory than the component starts with.
    #[error("an instance starts with {needed} bytes of memory, `instance_memory` is {allowed}")]
    MemoryTooSmall {
        /// What the component asks for.
        needed: u64,
        /// What the definition allows.
        allowed: u64,
    },
    /// The component failed when it was tried once.
    #[error("the component cannot be instantiated: {0}")]
    StartFailed(String),
    /// The compiled code cannot be read.
    #[error("the compiled code cannot be read")]
    Read(#[source] io::Error),
    /// A fault of Wharf itself.
    #[error("loading failed: {0}")]
    Internal(String),
}

impl LoadError {
    /// The stable code; each has a page under `docs/errors/`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotCompiled => "component-not-compiled",
            Self::TooMany(_) => Code::NoCapacity.as_str(),
            Self::TooLarge(_) => "component-too-large",
            Self::Unlinkable(_) => "component-unlinkable",
            Self::NotHttp(_) => "component-not-http",
            Self::MemoryTooSmall { .. } => "memory-too-small",
            Self::StartFailed(_) => "component-start-failed",
            Self::Read(_) => "cache-unreadable",
            Self::Internal(_) => Code::Internal.as_str(),
        }
    }

    /// Whether it may load later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::TooMany(_) | Self::Read(_) | Self::Internal(_))
    }
}

/// A component that can be instantiated at once.
pub struct Loaded {
    pub(super) pre: ProxyPre<Host>,
    /// Bytes of linear memory and tables that an instance starts with.
    initial_bytes: u64,
    component: Digest,
    loader: Weak<Inner>,
}

impl Loaded {
    /// Requests that a task can serve at once: what was asked for, or as many as fit into its
    /// memory if that is fewer.
    pub fn concurrency(&self, limits: &Limits) -> u32 {
        let each = self.initial_bytes + base_bytes(limits);
        let fit = u32::try_from(limits.memory.0 / each.max(1)).unwrap_or(u32::MAX);
        limits.concurrency.min(fit).max(1)
    }

    /// What was loaded.
    pub fn digest(&self) -> &Digest {
        &self.component
    }

    /// Refuses limits under which no instance could start.
    pub fn check_fit(&self, limits: &Limits) -> Result<(), LoadError> {
        let needed = self.initial_bytes + base_bytes(limits);
        let allowed = limits.instance_memory.min(limits.memory).0;
        match needed > allowed {
            true => Err(LoadError::MemoryTooSmall { needed, allowed }),
            false => Ok(()),
        }
    }
}

impl std::fmt::Debug for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loaded").field("component", &self.component).finish_non_exhaustive()
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        let Some(loader) = self.loader.upgrade() else { return };
        loader.live.fetch_sub(1, Ordering::AcqRel);
        loader.entries.remove_if(
            &self.component,
            |_, entry| matches!(entry, Entry::Loaded(weak) if weak.strong_count() == 0),
        );
    }
}

type Loading = Shared<BoxFuture<'static, Result<Arc<Loaded>, Arc<LoadError>>>>;

enum Entry {
    Loading(Loading),
    Loaded(Weak<Loaded>),
}

/// Loads each component once, however many wait for it. Cheap to clone.
#[derive(Clone)]
pub struct Loader(Arc<Inner>);

struct Inner {
    engine: Engine,
    cache: AotCache,
    entries: DashMap<Digest, Entry>,
    live: AtomicU32,
    loads: AtomicU64,
}

impl Loader {
    /// A loader with nothing loaded.
    pub fn new(engine: Engine, cache: AotCache) -> Self {
        Self(Arc::new(Inner {
            engine,
            cache,
            entries: DashMap::new(),
            live: AtomicU32::new(0),
            loads: AtomicU64::new(0),
        }))
    }

    /// Components that are loaded now.
    pub fn live(&self) -> u32 {
        self.0.live.load(Ordering::Relaxed)
    }

    /// Loads since the start.
    pub fn loads(&self) -> u64 {
        self.0.loads.load(Ordering::Relaxed)
    }

    /// The component, loaded now if it is not yet. Never compiles.
    pub async fn load(&self, component: Digest) -> Result<Arc<Loaded>, Arc<LoadError>> {
        let loading = match self.0.entries.entry(component) {
            Place::Occupied(mut place) => {
                let present = match place.get() {
                    Entry::Loaded(weak) => weak.upgrade().map(Ok),
                    Entry::Loading(loading) => Some(Err(loading.clone())),
                };
                match present {
                    Some(Ok(loaded)) => return Ok(loaded),
                    Some(Err(loading)) => loading,
                    None => {
                        let loading = self.0.begin(component);
                        place.insert(Entry::Loading(loading.clone()));
                        loading
                    }
                }
            }
            Place::Vacant(place) => {
                let loading = self.0.begin(component);
                place.insert(Entry::Loading(loading.clone()));
                loading
            }
        };
        loading.await
    }
}

impl Inner {
    /// Starts a load that goes on whether or not anybody still waits for it.
    fn begin(self: &Arc<Self>, component: Digest) -> Loading {
        let inner = Arc::clone(self);
        let work = tokio::task::spawn_blocking(move || {
            let result = inner.load_now(component).map(Arc::new).map_err(Arc::new);
            match &result {
                Ok(loaded) => {
                    inner.entries.insert(component, Entry::Loaded(Arc::downgrade(loaded)));
                }
                Err(_) => drop(inner.entries.remove(&component)),
            }
            result
        });
        let outcome = work.map(|joined| match joined {
            Ok(result) => result,
            Err(panic) => Err(Arc::new(LoadError::Internal(panic.to_string()))),
        });
        outcome.boxed().shared()
    }

    fn load_now(self: &Arc<Self>, component: Digest) -> Result<Loaded, LoadError> {
        let most = self.engine.sizing().loaded;
        if self.live.fetch_add(1, Ordering::AcqRel) >= most {
            self.live.fetch_sub(1, Ordering::AcqRel);
            return Err(LoadError::TooMany(most));
        }
        let prepared = self.prepare(component);
        match prepared {
            Ok((pre, initial_bytes)) => {
                self.loads.fetch_add(1, Ordering::Relaxed);
                Ok(Loaded { pre, initial_bytes, component, loader: Arc::downgrade(self) })
            }
            Err(error) => {
                self.live.fetch_sub(1, Ordering::AcqRel);
                Err(error)
            }
        }
    }

    fn prepare(&self, component: Digest) -> Result<(ProxyPre<Host>, u64), LoadError> {
        let key = CacheKey::of(&self.engine, &component);
        let mapped = match self.cache.load(&self.engine, &key) {
            Ok(mapped) => mapped.ok_or(LoadError::NotCompiled)?,
            Err(CacheError::Read(error)) => return Err(LoadError::Read(error)),
            Err(CacheError::Refused(why)) => return Err(LoadError::TooLarge(why)),
        };
        let initial_bytes = initial_bytes(&mapped)?;
        let linked = self.engine.linker().instantiate_pre(&mapped);
        let linked = linked.map_err(|error| LoadError::Unlinkable(chain(&error)))?;
        let pre = ProxyPre::new(linked).map_err(|error| LoadError::NotHttp(chain(&error)))?;
        Ok((pre, initial_bytes))
    }
}

/// What an instance of the component starts with, if the pool can hold that.
fn initial_bytes(component: &Component) -> Result<u64, LoadError> {
    let Some(required) = component.resources_required() else {
        let why = "it imports or exports core modules, so its needs are not known".to_owned();
        return Err(LoadError::TooLarge(why));
    };
    let pages = required.max_initial_memory_size.unwrap_or(0);
    let elements = required.max_initial_table_size.unwrap_or(0);
    for (what, needs, most) in [
        ("memories", u64::from(required.num_memories), u64::from(engine::MEMORIES_PER_COMPONENT)),
        ("tables", u64::from(required.num_tables), u64::from(engine::TABLES_PER_COMPONENT)),
        ("elements in a table", elements, engine::TABLE_ELEMENTS as u64),
        ("pages of memory", pages, 65_536),
    ] {
        if needs > most {
            return Err(LoadError::TooLarge(format!("it has {needs} {what}, at most {most} fit")));
        }
    }
    Ok(pages * 65_536 * u64::from(required.num_memories.min(1))
        + elements * 8 * u64::from(required.num_tables))
}
