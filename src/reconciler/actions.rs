//! What a reconcile pass decided, and why.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::model::{Grant, Name, NodeId, Rollout};

/// One change to the store. Executing it leaves no choice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "action")]
pub enum Action {
    /// Write how far a deployment is, unless somebody changed it meanwhile.
    PutRollout {
        /// The deployment. A grant that follows is about it, and is written only with it.
        rollout: Box<Rollout>,
    },
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
    /// Forget a revision that is not kept any more.
    DeleteRevision {
        /// Of which service.
        service: Name,
        /// Which one.
        number: u64,
    },
    /// Forget the deployments of a service that is gone.
    DeleteRollout {
        /// The service.
        service: Name,
    },
}

/// The decision about one service, in words that the CLI shows as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ServicePlan {
    /// Where it may run.
    pub nodes: Vec<NodeId>,
    /// Why it may run nowhere, if it may not.
    pub blocked: Option<String>,
    /// Why it runs on a node that it is to leave, or on more than one, if it does.
    pub note: Option<String>,
    /// Whether a deployment is under way, or a move to another node.
    pub under_way: bool,
    /// When the plan changes by itself, by the control plane's clock.
    pub wake_at_ms: Option<u64>,
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
    /// Whether reports about the service may change the plan.
    pub fn is_under_way(&self, service: &str) -> bool {
        self.services.get(service).is_some_and(|service| service.under_way)
    }

    /// When the next pass is due although nothing has changed.
    pub fn wake_at_ms(&self) -> Option<u64> {
        self.services.values().filter_map(|service| service.wake_at_ms).min()
    }

    /// Whether the store already is as it should be.
    pub fn is_empty(&self) -> bool {
        self.actions.is_empty()
    }
}
