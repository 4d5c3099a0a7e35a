//! Changes of all kinds in the middle of a deployment.

use super::*;
use crate::support::http_client;

const CANARY: &str = "deploy = { strategy = \"canary\", percent = 50, step_bake = \"1h\" }";

#[tokio::test(flavor = "multi_thread")]
async fn bounds_that_shrink_during_a_deployment_hold() {
    let node = node();
    let wide = format!("scale = {{ min = 6, max = 20 }}\n{CANARY}");
    node.apply(&web("1", &wide));
    begin(&node, &web("2", &wide));
    stage(&node, "shifting");
    node.wharf(&["scale", "web", "--min", "0", "--max", "2"]).ok();
    wait_for("fewer tasks", || {
        let tasks = node.describe("web")["tasks"].as_u64().expect("a number");
        (tasks <= 4).then_some(())
    });
    let seen = versions(&node, HOST, 20).await;
    assert_eq!(seen["1"] + seen["2"], 20, "{seen:?}");
    node.wharf(&["rollout", "promote", "web"]).ok();
    stage(&node, "completed");
    node.apply("[service.other]\ntask = \"web\"\nroute = \"other.localhost\"\n");
    assert_eq!(versions(&node, "other.localhost", 1).await, only("2", 1), "the agent is alive");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_comes_back_while_it_still_finishes_requests() {
    let node = node();
    node.apply(&web_of("sleep", "1", ""));
    let url = format!("http://{}/?ms=6000", node.http);
    let slow = tokio::spawn(http_client().get(url).header("host", HOST).send());
    wait_for("the request", || {
        (node.describe("web")["in_flight"].as_u64() == Some(1)).then_some(())
    });
    node.apply(&web("2", ""));
    node.wharf(&["rollout", "undo", "web"]).ok();
    stage(&node, "completed");
    for _ in 0..5 {
        assert_eq!(node.get(HOST, "/?ms=1").await.0, 200);
    }
    assert_eq!(slow.await.expect("no panic").expect("an answer").status(), 200);
    assert_eq!(node.get(HOST, "/?ms=1").await.0, 200, "and after they have ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_deleted_and_made_again_is_the_new_one() {
    let node = node();
    for round in 0..12 {
        let version = round.to_string();
        node.apply(&web(&version, ""));
        assert_eq!(versions(&node, HOST, 2).await, only(&version, 2));
        node.wharf(&["delete", "web", "--no-wait"]).ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_without_traffic_of_its_own_completes() {
    let node = node();
    node.apply(&web("1", ""));
    node.apply(&web("2", "traffic = [{ revision = 1, percent = 100 }]"));
    assert_eq!(rollout(&node)["stage"], "completed");
    assert_eq!(versions(&node, HOST, 20).await, only("1", 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_aborted_or_put_aside_is_deployed_again_by_its_manifest() {
    let node = node();
    node.apply(&web("1", ""));
    begin(&node, &web("2", CANARY));
    stage(&node, "shifting");
    node.wharf(&["rollout", "abort", "web"]).ok();
    stage(&node, "aborted");
    begin(&node, &web("2", CANARY));
    stage(&node, "shifting");
    node.wharf(&["rollout", "promote", "web"]).ok();
    stage(&node, "completed");
    node.wharf(&["rollout", "undo", "web", "--to", "1"]).ok();
    stage(&node, "completed");
    assert_eq!(versions(&node, HOST, 5).await, only("1", 5));
    node.apply(&web("2", ""));
    node.apply(&web("2", ""));
    assert_eq!(versions(&node, HOST, 5).await, only("2", 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_no_worse_than_the_one_before_stays() {
    let node = node();
    node.apply(&web_of("trap", "1", ""));
    versions(&node, HOST, 30).await;
    let baking = "deploy = { strategy = \"blue-green\", bake = \"3s\" }";
    begin(&node, &web_of("trap", "2", baking));
    stage(&node, "baking");
    versions(&node, HOST, 40).await;
    stage(&node, "completed");
}
