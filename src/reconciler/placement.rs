//! Where a service runs.
//!
//! The node that has a service keeps it. One that drains gets nothing new, and gives up what it
//! has once another node serves it: until then both have it, and where there is no other node it
//! stays.

use crate::model::{
    GrantPhase, GrantStatus, GrantedRevision, HealthState, Name, Node, NodeId, Snapshot,
};

/// What is decided about the nodes of a service.
#[derive(Debug, Default)]
pub(super) struct Placement<'a> {
    /// Those that have it from now on.
    pub(super) nodes: Vec<&'a Node>,
    /// Those that had it until now.
    pub(super) leaves: Vec<&'a Node>,
    /// Whether what nodes report may end this.
    pub(super) moving: bool,
    /// Why it is not on one node that is to keep it, if it is not.
    pub(super) note: Option<String>,
}

/// Decides where the service runs, or says why it can run nowhere.
pub(super) fn place<'a>(
    snapshot: &'a Snapshot,
    service: &'a Name,
) -> Result<Placement<'a>, String> {
    let grant = |node: &Node| snapshot.grants.get(&(node.id.clone(), service.clone()));
    let holders = || snapshot.nodes.values().filter(|node| grant(node).is_some());
    let active = snapshot.nodes.values().filter(|node| !node.is_draining());
    // Of several that may keep it, the one that serves it; then by name.
    let keeper = active.min_by_key(|node| match grant(node) {
        Some(_) if serves(snapshot, &node.id, service) => 0,
        Some(_) => 1,
        None => 2,
    });
    let Some(keeper) = keeper else { return stay(snapshot, holders().collect()) };
    let others: Vec<&Node> = holders().filter(|node| node.id != keeper.id).collect();
    if others.is_empty() || serves(snapshot, &keeper.id, service) {
        return Ok(Placement { nodes: vec![keeper], leaves: others, ..Placement::default() });
    }
    let note = format!("moves from {} to {} once it is ready there", list(&others), keeper.id);
    let nodes = [vec![keeper], others].concat();
    Ok(Placement { nodes, leaves: Vec::new(), moving: true, note: Some(note) })
}

/// What there is to do where no node takes anything new.
fn stay<'a>(snapshot: &'a Snapshot, holders: Vec<&'a Node>) -> Result<Placement<'a>, String> {
    let all: Vec<&Node> = snapshot.nodes.values().collect();
    match (holders.as_slice(), all.as_slice()) {
        (_, []) => Err("no node has registered itself".to_owned()),
        ([], [one]) => {
            let id = &one.id;
            Err(format!(
                "node {id} is draining and takes no new service: `wharf node undrain {id}`"
            ))
        }
        ([], all) => Err(format!(
            "every node is draining ({}) and takes no new service: `wharf node undrain NODE`",
            list(all)
        )),
        (holders, _) => {
            let note =
                format!("stays on {}, which is draining: no other node takes it", list(holders));
            Ok(Placement { nodes: holders.to_vec(), note: Some(note), ..Placement::default() })
        }
    }
}

/// Whether the node reports that everything runs that it was last granted.
fn serves(snapshot: &Snapshot, node: &NodeId, service: &Name) -> bool {
    let key = (node.clone(), service.clone());
    let (Some(grant), Some(status)) = (snapshot.grants.get(&key), snapshot.statuses.get(&key))
    else {
        return false;
    };
    let runs = |granted: &GrantedRevision| is_ready(status, granted);
    status.generation >= grant.generation && grant.revisions.iter().all(runs)
}

fn is_ready(status: &GrantStatus, granted: &GrantedRevision) -> bool {
    status.revisions.iter().any(|one| {
        one.number == granted.number
            && one.definition == granted.definition.id
            && one.phase == GrantPhase::Ready
            && one.health != HealthState::Unhealthy
    })
}

fn list(nodes: &[&Node]) -> String {
    let ids: Vec<String> = nodes.iter().map(|node| node.id.to_string()).collect();
    ids.join(", ")
}
