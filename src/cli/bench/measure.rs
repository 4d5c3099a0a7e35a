//! The measurements, in their order.
//!
//! Services are deployed first, and their memory is read while all of them sleep. Then instances
//! are held, before any load has touched memory that later ones would reuse. Then services are
//! woken one by one, and last comes the load.

mod cold;
mod deploy;
mod fairness;
mod latency;
mod live;
mod restart;
mod warm;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::HeaderValue;

use crate::api::{self, Top};
use crate::clock;

use super::load::Target;
use super::machine::{Machine, Stretch};
use super::node::Node;
use super::plan::{self, Plan};
use super::results::{Control, FORMAT, Figures, Parameters, Results, Versions};
use super::steps::Steps;

/// What the built-in component answers.
const OWN_BODY: &[u8] = b"Hello from wharf bench\n";
/// How long a request may still fail for another reason before it is clear that the node is gone.
const LAST_LOOK: Duration = Duration::from_millis(300);

/// A run, and the node with all services.
struct Run<'a> {
    plan: &'a Plan,
    steps: &'a Steps,
    many: &'a Node,
    few: &'a Node,
    /// Hosts of all services.
    hosts: Arc<[HeaderValue]>,
}

impl Run<'_> {
    /// These services on the node with all of them.
    fn target(&self, services: std::ops::Range<u32>, path: &'static str) -> Target {
        let hosts = &self.hosts[services.start as usize..services.end as usize];
        self.target_on(self.many, hosts.into(), path)
    }

    fn target_on(&self, node: &Node, hosts: Arc<[HeaderValue]>, path: &'static str) -> Target {
        let body = self.plan.component.is_own.then_some(Bytes::from_static(OWN_BODY));
        Target { address: node.http, hosts, path, body }
    }

    /// Services that share a component.
    fn shared(&self) -> std::ops::Range<u32> {
        self.plan.distinct()..self.plan.services
    }

    /// Everything that is measured while both nodes run, in its order.
    async fn figures(&self) -> anyhow::Result<Figures> {
        let (images, deploy, memory) = deploy::deploy(self).await?;
        let live = live::live(self).await?;
        let cold = cold::cold(self).await?;
        let warm = warm::warm(self).await?;
        let latency = latency::latency(self, warm.random.rate()).await?;
        let fairness = match self.plan.component.is_own {
            true => Some(fairness::fairness(self).await?),
            false => None,
        };
        let deploy = deploy::one_more(self, &images, deploy).await?;
        let control = Control::of(warm.hot.ratios(&warm.hot_again));
        Ok(Figures { control, deploy, memory, live, cold, warm, latency, fairness })
    }

    /// What the node says of itself now; the state is not read for it.
    async fn top(&self) -> anyhow::Result<Top> {
        self.many.api.get(&["v1", "top"]).await
    }
}

/// Measures everything.
pub(super) async fn everything(
    plan: &Plan,
    folder: &Path,
    steps: &Steps,
) -> anyhow::Result<Results> {
    let (started_at, began) = (clock::rfc3339(clock::unix_ms()), clock::now());
    let mut conditions = Stretch::begin();
    steps.begin("starting two nodes");
    let many_folder = folder.join("node");
    let many = Node::start(&many_folder).await?;
    let few = Node::start(&folder.join("few")).await?;
    let hosts = plan::hosts(0..plan.services)?.into();
    let run = Run { plan, steps, many: &many, few: &few, hosts };
    let figures = guarded(&[&many, &few], run.figures()).await?;
    let (reset, hosts, start_of_empty) =
        (reset(&many).await?, Arc::clone(&run.hosts), many.started_in);
    drop(few);
    let restart = restart::restart(plan, steps, many, &many_folder, &hosts, start_of_empty).await?;
    conditions.end();
    Ok(Results {
        format: FORMAT,
        started_at,
        elapsed_s: began.elapsed().as_secs_f64(),
        versions: Versions {
            wharf: env!("CARGO_PKG_VERSION"),
            wasmtime: env!("WHARF_WASMTIME_VERSION"),
            rustc: env!("WHARF_RUSTC_VERSION"),
        },
        machine: Machine::read(),
        conditions,
        parameters: parameters(plan, reset),
        figures,
        restart,
    })
}

/// Does the work, unless one of the nodes ends: then that is the error, whatever else follows.
async fn guarded<T>(
    nodes: &[&Node; 2],
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let ended = async {
        tokio::select! {
            error = nodes[0].ended() => error,
            error = nodes[1].ended() => error,
        }
    };
    let mut ended = std::pin::pin!(ended);
    tokio::select! {
        error = &mut ended => Err(error),
        result = work => match result {
            Ok(value) => Ok(value),
            Err(error) => Err(tokio::time::timeout(LAST_LOOK, ended).await.unwrap_or(error)),
        },
    }
}

fn parameters(plan: &Plan, reset: String) -> Parameters {
    Parameters {
        services: plan.services,
        few_services: plan.few().services,
        distinct_components: plan.distinct(),
        live: plan.live,
        asked_rate_per_s: plan.rate,
        duration_s: plan.duration.as_secs_f64(),
        component: plan.component.name.clone(),
        component_bytes: plan.component.wasm.len() as u64,
        component_digest: registry::Digest::of(&plan.component.wasm).to_string(),
        reset,
    }
}

/// How a node makes memory clean between two instances.
async fn reset(node: &Node) -> anyhow::Result<String> {
    let nodes: Vec<api::Node> = node.api.get(&["v1", "nodes"]).await?;
    let live = nodes.into_iter().find_map(|node| node.live);
    Ok(live.context("the node says nothing of itself")?.reset)
}
