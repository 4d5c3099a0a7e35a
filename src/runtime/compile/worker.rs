//! The compiler's process: it confines itself, reads a component, and writes its code.
//!
//! *Invariant:* nothing of the component is read before the process is confined.

use std::io::{self, Read, Write};
use std::process::ExitCode;

use wit_component::ComponentEncoder;

use super::super::cache::stamp;
use super::super::engine::compiling;
use super::MOST_BYTES;
use super::chain;
use super::confine;
use super::error::{CompileError, CompileLimit};
use super::order::{self, CompileOrder};

/// Compiles what comes from standard input. Ends the process if it takes too long.
pub fn compile_in_this_process(order: &CompileOrder) -> ExitCode {
    match compile(order) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let (code, words) = order::said(&error);
            // Whoever does not listen any more does not miss it.
            let _ = io::stderr().write_all(words.as_bytes());
            ExitCode::from(code)
        }
    }
}

/// Confines this process as for a compilation, tries what it must not be able to do, and says what
/// it could do all the same.
pub fn probe_confinement(order: &CompileOrder) -> ExitCode {
    let confined = confine::limit(order).map_err(|error| error.to_string());
    let breaches = match confined.and_then(|()| confine::shut()) {
        Ok(()) => confine::breaches().join(", "),
        Err(error) => error,
    };
    // Whoever does not listen any more does not miss it.
    let _ = io::stderr().write_all(breaches.as_bytes());
    ExitCode::from(u8::from(!breaches.is_empty()))
}

fn compile(order: &CompileOrder) -> Result<(), CompileError> {
    confine::limit(order).map_err(|error| CompileError::Unconfined(error.to_string()))?;
    let engine = compiling().map_err(|error| CompileError::Failed(chain(&error)))?;
    let threads = rayon::ThreadPoolBuilder::new().num_threads(order.threads);
    let threads = threads.build().map_err(|error| CompileError::Failed(error.to_string()))?;
    confine::shut().map_err(CompileError::Unconfined)?;
    let mut wasm = Vec::new();
    let most = MOST_BYTES as u64 + 1;
    let read = io::stdin().lock().take(most).read_to_end(&mut wasm);
    read.map_err(|error| CompileError::Failed(format!("no component came: {error}")))?;
    let code = threads.install(|| make(&engine, &wasm))?;
    let mut out = io::stdout().lock();
    let written = out.write_all(&stamp(&engine)).and_then(|()| out.write_all(&code));
    written.and_then(|()| out.flush()).map_err(|error| CompileError::Failed(error.to_string()))
}

fn make(engine: &wasmtime::Engine, wasm: &[u8]) -> Result<Vec<u8>, CompileError> {
    if wasmtime::Engine::detect_precompiled(wasm).is_some() {
        return Err(CompileError::Precompiled);
    }
    if wasm.len() > MOST_BYTES {
        return Err(CompileError::TooLarge(wasm.len()));
    }
    let adapted = is_core_module(wasm).then(|| componentize(wasm)).transpose()?;
    let component = adapted.as_deref().unwrap_or(wasm);
    engine.precompile_component(component).map_err(|error| {
        match error.is::<wasmtime::OutOfMemory>() {
            true => CompileError::TooComplex(CompileLimit::Memory(0)),
            false => CompileError::Invalid(chain(&error)),
        }
    })
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
