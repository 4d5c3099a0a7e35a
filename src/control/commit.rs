//! Carries a plan out.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::model::Name;
use crate::reconciler::{Action, Plan};
use crate::store::{
    self, Cond, Error, Op, Reason, Revision, Store, TXN_BYTES_MAX, TXN_OPS_MAX, Txn, codec, keys,
};

/// Writes every action, in order, in as few transactions as fit. A plan that is cut short by a
/// failure is completed by the next pass.
///
/// A deployment is written together with the grant that follows from it, and neither is written
/// when somebody changed the deployment meanwhile: that change brings the next pass.
pub(super) async fn commit(
    store: &dyn Store,
    plan: &Plan,
    rollouts_changed: &BTreeMap<Name, Revision>,
) -> Result<(), store::Error> {
    let (mut batch, mut bytes) = (Txn::default(), 0);
    for action in &plan.actions {
        let op = op(action)?;
        let follows = match (action, batch.when.first()) {
            (Action::PutGrant { grant }, Some(cond)) => {
                *cond.key() == keys::rollout(grant.service.as_str())
            }
            (_, when) => when.is_none() && !matches!(action, Action::PutRollout { .. }),
        };
        let more = size(&op);
        if !follows || batch.then.len() == TXN_OPS_MAX || bytes + more > TXN_BYTES_MAX {
            write(store, std::mem::take(&mut batch)).await?;
            bytes = 0;
        }
        if let Action::PutRollout { rollout } = action {
            let is = rollouts_changed.get(&rollout.service).copied().unwrap_or(Revision::ZERO);
            batch.when.push(Cond::ModRev { key: keys::rollout(rollout.service.as_str()), is });
        }
        bytes += more;
        batch.then.push(op);
    }
    write(store, batch).await
}

/// One grant that is too large for the store must not keep the others from their nodes.
async fn write(store: &dyn Store, txn: Txn) -> Result<(), store::Error> {
    if txn.then.is_empty() {
        return Ok(());
    }
    match store.txn(txn.clone()).await {
        Err(Error::NotApplied(Reason::TooLarge { .. })) if txn.when.is_empty() => {
            for op in txn.then {
                match store.txn(Txn::of(vec![op])).await {
                    Err(Error::NotApplied(reason @ Reason::TooLarge { .. })) => {
                        tracing::error!(%reason, "a grant is left out");
                    }
                    other => drop(other?),
                }
            }
            Ok(())
        }
        Err(Error::NotApplied(reason @ Reason::TooLarge { .. })) => {
            tracing::error!(%reason, "a deployment and its grant are left out");
            Ok(())
        }
        other => other.map(drop),
    }
}

fn size(op: &Op) -> usize {
    match op {
        Op::Put { key, value, .. } => key.len() + value.len(),
        Op::Delete { key } => key.len(),
        Op::Get(_) => 0,
    }
}

fn op(action: &Action) -> Result<Op, store::Error> {
    Ok(match action {
        Action::PutRollout { rollout } => {
            let event = rollout.events.last().map(|event| event.message.as_str());
            tracing::info!(service = %rollout.service, stage = rollout.stage.as_str(), event,
                "deployment");
            Op::put(keys::rollout(rollout.service.as_str()), codec::encode(&**rollout)?)
        }
        Action::PutGrant { grant } => {
            let revisions = grant.revisions.iter();
            let revisions: Vec<_> = revisions.map(|one| (one.number, one.share)).collect();
            tracing::info!(node = %grant.node, service = %grant.service, ?revisions,
                generation = grant.generation, "grant");
            let key = keys::grant(grant.node.as_str(), grant.service.as_str());
            Op::put(key, codec::encode(&**grant)?)
        }
        Action::DeleteGrant { node, service } => {
            tracing::info!(%node, %service, "grant taken back");
            delete(keys::grant(node.as_str(), service.as_str()))
        }
        Action::DeleteRevision { service, number } => {
            tracing::info!(%service, revision = number, "revision forgotten");
            delete(keys::revision(service.as_str(), *number))
        }
        Action::DeleteRollout { service } => delete(keys::rollout(service.as_str())),
    })
}

fn delete(key: Bytes) -> Op {
    Op::Delete { key }
}
