//! Writes what was decided, if nobody else changed the same things meanwhile.

use crate::model::TaskDefinitionId;
use crate::store::{self, Cond, Op, Revision, Store, TXN_BYTES_MAX, TXN_OPS_MAX, Txn, codec, keys};

use super::super::dto::Change;
use super::decide::{DecidedService, Decision};

/// How a round ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Committed {
    /// Everything is written, and this revision shows it.
    At(Revision),
    /// Others changed the same records, or nobody knows: look again.
    Lost,
}

/// Task definitions first, so that no service ever names one that is not there.
pub(super) async fn commit(
    store: &dyn Store,
    decision: &Decision,
    seen: Revision,
) -> Result<Committed, store::Error> {
    let mut revision = seen;
    for txn in split(writes(decision)?) {
        match store.txn(txn).await {
            Ok(response) if response.succeeded => revision = response.revision,
            Ok(_) | Err(store::Error::Unknown(_)) => return Ok(Committed::Lost),
            Err(error) => return Err(error),
        }
    }
    Ok(Committed::At(revision))
}

/// Records that belong together, and the conditions under which they may be written; a condition
/// may stand alone.
#[derive(Default)]
struct Write {
    when: Vec<Cond>,
    ops: Vec<Op>,
}

impl Write {
    fn of(when: Cond, op: Op) -> Self {
        Self { when: vec![when], ops: vec![op] }
    }

    fn and(mut self, when: Cond, op: Op) -> Self {
        self.when.push(when);
        self.ops.push(op);
        self
    }

    fn bytes(&self) -> usize {
        let puts = self.ops.iter().map(|op| match op {
            Op::Put { key, value, .. } => key.len() + value.len(),
            _ => 0,
        });
        puts.chain(self.when.iter().map(|when| when.key().len())).sum()
    }
}

fn writes(decision: &Decision) -> Result<Vec<Write>, store::Error> {
    let mut writes = Vec::new();
    let created = decision.definitions.iter().filter(|d| d.change == Change::Created);
    for decided in created {
        let id = &decided.definition.id;
        let key = keys::task_definition(id.family.as_str(), id.revision);
        let op = Op::put(key.clone(), codec::encode(&decided.definition)?);
        writes.push(Write::of(Cond::Absent(key), op));
    }
    let is_created = |id: &TaskDefinitionId| {
        decision
            .definitions
            .iter()
            .any(|d| d.change == Change::Created && d.definition.id.family == id.family)
    };
    let changed = decision.services.iter().filter(|s| s.change != Change::Unchanged);
    let mut services = changed.map(write_service).collect::<Result<Vec<_>, _>>()?;
    let changed = decision.upstreams.iter().filter(|u| u.change != Change::Unchanged);
    for decided in changed {
        let key = keys::upstream(decided.upstream.name.as_str());
        let op = Op::put(key.clone(), codec::encode(&decided.upstream)?);
        services.push(Write::of(Cond::ModRev { key, is: decided.seen }, op));
    }
    // Where nothing is written, nothing can be lost.
    if !writes.is_empty() || !services.is_empty() {
        for id in decision.newest.iter().filter(|id| !is_created(id)) {
            let next = keys::task_definition(id.family.as_str(), id.revision.saturating_add(1));
            writes.push(Write { when: vec![Cond::Absent(next)], ops: Vec::new() });
        }
    }
    writes.append(&mut services);
    Ok(writes)
}

/// A service, its deployment and the revision that this rolls out, all or nothing.
fn write_service(decided: &DecidedService) -> Result<Write, store::Error> {
    let name = decided.service.name.as_str();
    let key = keys::service(name);
    let op = Op::put(key.clone(), codec::encode(&decided.service)?);
    let mut write = Write::of(Cond::ModRev { key, is: decided.seen }, op);
    let (rollout, seen) = &decided.rollout;
    let key = keys::rollout(name);
    let op = Op::put(key.clone(), codec::encode(rollout)?);
    write = write.and(Cond::ModRev { key, is: *seen }, op);
    if let Some(revision) = &decided.revision {
        let key = keys::revision(name, revision.number);
        // A service of this name that was deleted may have left one: it is not used again.
        let op = Op::put(key.clone(), codec::encode(revision)?);
        write.ops.push(op);
    }
    Ok(write)
}

/// As few transactions as the limits of the store allow.
fn split(writes: Vec<Write>) -> Vec<Txn> {
    let mut txns = Vec::new();
    let (mut txn, mut bytes) = (Txn::default(), 0);
    for write in writes {
        let more = write.bytes();
        let many = |there: usize, more: usize| there + more > TXN_OPS_MAX;
        let full = many(txn.when.len(), write.when.len())
            || many(txn.then.len(), write.ops.len())
            || bytes + more > TXN_BYTES_MAX;
        if full && !txn.when.is_empty() {
            txns.push(std::mem::take(&mut txn));
            bytes = 0;
        }
        bytes += more;
        txn.when.extend(write.when);
        txn.then.extend(write.ops);
    }
    if !txn.when.is_empty() {
        txns.push(txn);
    }
    txns
}
