//! The metered engine: its posture, and its pool sized from the machine's own limits.

use std::num::NonZeroUsize;
use std::sync::Arc;

use wasmtime::component::Linker;
use wasmtime::{
    Config, Enabled, Inlining, InstanceAllocationStrategy, ModuleVersionStrategy, OptLevel,
    PoolingAllocationConfig, Strategy, WasmBacktraceDetails,
};

use super::host::Host;
use super::kept;
use super::machine::{Machine, swap_reason};
use super::outgoing::bound_texts;
use super::ticker::Ticker;

/// wasmtime's full version, patch level included: `Cargo.lock`'s, read by the build script.
pub(super) const WASMTIME_VERSION: &str = env!("WHARF_WASMTIME_VERSION");

/// Counts changes of ours, between two releases, that make compiled code unusable: the engine's
/// configuration, the fuel costs, the cache format.
const ABI: u32 = 2;

/// Instances that an engine holds at most, however large the machine: a slot takes 4 GiB of
/// address space, and 24,000 of them fit into 47 bits.
const MOST_SLOTS: u64 = 4_000;
/// Fewer slots than this are not worth a node.
const FEWEST_SLOTS: u64 = 16;
/// Mappings of a slot: two of its stack, four when it is live.
const MAPPINGS_PER_SLOT: u64 = 6;
/// Mappings of a loaded component.
const MAPPINGS_PER_LOADED: u64 = 3;
/// Mappings that everything else is left: threads, libraries, the allocator.
const MAPPINGS_RESERVED: u64 = 5_000;
/// Address space of a slot: 4 GiB of memory, 32 MiB of guard, and its tables and stack.
const ADDRESS_SPACE_PER_SLOT: u64 = (4 << 30) + (64 << 20);
/// Most memories, tables and core instances of one component.
pub(super) const MEMORIES_PER_COMPONENT: u32 = 4;
/// Most tables of one component.
pub(super) const TABLES_PER_COMPONENT: u32 = 8;
/// Most elements of one table. Interpreters compiled to Wasm need tens of thousands.
pub(super) const TABLE_ELEMENTS: usize = 100_000;
const CORE_INSTANCES_PER_COMPONENT: u32 = 64;
const CORE_INSTANCES_PER_SLOT: u64 = 6;
const TABLES_PER_SLOT: u64 = 2;

/// How a slot's memory is made clean for the next instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ResetMode {
    /// Only written pages are restored, as the kernel reports them. Safe only where no page can
    /// be swapped out: a swapped page is not reported, and the next instance would see it.
    Fast,
    /// Everything up to a bound is overwritten, the rest is given back to the kernel.
    Safe,
}

/// Which [`ResetMode`] is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ResetPolicy {
    /// Fast where the node has checked that it is safe.
    #[default]
    Auto,
    /// Safe everywhere.
    Safe,
}

/// What was chosen, and why.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Sizing {
    /// Instances that can live at once.
    pub slots: u32,
    /// What bounded `slots`.
    pub slots_because: &'static str,
    /// Components that can be loaded at once.
    pub loaded: u32,
    /// How slots are reset.
    pub reset: ResetMode,
    /// Why not otherwise.
    pub reset_because: String,
    /// Memory for all instances together, in bytes.
    pub memory_bytes: u64,
}

/// Why no engine could be made.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The machine's limits leave room for too few instances.
    #[error(
        "this machine leaves room for {slots} instances, at least {FEWEST_SLOTS} are needed: \
         the bound is {because}"
    )]
    TooSmall {
        /// How many would fit.
        slots: u64,
        /// Which limit is the lowest.
        because: &'static str,
    },
    /// wasmtime refused.
    #[error("the engine cannot be created")]
    Wasmtime(#[source] wasmtime::Error),
    /// No thread could be started.
    #[error("the thread that makes guests take turns cannot be started")]
    Thread(#[source] std::io::Error),
}

impl Sizing {
    /// Decides from the machine's limits. Pure: the same machine gives the same sizes.
    pub fn decide(machine: &Machine, policy: ResetPolicy) -> Result<Self, EngineError> {
        let loaded = (machine.max_open_files / 4).min(machine.max_mappings / 10).min(6_000);
        let mappings = (machine.max_mappings / 5 * 4)
            .saturating_sub(MAPPINGS_RESERVED + MAPPINGS_PER_LOADED * loaded)
            / MAPPINGS_PER_SLOT;
        let address_space = machine
            .max_address_space
            .map_or(u64::MAX, |bytes| (bytes / 2) / ADDRESS_SPACE_PER_SLOT);
        let (slots, slots_because) = [
            (MOST_SLOTS, "the most that one engine holds"),
            (mappings, "vm.max_map_count"),
            (address_space, "the address space limit (ulimit -v)"),
        ]
        .into_iter()
        .min_by_key(|(slots, _)| *slots)
        .unwrap_or((0, "nothing"));
        if slots < FEWEST_SLOTS {
            return Err(EngineError::TooSmall { slots, because: slots_because });
        }
        let (reset, reset_because) = decide_reset(machine, policy);
        Ok(Self {
            slots: u32::try_from(slots).unwrap_or(u32::MAX),
            slots_because,
            loaded: u32::try_from(loaded).unwrap_or(u32::MAX),
            reset,
            reset_because,
            memory_bytes: machine.memory_bytes / 4 * 3,
        })
    }
}

fn decide_reset(machine: &Machine, policy: ResetPolicy) -> (ResetMode, String) {
    let safe = |why: &str| (ResetMode::Safe, why.to_owned());
    match (policy, &machine.swap, machine.tells_written_pages) {
        (ResetPolicy::Safe, ..) => safe("it was asked for"),
        (_, _, false) => safe("the kernel has no PAGEMAP_SCAN (Linux 6.7)"),
        (_, Some(swap), _) => safe(swap),
        (_, None, true) => {
            (ResetMode::Fast, "no page can be swapped out on this machine".to_owned())
        }
    }
}

/// The engine with its linker. Cheap to clone.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    engine: wasmtime::Engine,
    linker: Linker<Host>,
    sizing: Sizing,
    ticker: Ticker,
}

