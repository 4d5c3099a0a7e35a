//! Carries a plan out.

use bytes::Bytes;

use crate::reconciler::{Action, Plan};
use crate::store::{self, Error, Op, Reason, Store, TXN_BYTES_MAX, TXN_OPS_MAX, Txn, codec, keys};

/// Writes every action, in order, in as few transactions as fit. A plan that is cut short by a
/// failure is completed by the next pass.
pub(super) async fn commit(store: &dyn Store, plan: &Plan) -> Result<(), store::Error> {
    let (mut ops, mut bytes) = (Vec::new(), 0);
    for action in &plan.actions {
        let (key, value) = entry(action)?;
        let more = key.len() + value.as_ref().map_or(0, Bytes::len);
        if ops.len() == TXN_OPS_MAX || bytes + more > TXN_BYTES_MAX {
            write(store, std::mem::take(&mut ops)).await?;
            bytes = 0;
        }
        bytes += more;
        ops.push(match value {
            Some(value) => Op::put(key, value),
            None => Op::delete(key),
        });
    }
    write(store, ops).await
}

/// One grant that is too large for the store must not keep the others from their nodes.
async fn write(store: &dyn Store, ops: Vec<Op>) -> Result<(), store::Error> {
    if ops.is_empty() {
        return Ok(());
    }
    match store.txn(Txn::of(ops.clone())).await {
        Err(Error::NotApplied(Reason::TooLarge { .. })) => {
            for op in ops {
                match store.txn(Txn::of(vec![op])).await {
                    Err(Error::NotApplied(reason @ Reason::TooLarge { .. })) => {
                        tracing::error!(%reason, "a grant is left out");
                    }
                    other => drop(other?),
                }
            }
            Ok(())
        }
        other => other.map(drop),
    }
}

/// The key, and what is to stand there.
fn entry(action: &Action) -> Result<(Bytes, Option<Bytes>), store::Error> {
    match action {
        Action::PutGrant { grant } => {
            tracing::info!(node = %grant.node, service = %grant.service,
                definition = %grant.definition.id, generation = grant.generation, "grant");
            let key = keys::grant(grant.node.as_str(), grant.service.as_str());
            Ok((key, Some(codec::encode(&**grant)?)))
        }
        Action::DeleteGrant { node, service } => {
            tracing::info!(%node, %service, "grant taken back");
            Ok((keys::grant(node.as_str(), service.as_str()), None))
        }
    }
}
