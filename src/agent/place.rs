//! A revision's place on this node: what runs there, and on which terms.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use registry::Digest;

use crate::model::{
    Grant, GrantedRevision, Health, Name, QueueBounds, Scale, ScalePolicies, TaskDefinition,
};
use crate::runtime::{Deployment, Loaded, RevisionCell};

/// A granted revision. What it runs never changes; the terms do, also while it is prepared.
pub(super) struct Place {
    pub(super) service: Name,
    pub(super) definition: TaskDefinition,
    pub(super) cell: Arc<RevisionCell>,
    terms: Mutex<Terms>,
}

#[derive(Clone)]
struct Terms {
    generation: u64,
    scale: Scale,
    scaling: Option<Arc<ScalePolicies>>,
    may_shrink: bool,
    queue: QueueBounds,
    drain: Duration,
    probes: Probes,
}

/// How a revision is asked whether it is well.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Probes {
    pub(super) health: Health,
    /// The host that is asked for.
    pub(super) host: String,
}

impl Probes {
    pub(super) fn of(grant: &Grant) -> Self {
        Self { health: grant.health.clone(), host: grant.probe_host().to_owned() }
    }
}

impl Terms {
    fn of(grant: &Grant, revision: &GrantedRevision) -> Self {
        Self {
            generation: grant.generation,
            scale: revision.scale,
            scaling: (!grant.scaling.is_none()).then(|| Arc::new(grant.scaling.clone())),
            may_shrink: !grant.watched,
            queue: grant.queue,
            drain: grant.drain,
            probes: Probes::of(grant),
        }
    }
}

impl Place {
    pub(super) fn new(grant: &Grant, revision: &GrantedRevision, cell: Arc<RevisionCell>) -> Self {
        Self {
            service: grant.service.clone(),
            definition: revision.definition.clone(),
            cell,
            terms: Mutex::new(Terms::of(grant, revision)),
        }
    }

    pub(super) fn probes(&self) -> Probes {
        self.terms.lock().probes.clone()
    }

    pub(super) fn number(&self) -> u64 {
        self.cell.number()
    }

    /// Puts the component in force on the terms of the moment.
    pub(super) fn deploy(&self, component: Digest, loaded: Option<Arc<Loaded>>) {
        // Held until it is in force, so that new terms come before it or after it.
        let terms = self.terms.lock();
        self.cell.deploy(Arc::new(self.deployment(component, &terms)), loaded);
    }

    /// Changes the terms, at once if the component is in force already.
    pub(super) fn change(&self, grant: &Grant, revision: &GrantedRevision) {
        let mut terms = self.terms.lock();
        *terms = Terms::of(grant, revision);
        if let Some(deployed) = self.cell.view().deployment {
            self.cell.rescale(Arc::new(self.deployment(deployed.component, &terms)));
        }
    }

    /// Goes on with what an earlier agent of this process put in force, if it is the same.
    pub(super) fn resume(&self) -> bool {
        let terms = self.terms.lock();
        let Some(deployed) = self.cell.view().deployment else { return false };
        let is_same = deployed.definition == self.definition;
        if is_same {
            self.cell.rescale(Arc::new(self.deployment(deployed.component, &terms)));
        }
        is_same
    }

    /// What would be in force on the terms of the moment.
    pub(super) fn planned(&self, component: Digest) -> Deployment {
        self.deployment(component, &self.terms.lock())
    }

    fn deployment(&self, component: Digest, terms: &Terms) -> Deployment {
        Deployment {
            definition: self.definition.clone(),
            component,
            generation: terms.generation,
            scale: terms.scale,
            scaling: terms.scaling.clone(),
            may_shrink: terms.may_shrink,
            queue: terms.queue,
            drain: terms.drain,
        }
    }
}
