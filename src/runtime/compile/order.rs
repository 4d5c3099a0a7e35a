//! What the node and the compiler's process agree on: how it is asked, and what it answers.
//!
//! The component goes to standard input. Compiled code comes from standard output, behind the
//! stamp of the engine that it is for. Where there is none, the exit code says what kind of
//! reason there is, and standard error the reason.

use super::error::{CompileError, CompileLimit};

/// The command of the program that compiles.
const COMMAND: &str = "compile";
/// Asks for no compilation, but for what the process can do when it is confined.
pub(super) const PROBE: &str = "--probe";
/// Most threads of a compilation: each takes memory of its own.
const MOST_THREADS: usize = 8;

/// What a compiler's process is asked for, and the limits that it sets itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::Args)]
pub struct CompileOrder {
    /// CPU time, in seconds
    #[arg(long)]
    pub(super) cpu_s: u64,
    /// Memory, in bytes
    #[arg(long)]
    pub(super) memory_bytes: u64,
    /// Threads
    #[arg(long)]
    pub(super) threads: usize,
    /// The process that asks
    #[arg(long)]
    pub(super) parent: i32,
}

impl CompileOrder {
    pub(super) fn new(cpu_s: u64, memory_bytes: u64, cores: usize) -> Self {
        let parent = rustix::process::getpid().as_raw_pid();
        Self { cpu_s, memory_bytes, threads: cores.clamp(1, MOST_THREADS), parent }
    }

    /// The command line after the program's name.
    pub(super) fn words(&self) -> [String; 5] {
        [
            COMMAND.to_owned(),
            format!("--cpu-s={}", self.cpu_s),
            format!("--memory-bytes={}", self.memory_bytes),
            format!("--threads={}", self.threads),
            format!("--parent={}", self.parent),
        ]
    }
}

/// The exit code by which the compiler's process says why there is no code, and its words. Codes
/// that others use, for bad usage (2) and panics (101), are left alone.
pub(super) fn said(error: &CompileError) -> (u8, String) {
    match error {
        CompileError::Precompiled => (10, String::new()),
        CompileError::TooLarge(bytes) => (11, bytes.to_string()),
        CompileError::CoreModule(why) => (12, why.clone()),
        CompileError::Invalid(why) => (13, why.clone()),
        CompileError::TooComplex(_) => (14, String::new()),
        CompileError::Unconfined(why) => (15, why.clone()),
        other => (16, other.to_string()),
    }
}

/// What a process that was asked like this meant by its exit code and its words.
pub(super) fn heard(order: &CompileOrder, exit_code: i32, words: String) -> CompileError {
    match exit_code {
        10 => CompileError::Precompiled,
        11 => CompileError::TooLarge(words.parse().unwrap_or(usize::MAX)),
        12 => CompileError::CoreModule(words),
        13 => CompileError::Invalid(words),
        14 => CompileError::TooComplex(CompileLimit::Memory(order.memory_bytes)),
        15 => CompileError::Unconfined(words),
        16 => CompileError::Failed(words),
        code => CompileError::Failed(format!("it ended with exit code {code}: {words}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_heard() {
        let order = CompileOrder::new(1, 2, 3);
        let why = || "why".to_owned();
        for error in [
            CompileError::Precompiled,
            CompileError::TooLarge(7),
            CompileError::CoreModule(why()),
            CompileError::Invalid(why()),
            CompileError::TooComplex(CompileLimit::Memory(2)),
            CompileError::Unconfined(why()),
        ] {
            let (code, words) = said(&error);
            assert_eq!(heard(&order, code.into(), words).to_string(), error.to_string());
        }
        assert_eq!(heard(&order, 101, why()).code(), "compiler-failed");
    }
}
