//! What a guest's failure is called.

use wasmtime::component::ResourceTableError;
use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};

use crate::model::Code;

use super::compile::chain;
use super::memory::Denied;

/// Frames of a backtrace that are worth a log line.
const FRAMES: usize = 8;

/// The code of a call that failed, and what the guest's author wants to know.
///
/// `memory_denied` says whose limit refused growth before: most languages then abort with a trap
/// that looks like any other.
pub(super) fn classify(error: &wasmtime::Error, memory_denied: Option<Denied>) -> (Code, String) {
    if error.is::<PoolConcurrencyLimitError>() {
        return (Code::NoCapacity, chain(error));
    }
    if let Some(exit) = error.downcast_ref::<wasmtime_wasi::I32Exit>() {
        return (Code::GuestExited, format!("it exited with {}", exit.0));
    }
    if error.is::<ResourceTableError>() {
        return (Code::ResourceLimit, chain(error));
    }
    let trap = error.downcast_ref::<Trap>();
    let code = match trap {
        Some(Trap::OutOfFuel) => Code::FuelExhausted,
        Some(Trap::AllocationTooLarge) => Code::ResourceLimit,
        _ if memory_denied == Some(Denied::Own) => Code::MemoryExceeded,
        _ if memory_denied == Some(Denied::Node) => Code::NoCapacity,
        Some(_) => Code::GuestTrapped,
        // wasmtime has no type for these: they are told apart by what they say.
        None if mentions_limit(error) => Code::ResourceLimit,
        None => Code::GuestTrapped,
    };
    let what = trap.map_or_else(|| error.root_cause().to_string(), ToString::to_string);
    (code, format!("{what}{}", backtrace(error)))
}

fn mentions_limit(error: &wasmtime::Error) -> bool {
    let text = chain(error);
    ["resource table", "handle table", "total size of fields", "fuel allocated for hostcalls"]
        .iter()
        .any(|part| text.contains(part))
}

fn backtrace(error: &wasmtime::Error) -> String {
    let Some(trace) = error.downcast_ref::<WasmBacktrace>() else { return String::new() };
    let frames = trace.frames().iter().take(FRAMES).map(|frame| {
        let name = frame.func_name().unwrap_or("?");
        format!("{name}+{:#x}", frame.module_offset().unwrap_or(0))
    });
    let frames: Vec<_> = frames.collect();
    match frames.is_empty() {
        true => String::new(),
        false => format!(" at {}", frames.join(" < ")),
    }
}
