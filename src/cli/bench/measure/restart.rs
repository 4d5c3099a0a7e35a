//! Kills the node, and starts it anew on what it left.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;

use crate::clock;

use super::super::load::{self, Target};
use super::super::node::Node;
use super::super::plan::Plan;
use super::super::results::Restart;
use super::super::steps::Steps;
use super::OWN_BODY;

pub(super) async fn restart(
    plan: &Plan,
    steps: &Steps,
    node: Node,
    folder: &Path,
    hosts: &[HeaderValue],
    start_of_empty: Duration,
) -> anyhow::Result<Restart> {
    steps.begin(format!("starting a node with {} services anew", plan.services));
    drop(node);
    let began = clock::now();
    let node = Node::start(folder).await?;
    let middle = hosts[hosts.len() / 2].clone();
    let body = plan.component.is_own.then_some(Bytes::from_static(OWN_BODY));
    let target = Target { address: node.http, hosts: Arc::new([middle]), path: "/", body };
    load::until_answered(&target).await?;
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let restart = Restart {
        services: plan.services,
        start_of_empty_ms: ms(start_of_empty),
        start_ms: ms(node.started_in),
        first_answer_ms: ms(began.elapsed()),
    };
    steps.done(format!(
        "killed and started anew with {} services: serves after {:.0} ms",
        plan.services, restart.start_ms
    ));
    Ok(restart)
}
