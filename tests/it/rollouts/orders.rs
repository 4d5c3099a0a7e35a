//! What a person asks of a deployment, and kills in the middle of it.

use super::*;

const CANARY: &str =
    "deploy = { strategy = \"canary\", percent = 20, step_bake = \"1h\", bake = \"1h\" }";

#[tokio::test(flavor = "multi_thread")]
async fn a_person_pauses_resumes_aborts_and_undoes() {
    let node = node();
    node.apply(&web("1", ""));
    let over = node.wharf(&["rollout", "pause", "web"]);
    assert_eq!(over.code, Some(1));
    assert!(over.stderr.contains("is completed already"), "{}", over.stderr);
    let brief = "deploy = { strategy = \"canary\", percent = 20, step_bake = \"700ms\" }";
    begin(&node, &web("2", brief));
    stage(&node, "shifting");
    let paused = node.wharf(&["rollout", "pause", "web"]).ok().stdout;
    assert!(paused.contains("(paused)"), "{paused}");
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert_eq!(rollout(&node)["stage"], "shifting", "a pause has no end");
    node.wharf(&["rollout", "resume", "web"]).ok();
    let followed = node.wharf(&["rollout", "status", "web", "--wait"]).ok();
    assert!(followed.stderr.contains("revision 2 is in service"), "{}", followed.stderr);
    begin(&node, &web("3", CANARY));
    stage(&node, "shifting");
    node.wharf(&["rollout", "abort", "web"]).ok();
    stage(&node, "aborted");
    assert_eq!(versions(&node, HOST, 20).await, only("2", 20));
    assert_eq!(node.wharf(&["rollout", "status", "web", "--wait"]).code, Some(1));
    let undone = node.wharf(&["rollout", "undo", "web", "--to", "1"]).ok().stdout;
    assert!(undone.contains("revision    1"), "{undone}");
    stage(&node, "completed");
    assert_eq!(versions(&node, HOST, 20).await, only("1", 20));
    let unknown = node.wharf(&["rollout", "undo", "web", "--to", "99"]);
    assert_eq!(unknown.code, Some(1));
    assert!(unknown.stderr.contains("revisions that are kept: 1, 2, 3"), "{}", unknown.stderr);
    let missing = node.wharf(&["rollout", "status", "wbe"]);
    assert!(missing.stderr.contains("there is no service wbe"), "{}", missing.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_goes_on_where_it_was_killed() {
    let mut node = node();
    node.apply(&web("1", ""));
    begin(&node, &web("2", CANARY));
    let expected = [("shifting", "20%", 20), ("baking", "100%", 100)];
    for (name, share, percent) in expected {
        stage(&node, name);
        node.kill();
        node.start_again();
        let after = stage(&node, name);
        assert_eq!((&after["share"], &after["stable"]), (&share.into(), &1.into()));
        let seen = versions(&node, HOST, 100).await;
        let new = seen.get("2").copied().unwrap_or(0);
        assert!(new.abs_diff(percent) <= 2, "{name}: {seen:?}");
        node.wharf(&["rollout", "promote", "web"]).ok();
    }
    stage(&node, "completed");
    node.kill();
    node.start_again();
    assert_eq!(versions(&node, HOST, 20).await, only("2", 20));
    assert_eq!(rollout(&node)["stage"], "completed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_revision_needs_no_registry_to_come_back() {
    let node = Node::start();
    node.put("env.wasm", &guest("env"));
    node.wharf(&["push", "env.wasm", "web:1"]).ok();
    let manifest = |version: &str| {
        format!(
            "[task.web]\nimage = \"wharf.internal/web:1\"\nenv = {{ V = \"{version}\" }}\n\
             [service.web]\nroute = \"{HOST}\"\n"
        )
    };
    node.apply(&manifest("1"));
    node.apply(&manifest("2"));
    std::fs::remove_dir_all(node.data().join("registry/blobs")).expect("blobs");
    node.wharf(&["rollout", "undo", "web"]).ok();
    stage(&node, "completed");
    assert_eq!(versions(&node, HOST, 10).await, only("1", 10));
}
