//! Instances alone: a fresh one for each call, without a server around it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{
    Config, Enabled, Engine, Inlining, InstanceAllocationStrategy, OptLevel,
    PoolingAllocationConfig, Store, StoreLimits, WasmBacktraceDetails,
};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

use super::harness::cpu::CpuTimes;
use super::harness::guest::HELLO_BODY;
use super::harness::process;

/// The role of the process that calls.
pub(super) const ROLE: process::Role = ("instances", run);
/// Fuel of a call, as a manifest that names none gives.
const FUEL: u64 = 1_000_000_000;
/// Calls before anything counts.
const WARM_UP: u32 = 1_000;
/// Calls between two looks at the clock.
const BATCH: u64 = 100;

/// What the process shall do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Task {
    pub(super) component: PathBuf,
    /// Whether instances are reset the fast way.
    pub(super) fast: bool,
    pub(super) window: Duration,
}

/// The least that a component which handles HTTP needs of its host.
struct Host {
    table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: Hooks,
    limits: StoreLimits,
}

struct Hooks;

type Sent = (http::Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>);

impl WasiHttpHooks for Hooks {
    fn send_request(
        &mut self,
        _request: Request<WasiBody>,
        _options: Option<RequestOptions>,
        _done: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Sent, Error>> + Send> {
        Box::new(std::future::ready(Err(Error::HttpRequestDenied)))
    }
}

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Host {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let (table, ctx) = (&mut self.table, &mut self.http);
        WasiHttpCtxView { hooks: &mut self.hooks, table, ctx }
    }
}

/// Calls for the time that was given and answers the CPU time of one call in microseconds.
fn run() -> anyhow::Result<()> {
    let task: Task = process::read_task()?;
    // wasmtime's errors are of a kind of their own.
    let cpu_us = call_all(&task).map_err(|error| anyhow::anyhow!("{error:#}"))?;
    process::answer(&cpu_us)
}

fn call_all(task: &Task) -> wasmtime::Result<f64> {
    let engine = Engine::new(&config(task.fast))?;
    let component = Component::from_file(&engine, &task.component)?;
    let mut linker = Linker::new(&engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    let pre = ProxyPre::new(linker.instantiate_pre(&component)?)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        for _ in 0..WARM_UP {
            call(&engine, &pre).await?;
        }
        let before = CpuTimes::of_tree(std::process::id());
        let deadline = Instant::now() + task.window;
        let mut calls = 0;
        while Instant::now() < deadline {
            for _ in 0..BATCH {
                call(&engine, &pre).await?;
            }
            calls += BATCH;
        }
        // A system call makes the scheduler write down what this thread has used so far.
        std::thread::yield_now();
        let used_ns = CpuTimes::of_tree(std::process::id()).since(&before);
        Ok(used_ns as f64 / 1e3 / calls as f64)
    })
}

async fn call(engine: &Engine, pre: &ProxyPre<Host>) -> wasmtime::Result<()> {
    let host = Host {
        table: ResourceTable::new(),
        wasi: WasiCtx::builder().build(),
        http: WasiHttpCtx::new(),
        hooks: Hooks,
        limits: StoreLimits::default(),
    };
    let mut store = Store::new(engine, host);
    store.limiter(|host| &mut host.limits);
    store.set_fuel(FUEL)?;
    let request = Request::get("/").header("host", "hello.localhost");
    let request = request.body(Empty::<Bytes>::new())?;
    let request = store.data_mut().http().new_incoming_request(Scheme::Http, request)?;
    let (sender, head) = oneshot::channel();
    let out = store.data_mut().http().new_response_outparam(sender)?;
    let guest = pre.instantiate_async(&mut store).await?;
    guest.wasi_http_incoming_handler().call_handle(&mut store, request, out).await?;
    let body = head.await??.into_body().collect().await?.to_bytes();
    match body == HELLO_BODY.as_bytes() {
        true => Ok(()),
        false => Err(wasmtime::Error::msg(format!("a wrong answer: {body:?}"))),
    }
}

/// The posture of Wharf's own engine (`configure` and `pool` in `src/runtime/engine.rs`, which is
/// not public): both sides must run the same code on the same pool, or the ratio says nothing.
fn config(fast: bool) -> Config {
    let mut config = Config::new();
    config.cranelift_opt_level(OptLevel::Speed).compiler_inlining(Inlining::No);
    config.consume_fuel(true).epoch_interruption(false);
    config.concurrency_support(false).gc_support(false);
    config.wasm_gc(false).wasm_function_references(false).wasm_exceptions(false);
    config.wasm_threads(false).shared_memory(false).wasm_memory64(false);
    config.memory_init_cow(true).native_unwind_info(false).generate_address_map(true);
    config.max_wasm_stack(512 << 10).async_stack_size(1 << 20);
    config.wasm_backtrace_details(WasmBacktraceDetails::Disable);
    let mut pool = PoolingAllocationConfig::new();
    pool.max_tables_per_module(4).max_core_instance_size(4 << 20);
    pool.max_component_instance_size(4 << 20).table_elements(100_000).total_gc_heaps(0);
    pool.max_unused_warm_slots(256).decommit_batch_size(1).table_keep_resident(64 << 10);
    match fast {
        true => pool.pagemap_scan(Enabled::Yes).linear_memory_keep_resident(16 << 20),
        false => pool.linear_memory_keep_resident(2 << 20),
    };
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}
