//! The immutable template that tasks are copies of.

use std::collections::BTreeMap;

use registry::{Digest, Reference};
use serde::{Deserialize, Serialize};

use super::{Limits, Role, TaskDefinitionId};

/// One registration of a task: what runs, and under which limits.
///
/// *Invariant:* never changed once it is stored. `image` is what the user wrote; only the
/// digests count afterwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskDefinition {
    /// `family:revision`.
    pub id: TaskDefinitionId,
    /// The reference as the user wrote it.
    pub image: Reference,
    /// Digest of the OCI manifest that the reference stood for when it was registered.
    pub manifest: Digest,
    /// Environment variables of every instance.
    pub env: BTreeMap<String, String>,
    /// What a task may use.
    pub limits: Limits,
    /// What it may reach.
    #[serde(default, skip_serializing_if = "Role::is_none")]
    pub role: Role,
    /// When it was registered, as milliseconds since the Unix epoch.
    pub registered_at_ms: u64,
}

impl TaskDefinition {
    /// Whether registering `other` would change nothing but the number and the time.
    pub fn same_content(&self, other: &Self) -> bool {
        self.image == other.image
            && self.manifest == other.manifest
            && self.env == other.env
            && self.limits == other.limits
            && self.role == other.role
    }

    /// The reference by which the image is pulled: the digest, whatever the tag says today.
    pub fn pinned_image(&self) -> Reference {
        self.image.with_digest(self.manifest)
    }
}
