//! From zero to many tasks and back, deployments under way, and components that cannot run.

mod capacity;
mod compile;
mod damage;
mod deploy;
mod policies;
mod tasks;
mod zero;

use std::sync::Arc;

use tokio::task::JoinSet;
use wharf::runtime::{Deployment, RevisionCell};

use crate::support::{Front, Raw, ServiceOptions, eventually};

/// Deploys a service whose code is gone from the cache: its requests wait for [`revive`].
async fn deploy_broken(
    front: &Front,
    name: &str,
    wasm: &[u8],
    options: ServiceOptions,
) -> (Arc<RevisionCell>, Deployment) {
    let cell = front.deploy(name, wasm, options.clone()).await;
    let deployment = front.prepare(name, wasm, options).await;
    front.cache.remove(&front.compiler.key(&deployment.component));
    (cell, deployment)
}

/// What the agent does when it is told that code is gone.
async fn revive(front: &Front, cell: &Arc<RevisionCell>, wasm: &[u8], deployment: Deployment) {
    let compiled = front.compile(wasm).await;
    compiled.expect("it compiles");
    cell.deploy(Arc::new(deployment), None);
}

/// Sends `count` requests at once, each on a connection of its own.
fn ask_all(front: &Front, count: usize, service: &str, path: &str) -> JoinSet<Option<u16>> {
    let mut asking = JoinSet::new();
    for _ in 0..count {
        let address = front.address;
        let request = format!("GET {path} HTTP/1.1\r\nhost: {service}.test\r\n\r\n");
        asking.spawn(async move {
            let mut raw = Raw::connect(address).await;
            raw.send(request).await;
            raw.answer().await.map(|answer| answer.status)
        });
    }
    asking
}

async fn is_asleep(front: &Front, cell: &RevisionCell) {
    eventually("the service sleeps", || {
        let view = cell.view();
        view.tasks.is_empty() && !view.loaded && front.loader.live() == 0
    })
    .await;
}
