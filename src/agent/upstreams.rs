//! The upstreams of the cluster, which every node forwards to by itself.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::{Name, Service, Upstream};
use crate::runtime::Routes;
use crate::upstream::{Prober, Trust, UpstreamCell, UpstreamTable};

use super::feed::Change;
use super::routes;

/// The upstreams in hand.
pub(super) struct Upstreams {
    table: UpstreamTable,
    routes: Arc<Routes>,
    probers: HashMap<Name, Prober>,
}

impl Upstreams {
    pub(super) fn new(table: UpstreamTable, routes: Arc<Routes>) -> Self {
        Self { table, routes, probers: HashMap::new() }
    }

    /// Forwards to these, and to no others.
    pub(super) fn replace_all(&mut self, all: Vec<Upstream>) {
        let is_gone = |name: &Name| !all.iter().any(|upstream| upstream.name == *name);
        let held = self.table.all();
        let gone = held.iter().map(|cell| cell.name()).filter(|name| is_gone(name));
        gone.for_each(|name| self.withdraw(name));
        all.into_iter().for_each(|upstream| self.accept(upstream));
    }

    pub(super) fn take(&mut self, change: Change<Upstream>) {
        match change {
            Change::Put(upstream) => self.accept(*upstream),
            Change::Gone(name) => self.withdraw(&name),
        }
    }

    fn accept(&mut self, upstream: Upstream) {
        let name = upstream.name.clone();
        let Some(trust) = Trust::new(upstream.policy.ca.as_deref()) else {
            tracing::error!(upstream = %name, "its certificates cannot be read: left as it was");
            return;
        };
        let upstream = Arc::new(upstream);
        let found = self.table.get(&name);
        let before = found.as_ref().map(|cell| cell.upstream());
        if before.as_ref() == Some(&upstream) {
            // An agent that begins anew finds what the one before has left, but not its probers.
            self.ask(found);
            return;
        }
        self.probers.remove(&name);
        let cell = match found {
            Some(cell) => {
                cell.change(Arc::clone(&upstream), trust);
                cell
            }
            None => {
                let cell = UpstreamCell::new(Arc::clone(&upstream), trust);
                self.table.insert(Arc::clone(&cell));
                cell
            }
        };
        routes::update_upstream(&self.routes, before.as_deref(), Some(&upstream), &cell);
        self.ask(Some(cell));
    }

    /// Asks the servers of an upstream whether they are well, if nobody does.
    fn ask(&mut self, cell: Option<Arc<UpstreamCell>>) {
        let Some(cell) = cell.filter(|cell| !self.probers.contains_key(cell.name())) else {
            return;
        };
        if let Some(prober) = Prober::start(&cell) {
            self.probers.insert(cell.name().clone(), prober);
        }
    }

    /// Out of the routes first; requests under way end by themselves, and what would not end is
    /// ended.
    fn withdraw(&mut self, name: &Name) {
        self.probers.remove(name);
        let Some(cell) = self.table.remove(name) else { return };
        routes::update_upstream(&self.routes, Some(&cell.upstream()), None, &cell);
        tokio::spawn(async move {
            tokio::time::sleep(Service::DEFAULT_DRAIN).await;
            cell.close();
        });
    }
}
