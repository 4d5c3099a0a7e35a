//! The node's own record: the node writes what it is, and its operator what it shall do.

use crate::model::{Node, NodeStatus};
use crate::shutdown::Draining;
use crate::store::{self, Cond, Consistency, Op, RangeReq, Revision, Store, Txn, codec, keys};

use super::feed::Feed;

/// Writes what the node is, keeps what was asked of it, and follows the record from then on.
pub(super) async fn register(
    store: &dyn Store,
    node: &Node,
) -> Result<(Feed<Node>, Node), store::Error> {
    let key = keys::node(node.id.as_str());
    loop {
        let found = store.range(RangeReq::key(key.clone()), Consistency::Linearizable).await?;
        let record = found.kvs.first();
        let before = record.and_then(|record| codec::decode::<Node>(record).ok());
        let status = before.map_or(NodeStatus::default(), |before| before.status);
        let node = Node { status, ..node.clone() };
        let is = record.map_or(Revision::ZERO, |record| record.mod_rev);
        let unchanged = Cond::ModRev { key: key.clone(), is };
        let put = Op::put(key.clone(), codec::encode(&node)?);
        // Whoever changes it at this moment has done so before the next look.
        if store.txn(Txn::of(vec![put]).when(unchanged)).await?.succeeded {
            let (feed, listed) = Feed::<Node>::list(store, key).await?;
            let now = listed.into_iter().find(|listed| listed.id == node.id);
            return Ok((feed, now.unwrap_or(node)));
        }
    }
}

/// Does what the record says.
pub(super) fn follow(draining: &Draining, node: &Node) {
    if draining.is_on() != node.is_draining() {
        tracing::info!(node = %node.id, status = node.status.name(), "the node's status");
    }
    draining.set(node.is_draining());
}
