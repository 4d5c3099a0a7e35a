//! Carries a plan out.

use crate::reconciler::{Action, Plan};
use crate::store::{self, Op, Store, Txn, codec, keys};

/// Actions of one transaction: half of what a transaction may have, and at some kilobytes each
/// well within its bytes.
const ACTIONS_PER_TXN: usize = 50;

/// Writes every action, in order. A plan that is cut short by a failure is completed by the next
/// pass.
pub(super) async fn commit(store: &dyn Store, plan: &Plan) -> Result<(), store::Error> {
    for actions in plan.actions.chunks(ACTIONS_PER_TXN) {
        let ops = actions.iter().map(operation).collect::<Result<_, _>>()?;
        store.txn(Txn::of(ops)).await?;
    }
    Ok(())
}

fn operation(action: &Action) -> Result<Op, store::Error> {
    match action {
        Action::PutGrant { grant } => {
            tracing::info!(node = %grant.node, service = %grant.service,
                definition = %grant.definition.id, generation = grant.generation, "grant");
            let key = keys::grant(grant.node.as_str(), grant.service.as_str());
            Ok(Op::put(key, codec::encode(&**grant)?))
        }
        Action::DeleteGrant { node, service } => {
            tracing::info!(%node, %service, "grant taken back");
            Ok(Op::delete(keys::grant(node.as_str(), service.as_str())))
        }
    }
}
