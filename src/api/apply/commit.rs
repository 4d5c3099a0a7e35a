//! Writes what was decided, if nobody else changed the same things meanwhile.

use crate::model::TaskDefinitionId;
use crate::store::{self, Cond, Op, Revision, Store, TXN_BYTES_MAX, TXN_OPS_MAX, Txn, codec, keys};

use super::super::dto::Change;
use super::decide::Decision;

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

/// A record and the condition under which it may be written; a condition may stand alone.
struct Write {
    when: Cond,
    op: Option<Op>,
}

impl Write {
    fn bytes(&self) -> usize {
        let put = match &self.op {
            Some(Op::Put { key, value, .. }) => key.len() + value.len(),
            _ => 0,
        };
        self.when.key().len() + put
    }
}

fn writes(decision: &Decision) -> Result<Vec<Write>, store::Error> {
    let mut writes = Vec::new();
    let created = decision.definitions.iter().filter(|d| d.change == Change::Created);
    for decided in created {
        let id = &decided.definition.id;
        let key = keys::task_definition(id.family.as_str(), id.revision);
        let op = Op::put(key.clone(), codec::encode(&decided.definition)?);
        writes.push(Write { when: Cond::Absent(key), op: Some(op) });
    }
    let is_created = |id: &TaskDefinitionId| {
        decision
            .definitions
            .iter()
            .any(|d| d.change == Change::Created && d.definition.id.family == id.family)
    };
    let mut services = Vec::new();
    for decided in decision.services.iter().filter(|s| s.change != Change::Unchanged) {
        let key = keys::service(decided.service.name.as_str());
        let op = Op::put(key.clone(), codec::encode(&decided.service)?);
        services.push(Write { when: Cond::ModRev { key, is: decided.seen }, op: Some(op) });
    }
    // Where nothing is written, nothing can be lost.
    if !writes.is_empty() || !services.is_empty() {
        for id in decision.newest.iter().filter(|id| !is_created(id)) {
            let next = keys::task_definition(id.family.as_str(), id.revision.saturating_add(1));
            writes.push(Write { when: Cond::Absent(next), op: None });
        }
    }
    writes.append(&mut services);
    Ok(writes)
}

/// As few transactions as the limits of the store allow.
fn split(writes: Vec<Write>) -> Vec<Txn> {
    let mut txns = Vec::new();
    let (mut txn, mut bytes) = (Txn::default(), 0);
    for write in writes {
        let more = write.bytes();
        let full = txn.when.len() == TXN_OPS_MAX || bytes + more > TXN_BYTES_MAX;
        if full && !txn.when.is_empty() {
            txns.push(std::mem::take(&mut txn));
            bytes = 0;
        }
        bytes += more;
        txn.when.push(write.when);
        txn.then.extend(write.op);
    }
    if !txn.when.is_empty() {
        txns.push(txn);
    }
    txns
}
