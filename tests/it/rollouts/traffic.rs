//! Which revision gets which requests.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_takes_its_share_and_then_everything() {
    let node = node();
    node.apply(&web("1", ""));
    assert_eq!(versions(&node, HOST, 10).await, only("1", 10));
    let canary = "deploy = { strategy = \"canary\", percent = 10, step_bake = \"1h\" }";
    begin(&node, &web("2", canary));
    let shifting = stage(&node, "shifting");
    assert_eq!((&shifting["share"], &shifting["stable"]), (&"10%".into(), &1.into()));
    let seen = versions(&node, HOST, 200).await;
    assert!((18..=22).contains(&seen["2"]) && seen["1"] + seen["2"] == 200, "{seen:?}");
    let listed = node.wharf(&["revisions", "web", "-o", "json"]).ok().json();
    assert_eq!((&listed[0]["percent"], &listed[1]["percent"]), (&10.0.into(), &90.0.into()));
    assert_eq!((&listed[0]["stable"], &listed[1]["stable"]), (&false.into(), &true.into()));
    let services = node.wharf(&["services", "-o", "json"]).ok().json();
    assert_eq!(services[0]["state"], "deploying");
    node.wharf(&["rollout", "promote", "web"]).ok();
    stage(&node, "completed");
    assert_eq!(versions(&node, HOST, 50).await, only("2", 50));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_linear_deployment_goes_step_by_step() {
    let node = node();
    node.apply(&web("1", ""));
    let linear = "deploy = { strategy = \"linear\", percent = 50, step_bake = \"200ms\" }";
    node.apply(&web("2", linear));
    assert_eq!(versions(&node, HOST, 20).await, only("2", 20));
    let events = node.describe("web")["events"].clone();
    let events: Vec<&str> =
        events.as_array().expect("a list").iter().filter_map(|e| e["message"].as_str()).collect();
    for told in ["takes 50% of the requests", "takes all requests", "deployment 2 completed"] {
        assert!(events.iter().any(|event| event.contains(told)), "{told}: {events:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_splits_the_traffic_and_tags_revisions() {
    let node = node();
    for version in ["1", "2", "3"] {
        node.apply(&web(version, ""));
    }
    let split = "traffic = [\n\
        { latest = true, percent = 60 },\n\
        { revision = 1, percent = 40, tag = \"old\" },\n\
        { revision = 2, percent = 0, tag = \"test\" },\n]";
    node.apply(&web("3", split));
    let seen = versions(&node, HOST, 100).await;
    assert!((38..=42).contains(&seen["1"]) && (58..=62).contains(&seen["3"]), "{seen:?}");
    assert_eq!(versions(&node, "old---web.localhost", 10).await, only("1", 10));
    assert_eq!(versions(&node, "test---web.localhost", 10).await, only("2", 10));
    // A split stays across deployments; a new version gets the share of the latest.
    node.apply(&web("4", split));
    let seen = versions(&node, HOST, 100).await;
    assert!((38..=42).contains(&seen["1"]) && (58..=62).contains(&seen["4"]), "{seen:?}");
    node.apply(&web("4", ""));
    assert_eq!(versions(&node, HOST, 20).await, only("4", 20));
    assert_eq!(node.get("old---web.localhost", "/").await.0, 404);
}

#[test]
fn a_split_that_cannot_be_is_refused_and_changes_nothing() {
    let node = node();
    node.apply(&web("1", ""));
    let other = "[service.other]\ntask = \"web\"\nroute = \"old---web.localhost\"\n";
    node.apply(&(web("1", "") + other));
    for (split, says) in [
        ("[{ latest = true, percent = 90 }]", "the shares add up to 90%"),
        ("[{ latest = true, percent = 50 }, { revision = 7, percent = 50 }]", "7 is not kept"),
        ("[{ latest = true, percent = 100, tag = \"old\" }]", "belongs to the service other"),
        ("[{ percent = 100 }]", "either a `revision` or the `latest`"),
        ("[{ latest = true, percent = 101 }]", "from 0 to 100"),
        ("3", "expected a list"),
    ] {
        let refused = node.try_apply(&web("2", &format!("traffic = {split}")));
        assert_eq!(refused.code, Some(1), "{split}");
        assert!(refused.stderr.contains(says), "{split}: {}", refused.stderr);
    }
    let never = "deploy = { min_healthy = 100, max_healthy = 100 }";
    let refused = node.try_apply(&web("2", never));
    assert!(refused.stderr.contains("raise `max_healthy` above 100"), "{}", refused.stderr);
    assert_eq!(node.describe("web")["task"], "web:1");
}
