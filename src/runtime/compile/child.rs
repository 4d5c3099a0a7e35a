//! The node's side of a compiler's process: starts it, feeds it, and hears what it says.
//!
//! *Invariant:* the process is gone when nobody waits for it any more, and when the node is gone.
//!
//! *Invariant:* what it writes is bounded, and is not looked into: it is code of strangers.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use bytes::Bytes;
use rustix::process::{Pid, Signal};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use crate::telemetry::sanitise;

use super::bounds::CompileBounds;
use super::error::{CompileError, CompileLimit};
use super::order::{self, CompileOrder, PROBE};

/// The longest reason that is heard, in bytes.
const MOST_WORDS: u64 = 4 << 10;

/// Has the program compile the component. The code begins with what `stamp` is, else it is for
/// another engine.
///
/// Must be called on a thread that stays: the kernel takes the end of the thread that started
/// the process for the end of the node. Workers of a tokio runtime stay.
pub(super) async fn compile(
    program: &Path,
    bounds: &CompileBounds,
    cores: usize,
    stamp: &[u8],
    wasm: Bytes,
) -> Result<Vec<u8>, CompileError> {
    let wall = bounds.wall(wasm.len());
    let order = CompileOrder::new(bounds.cpu_s(wasm.len()), bounds.memory_bytes, cores);
    let mut process = Process::start(program, &order).map_err(CompileError::Start)?;
    let talk = process.talk(wasm, bounds.code_bytes);
    let (status, mut code, words) =
        tokio::time::timeout(wall, talk).await.map_err(|_| CompileError::TooSlow(wall))??;
    if !status.success() {
        return Err(judge(&order, status, words));
    }
    let is_ours = code.starts_with(stamp);
    code.drain(..stamp.len().min(code.len()));
    let kind = wasmtime::Engine::detect_precompiled(&code);
    match is_ours && kind == Some(wasmtime::Precompiled::Component) {
        true => Ok(code),
        false => Err(CompileError::Failed("what it made is not for this engine".to_owned())),
    }
}

/// Has the program confine itself as for a compilation, and says what it can do all the same.
pub async fn check_confinement(program: &Path) -> Result<(), String> {
    let bounds = CompileBounds::default();
    let order = CompileOrder::new(bounds.cpu_s, bounds.memory_bytes, 1);
    let mut command = Command::new(program);
    let output = command.args(order.words()).arg(PROBE).env_clear().kill_on_drop(true).output();
    let output = output.await.map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(sanitise(output.stderr.trim_ascii())),
    }
}

/// What it means that the process ended like this.
fn judge(order: &CompileOrder, status: ExitStatus, words: String) -> CompileError {
    let limit = |limit| CompileError::TooComplex(limit);
    match (status.signal().and_then(Signal::from_named_raw), status.code()) {
        (Some(Signal::XCPU), _) => limit(CompileLimit::CpuSeconds(order.cpu_s)),
        // These are the last words of Rust's allocator, and of its guard below each stack.
        (Some(Signal::ABORT), _) if words.contains("memory allocation of") => {
            limit(CompileLimit::Memory(order.memory_bytes))
        }
        (Some(Signal::ABORT), _) if words.contains("overflowed its stack") => {
            limit(CompileLimit::Stack)
        }
        (Some(Signal::KILL), _) => CompileError::Killed,
        (_, Some(code)) => order::heard(order, code, words),
        (_, None) => CompileError::Failed(format!("it ended with {status}: {words}")),
    }
}

/// A compiler's process, which is killed with everything that it started when this is dropped.
struct Process {
    child: Child,
}

impl Process {
    fn start(program: &Path, order: &CompileOrder) -> io::Result<Self> {
        let child = Command::new(program)
            .args(order.words())
            .env_clear()
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self { child })
    }

    /// Gives it the component, and hears how it ended, what it made and what it said.
    async fn talk(
        &mut self,
        wasm: Bytes,
        most_code: u64,
    ) -> Result<(ExitStatus, Vec<u8>, String), CompileError> {
        let child = &mut self.child;
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let feed = async move {
            if let Some(mut stdin) = stdin {
                // Who ends early does not hear it all.
                let _ = stdin.write_all(&wasm).await;
            }
            Ok(())
        };
        let code = async move {
            let code = read(stdout, most_code + 1).await?;
            match code.len() as u64 > most_code {
                true => Err(CompileError::TooComplex(CompileLimit::Code(most_code))),
                false => Ok(code),
            }
        };
        let words = async move {
            let mut stderr = stderr;
            let words = read(stderr.as_mut(), MOST_WORDS).await?;
            // The rest is not kept, but has to go somewhere.
            if let Some(mut stderr) = stderr {
                let _ = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
            }
            Ok(sanitise(words.trim_ascii()))
        };
        let ((), code, words) = tokio::try_join!(feed, code, words)?;
        let status = self.child.wait().await.map_err(unheard)?;
        Ok((status, code, words))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // As long as it was not waited for, nobody else has its number.
        let id = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        if let Some(group) = id {
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
    }
}

/// Reads to the end, or so many bytes.
async fn read(
    from: Option<impl AsyncRead + Unpin>,
    most_bytes: u64,
) -> Result<Vec<u8>, CompileError> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        from.take(most_bytes).read_to_end(&mut bytes).await.map_err(unheard)?;
    }
    Ok(bytes)
}

fn unheard(error: io::Error) -> CompileError {
    CompileError::Failed(format!("it cannot be heard: {error}"))
}