impl Engine {
    /// Creates the engine, and says in the log what was chosen and why.
    pub fn new(machine: &Machine, policy: ResetPolicy) -> Result<Self, EngineError> {
        let sizing = Sizing::decide(machine, policy)?;
        let config = configure(&sizing).map_err(EngineError::Wasmtime)?;
        let engine = wasmtime::Engine::new(&config).map_err(EngineError::Wasmtime)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).map_err(EngineError::Wasmtime)?;
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)
            .and_then(|()| bound_texts(&mut linker))
            .and_then(|()| kept::count(&mut linker))
            .map_err(EngineError::Wasmtime)?;
        let ticker = Ticker::start(engine.clone()).map_err(EngineError::Thread)?;
        tracing::info!(
            slots = sizing.slots,
            slots_because = sizing.slots_because,
            loaded_components = sizing.loaded,
            memory_mib = sizing.memory_bytes >> 20,
            reset = ?sizing.reset,
            reset_because = sizing.reset_because,
            wasmtime = WASMTIME_VERSION,
            "engine sized"
        );
        Ok(Self(Arc::new(Inner { engine, linker, sizing, ticker })))
    }

    /// What was chosen at start.
    pub fn sizing(&self) -> &Sizing {
        &self.0.sizing
    }

    /// Why the fast reset is no longer safe, if swap appeared since the start.
    pub fn reset_hazard(&self) -> Option<String> {
        (self.0.sizing.reset == ResetMode::Fast).then(swap_reason).flatten()
    }

    /// Instances that live now.
    pub fn live_instances(&self) -> u64 {
        let metrics = self.0.engine.pooling_allocator_metrics();
        metrics.map_or(0, |metrics| metrics.component_instances())
    }

    pub(super) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.0.engine
    }

    pub(super) fn ticker(&self) -> &Ticker {
        &self.0.ticker
    }

    pub(super) fn linker(&self) -> &Linker<Host> {
        &self.0.linker
    }
}

/// The text that stands for the programs that compiled code depends on. Wharf's version is that
/// of the adapter and the encoder that make components of core modules.
pub(super) fn module_version() -> String {
    format!("{WASMTIME_VERSION}+wharf.{}.{ABI}", env!("CARGO_PKG_VERSION"))
}

fn configure(sizing: &Sizing) -> wasmtime::Result<Config> {
    let mut config = posture()?;
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(sizing)));
    Ok(config)
}

/// An engine that compiles for the node's, and runs nothing: it has no pool, which would reserve
/// address space without end. Compiled code does not depend on how instances are allocated.
pub(super) fn compiling() -> wasmtime::Result<wasmtime::Engine> {
    let mut config = posture()?;
    config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
    wasmtime::Engine::new(&config)
}

/// What tenants do not need is off: each of these features had its security advisories.
fn posture() -> wasmtime::Result<Config> {
    let mut config = Config::new();
    config.strategy(Strategy::Cranelift).cranelift_opt_level(OptLevel::Speed);
    config.compiler_inlining(Inlining::No);
    // Fuel is the budget, the epoch is the clock by which guests take turns.
    config.consume_fuel(true).epoch_interruption(true);
    config.wasm_component_model(true);
    config.concurrency_support(false);
    config.wasm_gc(false).wasm_function_references(false).wasm_exceptions(false);
    config.gc_support(false);
    config.wasm_threads(false).shared_memory(false).wasm_memory64(false);
    config.memory_init_cow(true).native_unwind_info(false).generate_address_map(true);
    config.max_wasm_stack(512 << 10).async_stack_size(1 << 20);
    config.wasm_backtrace_max_frames(NonZeroUsize::new(20));
    config.wasm_backtrace_details(WasmBacktraceDetails::Disable);
    config.module_version(ModuleVersionStrategy::Custom(module_version()))?;
    Ok(config)
}

