//! What the node says about a grant.

use registry::Digest;

use crate::clock;
use crate::model::{Grant, GrantPhase, GrantStatus, Name, NodeId, TaskDefinition};
use crate::store::{self, Cond, Consistency, Op, RangeReq, Revision, Store, Txn, codec, keys};

/// Longest message in bytes: linkers can be wordy.
const MESSAGE_BYTES: usize = 4 << 10;

/// Writes how far the node is. A report that cannot be written is lost: the next one says more.
pub(super) async fn report(
    store: &dyn Store,
    grant: &Grant,
    serving: Option<TaskDefinition>,
    phase: GrantPhase,
    code: Option<&str>,
    message: &str,
) {
    let mut message = message.to_owned();
    message.truncate(message.floor_char_boundary(MESSAGE_BYTES));
    match (phase, code) {
        (GrantPhase::Failed, _) => tracing::warn!(service = %grant.service,
            definition = %grant.definition.id, code, message, "the deployment failed"),
        (_, Some(code)) => tracing::warn!(service = %grant.service,
            definition = %grant.definition.id, code, message, "the deployment is tried again"),
        _ => tracing::info!(service = %grant.service, definition = %grant.definition.id,
            phase = ?phase, message, "deployment"),
    }
    let status = GrantStatus {
        node: grant.node.clone(),
        service: grant.service.clone(),
        generation: grant.generation,
        definition: grant.definition.id.clone(),
        serving: serving.map(Box::new),
        phase,
        code: code.map(str::to_owned),
        message,
        at_ms: clock::unix_ms(),
    };
    if let Err(error) = write(store, &status).await {
        tracing::warn!(service = %grant.service, %error, "the report was lost");
    }
}

async fn write(store: &dyn Store, status: &GrantStatus) -> Result<(), store::Error> {
    let key = keys::status(status.node.as_str(), status.service.as_str());
    let put = Op::put(key, codec::encode(status)?);
    store.txn(Txn::of(vec![put])).await.map(drop)
}

/// Removes what was said about a grant that is gone. What was said about a later grant of the
/// same service stays: the service may have come back while this one's requests were waited for.
pub(super) async fn forget(store: &dyn Store, grant: &Grant) {
    let delete = Op::delete(keys::status(grant.node.as_str(), grant.service.as_str()));
    let gone = Cond::Absent(keys::grant(grant.node.as_str(), grant.service.as_str()));
    if let Err(error) = store.txn(Txn::of(vec![delete]).when(gone)).await {
        tracing::warn!(service = %grant.service, %error, "the report could not be removed");
    }
}

/// What was last said about the service of a grant.
pub(super) async fn last(store: &dyn Store, grant: &Grant) -> Option<GrantStatus> {
    let request = RangeReq::key(keys::status(grant.node.as_str(), grant.service.as_str()));
    let found = store.range(request, Consistency::Cached(Revision::ZERO)).await.ok()?;
    codec::decode(found.kvs.first()?).ok()
}

/// The images that the node last said it serves, by service.
pub(super) async fn served(
    store: &dyn Store,
    node: &NodeId,
) -> Result<Vec<(Name, Digest)>, store::Error> {
    let request = RangeReq::prefix(keys::node_status(node.as_str()));
    let found = store.range(request, Consistency::Cached(Revision::ZERO)).await?;
    let statuses = found.kvs.iter().filter_map(|record| codec::decode::<GrantStatus>(record).ok());
    let served = statuses.filter_map(|status| Some((status.service, status.serving?.manifest)));
    Ok(served.collect())
}
