//! Runs tasks: the engine, its limits, and one wasmtime instance for each request.
//!
//! A request takes a [`Slot`] of a task from the [`TaskTable`], and [`Runtime::invoke`] runs it in
//! a fresh instance on the guest workers, apart from the threads of the load balancer. `cpu`
//! decides whose guest runs next.
//!
//! *Invariant:* nothing on the path of a request compiles, writes to a disk, or allocates without a
//! bound; nor takes a lock of Wharf's that another service's requests take, except to wait for a
//! turn when all cores are taken.
//!
//! *Invariant:* an instance serves one request and is discarded; a `wasmtime::Store` whose call
//! ended early is never entered again.
//!
//! Start reading at [`TaskTable`], then `invoke.rs`.

mod table;
mod rules;
mod limits;
mod service;
mod revision;
mod load;
mod state;
mod scaling;
mod task;
mod sizes;
mod drain;
mod deployment;
mod waiting;
mod mirrors;
mod invoke;
mod probe;
mod drive;
mod reply;
pub mod problem;
mod outcome;
mod host;
mod outgoing;
mod kept;
mod ticker;
mod cpu;
mod stdio;
mod memory;
mod loader;
mod compile;
mod turns;
mod cache;
mod cwasm;
mod engine;
mod machine;

pub use cache::{AotCache, CacheError, CacheKey};
pub use compile::{
    CompileBounds, CompileError, CompileLimit, CompileOrder, Compiler, CompilerLoad, CompilerSetup,
    Compiling, check_confinement, compile_in_this_process, probe_confinement,
};
pub use deployment::{Deployment, Refusal, RevisionView, ServiceView, TaskView};
pub use engine::{Engine, EngineError, ResetMode, ResetPolicy, Sizing};
pub use invoke::{Invocation, Runtime};
pub use limits::RateLimits;
pub use loader::{LoadError, Loaded, Loader};
pub use machine::Machine;
pub use memory::Budget;
pub use mirrors::{MirrorOutcome, MirrorPlace, Mirrors};
pub use outgoing::{Outcome, Outlet, Outside, Resolve, SystemResolver};
pub use probe::Answer;
pub use reply::{BodyError, Reply, ReplyBody};
pub use revision::RevisionCell;
pub use rules::LiveRules;
pub use scaling::{Change, ScalingView};
pub use service::{Pick, ServiceCell};
pub use sizes::{check_size, header_bytes};
pub use table::{Backend, Routes, Target, TaskTable};
pub use task::Slot;
pub use turns::{Turn, Turns};
pub use wasmtime_wasi_http::{Error as WasiError, WasiBody};
