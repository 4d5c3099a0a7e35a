//! What a reconcile pass decided, and why.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::model::{Grant, Name, NodeId};

/// One change to the store. Executing it leaves no choice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "action")]
pub enum Action {
    /// Write this grant, whatever stood there.
    PutGrant {
        /// The grant.
        grant: Box<Grant>,
    },
    /// Take the grant back.
    DeleteGrant {
        /// From which node.
        node: NodeId,
        /// For which service.
        service: Name,
    },
}

/// The decision about one service, in words that the CLI shows as they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServicePlan {
    /// Where it may run.
    pub nodes: Vec<NodeId>,
    /// Why it may run nowhere, if it may not.
    pub blocked: Option<String>,
}

/// The whole decision of a pass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// What is to be written, in order.
    pub actions: Vec<Action>,
    /// What was decided for each service, changed or not.
    pub services: BTreeMap<Name, ServicePlan>,
}

impl Plan {
    /// Whether the store already is as it should be.
    pub fn is_empty(&self) -> bool {
        self.actions.is_empty()
    }
}