fn pool(sizing: &Sizing) -> PoolingAllocationConfig {
    let slots = sizing.slots;
    let times = |n: u64| u32::try_from(u64::from(slots) * n).unwrap_or(u32::MAX);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots).total_memories(slots).total_stacks(slots);
    pool.total_core_instances(times(CORE_INSTANCES_PER_SLOT)).total_tables(times(TABLES_PER_SLOT));
    pool.total_gc_heaps(0);
    pool.max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT);
    pool.max_memories_per_component(MEMORIES_PER_COMPONENT);
    pool.max_tables_per_component(TABLES_PER_COMPONENT);
    pool.max_tables_per_module(4).max_memories_per_module(1);
    pool.max_core_instance_size(4 << 20).max_component_instance_size(4 << 20);
    pool.table_elements(TABLE_ELEMENTS).max_memory_size(4 << 30);
    pool.max_unused_warm_slots(256.min(slots));
    // A single decommit a slot: batches rotate through cold slots. Tables as well as memories
    // are kept, else each request gives every table back to the kernel.
    pool.decommit_batch_size(1).table_keep_resident(64 << 10);
    match sizing.reset {
        ResetMode::Fast => pool.pagemap_scan(Enabled::Yes).linear_memory_keep_resident(16 << 20),
        ResetMode::Safe => pool.linear_memory_keep_resident(2 << 20),
    };
    pool
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine {
            cores: 2,
            memory_bytes: 24 << 30,
            max_mappings: 65_530,
            max_open_files: 20_000,
            max_address_space: None,
            swap: None,
            tells_written_pages: true,
        }
    }

    #[test]
    fn a_stock_machine_holds_thousands_of_instances_within_its_mappings() {
        let sizing = Sizing::decide(&machine(), ResetPolicy::Auto).expect("large enough");
        assert_eq!((sizing.slots, sizing.reset), (4_000, ResetMode::Fast));
        let mappings = u64::from(sizing.slots) * 6 + u64::from(sizing.loaded) * 3 + 5_000;
        assert!(mappings < 65_530 / 5 * 4, "{mappings}");
    }

    #[test]
    fn what_the_compiler_makes_is_for_the_engine_that_runs_it() {
        let small = Machine { max_mappings: 12_000, ..machine() };
        for policy in [ResetPolicy::Auto, ResetPolicy::Safe] {
            let sizing = Sizing::decide(&small, policy).expect("large enough");
            let config = configure(&sizing).expect("a configuration");
            let running = wasmtime::Engine::new(&config).expect("an engine");
            let compiling = compiling().expect("an engine");
            assert_eq!(
                super::super::cache::stamp(&compiling),
                super::super::cache::stamp(&running)
            );
            let code = compiling.precompile_component(b"\0asm\x0d\0\x01\0").expect("code");
            let file = tempfile::NamedTempFile::new().expect("a file");
            std::fs::write(file.path(), &code).expect("written");
            super::super::cwasm::map(&running, file.path()).expect("it loads");
        }
    }

    #[test]
    fn the_fast_reset_needs_a_machine_without_swap() {
        let reset = |machine: Machine, policy| {
            Sizing::decide(&machine, policy).expect("large enough").reset
        };
        let swapping = Machine { swap: Some("swap is on (/dev/sdb)".to_owned()), ..machine() };
        let old = Machine { tells_written_pages: false, ..machine() };
        assert_eq!(reset(swapping, ResetPolicy::Auto), ResetMode::Safe);
        assert_eq!(reset(old, ResetPolicy::Auto), ResetMode::Safe);
        assert_eq!(reset(machine(), ResetPolicy::Safe), ResetMode::Safe);
    }

    #[test]
    fn a_machine_that_is_too_small_says_which_limit() {
        let tight = Machine { max_address_space: Some(8 << 30), ..machine() };
        let error = Sizing::decide(&tight, ResetPolicy::Auto).expect_err("too small");
        assert!(error.to_string().contains("ulimit -v"), "{error}");
        let few = Machine { max_mappings: 4_096, ..machine() };
        let error = Sizing::decide(&few, ResetPolicy::Auto).expect_err("too small");
        assert!(error.to_string().contains("vm.max_map_count"), "{error}");
    }
}
