//! What one task, and one request to it, may use.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::resources::{ByteSize, CpuUnits, duration};

/// The limits of a task definition. All of them are on by default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The task's share of CPU, and what it reserves on its node.
    pub cpu: CpuUnits,
    /// Whether the task gets no more than that share even if nobody else wants the CPU.
    pub cpu_cap: bool,
    /// Cap on the task as a whole: linear memories, tables and host-side buffers of all its
    /// instances together.
    pub memory: ByteSize,
    /// Cap on any one instance. Never above `memory`.
    pub instance_memory: ByteSize,
    /// Instructions that one request may execute, instantiation included. Deterministic.
    pub fuel: u64,
    /// Wall-clock time of one request, from the moment a task took it to the last byte.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// Requests that one task serves at once, each in an instance of its own.
    pub concurrency: u32,
    /// Largest request body.
    pub request_body: ByteSize,
    /// Largest response body.
    pub response_body: ByteSize,
    /// Largest sum of header names and values, of the request and of the response each.
    pub headers: ByteSize,
    /// Resources (fields, bodies, streams, pollables) that an instance may hold at once.
    pub handles: u32,
    /// Bytes that the host copies out of an instance in one host call.
    pub hostcall_bytes: ByteSize,
}

impl Limits {
    /// CPU units when the manifest names none: a quarter of a core.
    pub const DEFAULT_CPU: CpuUnits = CpuUnits(256);
    /// Memory of a task when the manifest names none.
    pub const DEFAULT_MEMORY: ByteSize = ByteSize::mib(128);
    /// Fuel of a request when the manifest names none: some tenths of a CPU second.
    pub const DEFAULT_FUEL: u64 = 1_000_000_000;
    /// Wall-clock time of a request when the manifest names none.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
    /// Requests at once when the manifest names none, as in Knative.
    pub const DEFAULT_CONCURRENCY: u32 = 100;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            cpu: Self::DEFAULT_CPU,
            cpu_cap: false,
            memory: Self::DEFAULT_MEMORY,
            instance_memory: Self::DEFAULT_MEMORY,
            fuel: Self::DEFAULT_FUEL,
            timeout: Self::DEFAULT_TIMEOUT,
            concurrency: Self::DEFAULT_CONCURRENCY,
            request_body: ByteSize::mib(32),
            response_body: ByteSize::gib(1),
            headers: ByteSize::kib(64),
            handles: 256,
            hostcall_bytes: ByteSize::mib(1),
        }
    }
}
