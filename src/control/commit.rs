//! Carries a plan out.

use bytes::Bytes;

use crate::model::{Name, Rollout};
use crate::reconciler::{Action, Plan};
use crate::store::{
    self, Cond, Error, Op, Reason, Revision, Store, TXN_BYTES_MAX, TXN_OPS_MAX, Txn, codec, keys,
};

use super::observe::Observation;

/// Writes every action, in order, in as few transactions as fit. A plan that is cut short by a
/// failure is completed by the next pass.
///
/// A deployment is written together with the grant that follows from it, and neither is written
/// when somebody changed the deployment meanwhile. What a service has left is removed only while
/// the service is gone. Whatever was changed meanwhile brings the next pass.
pub(super) async fn commit(
    store: &dyn Store,
    plan: &Plan,
    seen: &Observation,
) -> Result<(), store::Error> {
    let (mut batch, mut bytes) = (Txn::default(), 0);
    for action in &plan.actions {
        let op = op(action)?;
        let when = condition(action, seen, batch.when.first());
        let more = size(&op);
        let is_same = batch.when.first() == when.as_ref();
        if !is_same || batch.then.len() == TXN_OPS_MAX || bytes + more > TXN_BYTES_MAX {
            write(store, std::mem::take(&mut batch)).await?;
            bytes = 0;
            batch.when.extend(when);
        }
        bytes += more;
        batch.then.push(op);
    }
    write(store, batch).await
}

/// Under which condition an action is carried out, after one that had the condition `before`.
fn condition(action: &Action, seen: &Observation, before: Option<&Cond>) -> Option<Cond> {
    let unchanged = |service: &Name| {
        let is = seen.rollouts_changed.get(service).copied().unwrap_or(Revision::ZERO);
        Cond::ModRev { key: keys::rollout(service.as_str()), is }
    };
    let is_gone = |service: &Name| !seen.snapshot.services.contains_key(service);
    let gone = |service: &Name| Cond::Absent(keys::service(service.as_str()));
    match action {
        Action::PutRollout { rollout } => Some(unchanged(&rollout.service)),
        Action::PutGrant { grant } => {
            let with_rollout = unchanged(&grant.service);
            before.filter(|before| **before == with_rollout).cloned()
        }
        Action::DeleteGrant { service, .. } => is_gone(service).then(|| gone(service)),
        Action::DeleteRevision { service, .. } => Some(match is_gone(service) {
            true => gone(service),
            false => unchanged(service),
        }),
        Action::DeleteRollout { service } => Some(gone(service)),
    }
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

/// Counts the time of every stage under way from now: nobody watched it while there was no control
/// plane. A deployment that somebody changes at this moment keeps its time.
pub(super) async fn begin_stages_anew(store: &dyn Store) -> Result<(), store::Error> {
    let seen = super::observe(store).await?;
    for rollout in seen.snapshot.rollouts.values() {
        if rollout.stage.is_over() || rollout.paused_after_ms.is_some() || rollout.since_ms == 0 {
            continue;
        }
        let anew = Rollout { since_ms: 0, version: rollout.version + 1, ..rollout.clone() };
        let key = keys::rollout(rollout.service.as_str());
        let is = seen.rollouts_changed.get(&rollout.service).copied().unwrap_or(Revision::ZERO);
        let put = Op::put(key.clone(), codec::encode(&anew)?);
        store.txn(Txn::of(vec![put]).when(Cond::ModRev { key, is })).await?;
    }
    Ok(())
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
