//! Why a component cannot be compiled.

use std::fmt;
use std::io;
use std::time::Duration;

use super::MOST_BYTES;

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
    /// The compiler reached a limit of its process.
    #[error("compiling the component needs more than {0}\nhint: {hint}", hint = TOO_COMPLEX)]
    TooComplex(CompileLimit),
    /// The compiler did not end in time, though it may not have had the CPU to itself.
    #[error("the component was not compiled within {0:?}\nhint: {hint}", hint = TOO_SLOW)]
    TooSlow(Duration),
    /// The compiler's process was killed, and so was the one after it.
    #[error("the compiler was killed twice (SIGKILL)\nhint: {hint}", hint = KILLED)]
    Killed,
    /// The compiler's process cannot be started.
    #[error("the compiler cannot be started")]
    Start(#[source] io::Error),
    /// The kernel does not let the compiler's process be confined.
    #[error("the compiler cannot be confined: {0}\nhint: {hint}", hint = UNCONFINED)]
    Unconfined(String),
    /// The compiled code cannot be written.
    #[error("the compiled code cannot be stored")]
    Store(#[source] io::Error),
    /// The compiler itself failed.
    #[error("the compiler failed: {0}")]
    Failed(String),
}

const TOO_COMPLEX: &str =
    "build it for release, leave out what it does not use, or split it into several services";
const TOO_SLOW: &str = "see what else keeps the CPU busy, then change the service to try again";
const KILLED: &str =
    "look into the kernel's log whether memory ran out; change the service to try again";
const UNCONFINED: &str = "the kernel must have seccomp filters, and let programs install them";

/// What a compilation may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompileLimit {
    /// Seconds of CPU time, of all its threads together.
    CpuSeconds(u64),
    /// Bytes of memory.
    Memory(u64),
    /// The stack of a thread, by how deep the component nests.
    Stack,
    /// Bytes of compiled code.
    Code(u64),
}

impl fmt::Display for CompileLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CpuSeconds(seconds) => write!(f, "{seconds} s of CPU time"),
            Self::Memory(bytes) => write!(f, "{} MiB of memory", bytes >> 20),
            Self::Stack => write!(f, "the stack of a compiler thread: it nests too deep"),
            Self::Code(bytes) => write!(f, "{} MiB of compiled code", bytes >> 20),
        }
    }
}

impl CompileError {
    /// The stable code; each has a page under `docs/errors/`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Precompiled => "component-precompiled",
            Self::TooLarge(_) => "component-too-large",
            Self::CoreModule(_) => "component-core-module",
            Self::Invalid(_) => "component-invalid",
            Self::TooComplex(_) => "component-too-complex",
            Self::TooSlow(_) => "compiler-timeout",
            Self::Start(_) | Self::Unconfined(_) => "compiler-unavailable",
            Self::Store(error) if error.kind() == io::ErrorKind::StorageFull => "disk-full",
            Self::Store(_) => "cache-unwritable",
            Self::Killed | Self::Failed(_) => "compiler-failed",
        }
    }

    /// Whether the same component may compile later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Start(_) | Self::Unconfined(_) | Self::Store(_))
    }
}
