//! What an apply did.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What an apply did, or would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Applied {
    /// The revision of the store that shows it.
    pub revision: u64,
    /// Whether nothing was written.
    pub dry_run: bool,
    /// Every task of the manifest.
    pub tasks: Vec<AppliedTask>,
    /// Every service of the manifest.
    pub services: Vec<AppliedService>,
    /// Every upstream of the manifest.
    #[serde(default)]
    pub upstreams: Vec<AppliedUpstream>,
}

/// What became of a task of the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AppliedTask {
    /// The task definition, `family:revision`.
    #[schema(example = "hello:1")]
    pub id: String,
    /// `created` or `unchanged`.
    pub change: Change,
    /// The image as the manifest names it.
    pub image: String,
    /// The digest that it stands for.
    pub manifest: String,
}

/// What became of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AppliedService {
    /// Its name.
    pub name: String,
    /// Whether it is new or was changed.
    pub change: Change,
    /// The task definition that it runs.
    pub task: String,
    /// Its generation afterwards.
    pub generation: u64,
    /// The revision that it has, or that is being rolled out.
    pub revision: u64,
    /// What changed, in words, such as `scale.max 20 → 30`.
    pub changes: Vec<String>,
    /// What its owner may not expect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What became of an upstream of the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AppliedUpstream {
    /// Its name.
    pub name: String,
    /// Whether it is new or was changed.
    pub change: Change,
    /// Its generation afterwards.
    pub generation: u64,
    /// What changed, in words, such as `target + http://10.0.0.7:80`.
    pub changes: Vec<String>,
}

/// What happened to something in a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It did not exist.
    Created,
    /// It existed, and is different now.
    Updated,
    /// It is as it was.
    Unchanged,
}

/// One mistake in a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ManifestProblem {
    /// Where, such as `service.hello.scale.max`. Empty for the manifest as a whole.
    pub path: String,
    /// The offending value, shortened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The line, from 1, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
}
