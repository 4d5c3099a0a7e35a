//! Task definitions and tasks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock;
use crate::model::{self, duration};
use crate::runtime::TaskView;

/// A running copy of a task definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Task {
    /// `service/number`.
    #[schema(example = "hello/3")]
    pub id: String,
    /// The service that it runs for.
    pub service: String,
    /// What it runs.
    pub definition: String,
    /// The node that it runs on.
    pub node: String,
    /// Requests that it serves now.
    pub in_flight: u32,
    /// Requests that it may serve at once.
    pub concurrency: u32,
    /// Memory that its instances hold now, in bytes.
    pub memory_bytes: u64,
    /// When it started (RFC 3339).
    #[schema(example = "2026-11-24T11:02:18.123Z")]
    pub started_at: String,
}

/// An immutable template that tasks are copies of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskDefinition {
    /// `family:revision`.
    pub id: String,
    /// The image as it was named.
    pub image: String,
    /// The digest of the manifest that runs, whatever the tag says today.
    pub manifest: String,
    /// Environment variables of every instance.
    pub env: BTreeMap<String, String>,
    /// What a task may use.
    pub limits: Limits,
    /// What a task may reach, as in its manifest; nothing that is not listed.
    #[serde(default, skip_serializing_if = "model::Role::is_none")]
    #[schema(value_type = Object)]
    pub role: model::Role,
    /// When it was registered (RFC 3339).
    pub registered_at: String,
}

/// The limits of a task definition, written as in a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Limits {
    /// CPU units; 1024 are one core.
    pub cpu: u32,
    /// Whether a task gets no more than them even if nobody else wants the CPU.
    #[serde(default)]
    pub cpu_cap: bool,
    /// Memory of all instances of a task together.
    #[schema(example = "128MiB")]
    pub memory: String,
    /// Memory of one instance.
    pub instance_memory: String,
    /// Instructions that one request may execute.
    pub fuel: u64,
    /// Wall-clock time of one request.
    #[schema(example = "30s")]
    pub timeout: String,
    /// Requests that one task serves at once.
    pub concurrency: u32,
    /// Largest request body.
    pub request_body: String,
    /// Largest response body.
    pub response_body: String,
    /// Largest header section.
    pub headers: String,
    /// Resources that an instance may hold at once.
    pub handles: u32,
    /// Bytes that are copied out of an instance in one host call.
    pub hostcall_bytes: String,
}

impl Task {
    /// A task of a service as the node's table shows it.
    pub(in crate::api) fn new(
        service: &model::Name,
        definition: &str,
        node: &model::NodeId,
        task: &TaskView,
    ) -> Self {
        let id = model::TaskId { service: service.clone(), number: task.number };
        Self {
            id: id.to_string(),
            service: service.to_string(),
            definition: definition.to_owned(),
            node: node.to_string(),
            in_flight: task.in_flight,
            concurrency: task.concurrency,
            memory_bytes: task.memory_bytes,
            started_at: clock::rfc3339(task.started_at_ms),
        }
    }
}

impl From<&model::TaskDefinition> for TaskDefinition {
    fn from(definition: &model::TaskDefinition) -> Self {
        Self {
            id: definition.id.to_string(),
            image: definition.image.to_string(),
            manifest: definition.manifest.to_string(),
            env: definition.env.clone(),
            limits: (&definition.limits).into(),
            role: definition.role.clone(),
            registered_at: clock::rfc3339(definition.registered_at_ms),
        }
    }
}

impl From<&model::Limits> for Limits {
    fn from(limits: &model::Limits) -> Self {
        Self {
            cpu: limits.cpu.0,
            cpu_cap: limits.cpu_cap,
            memory: limits.memory.to_string(),
            instance_memory: limits.instance_memory.to_string(),
            fuel: limits.fuel,
            timeout: duration::format(limits.timeout),
            concurrency: limits.concurrency,
            request_body: limits.request_body.to_string(),
            response_body: limits.response_body.to_string(),
            headers: limits.headers.to_string(),
            handles: limits.handles,
            hostcall_bytes: limits.hostcall_bytes.to_string(),
        }
    }
}
