//! Where the requests of a service go, besides shares and tags, as a node is told.

use crate::model::{Marked, Rollout, Service, Steering};

use super::parts::in_service;

/// See the module documentation. Like a tag, a mark of the latest revision leads to the one that
/// is in service.
pub fn steering(service: &Service, rollout: &Rollout) -> Steering {
    let targets = service.traffic.iter();
    let marked = targets.filter(|target| target.header.is_some() || target.cookie.is_some());
    let marked = marked.map(|target| Marked {
        revision: target.revision.unwrap_or_else(|| in_service(rollout)),
        header: target.header.clone(),
        cookie: target.cookie.clone(),
    });
    let (affinity, mirror) = (service.affinity.clone(), service.mirror.clone());
    Steering { affinity, marked: marked.collect(), mirror }
}
