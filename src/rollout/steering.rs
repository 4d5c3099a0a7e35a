//! Where the requests of a service go, besides shares and tags, as a node is told.

use crate::model::{Rollout, Service, Steering};

/// See the module documentation.
pub fn steering(service: &Service, _rollout: &Rollout) -> Steering {
    Steering { affinity: service.affinity.clone() }
}
