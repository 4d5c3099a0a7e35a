//! Versions that cannot run, and versions that run badly.

use super::*;
use crate::support::wat;

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_traps_is_rolled_back_within_its_share() {
    let node = node();
    node.apply(&web("1", ""));
    let canary = "deploy = { strategy = \"canary\", percent = 10, step_bake = \"1h\", \
                  alarm = { requests = 10 } }";
    begin(&node, &web_of("trap", "2", canary));
    stage(&node, "shifting");
    let mut failed = 0;
    let mut asked = 0;
    while rollout(&node)["stage"] == "shifting" {
        let seen = versions(&node, HOST, 20).await;
        asked += 20;
        failed += seen.get("500").copied().unwrap_or(0);
        assert!(asked < 5_000, "it is never rolled back");
    }
    let over = stage(&node, "failed");
    assert_eq!((&over["share"], &over["code"]), (&"0%".into(), &"deployment-alarm".into()));
    assert!(failed >= 10 && failed <= asked / 10 + 2, "{failed} of {asked}");
    assert_eq!(versions(&node, HOST, 50).await, only("1", 50));
    let service = node.describe("web");
    assert_eq!((&service["state"], &service["serving"]), (&"failed".into(), &"web:1".into()));
    let events = service["events"].to_string();
    assert!(events.contains("revision 1 has the traffic"), "{events}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_cannot_run_never_gets_a_request() {
    let node = node();
    node.apply(&web("1", ""));
    node.put("unlinkable.wasm", &wat("needs-unknown-import"));
    node.put("start-loops.wasm", &wat("start-loops"));
    for (task, code) in
        [("unlinkable", "component-unlinkable"), ("start-loops", "component-start-failed")]
    {
        let refused = node.try_apply(&web_of(task, task, ""));
        assert_eq!(refused.code, Some(1), "{task}");
        assert!(refused.stderr.contains(code), "{task}: {}", refused.stderr);
        assert_eq!(rollout(&node)["stage"], "failed");
        assert_eq!(versions(&node, HOST, 20).await, only("1", 20), "{task}");
    }
    node.apply(&web("good", ""));
    assert_eq!(versions(&node, HOST, 20).await, only("good", 20));
    assert_eq!(rollout(&node)["stable"], 1, "neither of the bad ones is where one goes back to");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_version_that_fails_says_why_and_the_next_one_serves() {
    let node = node();
    node.put("unlinkable.wasm", &wat("needs-unknown-import"));
    assert_eq!(node.try_apply(&web_of("unlinkable", "0", "")).code, Some(1));
    assert_eq!(node.get(HOST, "/").await.0, 503);
    node.apply(&web("1", ""));
    assert_eq!(versions(&node, HOST, 5).await, only("1", 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_deployment_supersedes_one_under_way() {
    let node = node();
    node.apply(&web("1", ""));
    begin(&node, &web("2", "deploy = { strategy = \"canary\", step_bake = \"1h\" }"));
    stage(&node, "shifting");
    node.apply(&web("3", ""));
    assert_eq!(versions(&node, HOST, 20).await, only("3", 20));
    let events = node.describe("web")["events"].to_string();
    assert!(events.contains("deployment 2 was superseded by deployment 3"), "{events}");
}
