//! The upstreams of this node, by name.

use std::sync::Arc;

use dashmap::DashMap;

use crate::model::Name;

use super::cell::UpstreamCell;

/// Every upstream. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct UpstreamTable(Arc<DashMap<Name, Arc<UpstreamCell>>>);

impl UpstreamTable {
    /// The upstream, if there is one of this name.
    pub fn get(&self, name: &Name) -> Option<Arc<UpstreamCell>> {
        self.0.get(name).map(|cell| Arc::clone(&cell))
    }

    /// Puts an upstream in.
    pub fn insert(&self, cell: Arc<UpstreamCell>) {
        self.0.insert(cell.name().clone(), cell);
    }

    /// Takes an upstream out.
    pub fn remove(&self, name: &Name) -> Option<Arc<UpstreamCell>> {
        self.0.remove(name).map(|(_, cell)| cell)
    }

    /// Every upstream, in no order.
    pub fn all(&self) -> Vec<Arc<UpstreamCell>> {
        self.0.iter().map(|cell| Arc::clone(&cell)).collect()
    }
}
