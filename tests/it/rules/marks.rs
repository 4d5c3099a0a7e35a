//! Requests that go to a revision because of a header field or cookie.

use super::node_support::{ask, node, web};
use crate::support::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn marked_requests_go_to_their_revision_and_the_others_are_split() {
    let node = node();
    for version in ["1", "2", "3"] {
        node.apply(&web(version, ""));
    }
    let traffic = "traffic = [\n\
        { revision = 1, percent = 0, header = { name = \"X-Try\", value = \"one\" } },\n\
        { revision = 2, percent = 0, header = { name = \"x-try\" }, \
          cookie = { name = \"try\", value = \"two\" } },\n\
        { latest = true, percent = 100 },\n]\n";
    node.apply(&web("3", traffic));
    for (fields, version) in [
        ("", "3\n"),
        ("x-try: one\r\n", "1\n"),
        ("x-try: two\r\n", "2\n"),
        ("cookie: a=b; try=two\r\n", "2\n"),
        ("cookie: try=three\r\n", "3\n"),
    ] {
        assert_eq!(ask(&node, fields).await.text(), version, "{fields}");
    }
    let page = node.wharf(&["describe", "web"]).ok().stdout;
    assert!(page.contains("2 0% by header x-try or cookie try=two"), "{page}");
    // A mark goes before affinity.
    node.apply(&web("3", &format!("affinity = \"client\"\n{traffic}")));
    assert_eq!(ask(&node, "x-try: one\r\n").await.text(), "1\n");
    assert_eq!(ask(&node, "").await.text(), "3\n");
    node.apply(&web("3", ""));
    assert_eq!(ask(&node, "x-try: one\r\n").await.text(), "3\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn marked_requests_are_split_while_their_revision_is_not_ready() {
    let node = node();
    node.apply(&web("1", ""));
    // The first revision does not have what the probe will ask for.
    let second = |more: &str| web("2\", READY = \"yes", more);
    node.apply(&second(""));
    let traffic = "scale = { min = 1 }\ntraffic = [\n\
        { revision = 1, percent = 0, tag = \"old\", header = { name = \"x-try\" } },\n\
        { latest = true, percent = 100 },\n]\n";
    node.apply(&second(traffic));
    assert_eq!(ask(&node, "x-try: 1\r\n").await.text(), "1\n");
    let probe = "{ path = \"/?name=READY\", interval = \"100ms\", failures = 1 }";
    node.apply(&second(&format!("{traffic}health = {{ readiness = {probe} }}\n")));
    let is_unready = || {
        let described = node.describe("web");
        let mut reports = described["status"].as_array().into_iter().flatten();
        reports.any(|one| one["revision"] == 1 && one["health"] == "unhealthy")
    };
    eventually("the first revision is not ready", is_unready).await;
    assert_eq!(ask(&node, "x-try: 1\r\n").await.text(), "2\n");
    // The host of its tag leads there all the same.
    let (status, version) = node.get("old---web.localhost", "/?name=VERSION").await;
    assert_eq!((status, version.as_str()), (200, "1\n"));
    node.apply(&second(traffic));
    let mut versions = Vec::new();
    while versions.last().is_none_or(|version| version != "1\n") {
        assert!(versions.len() < 1_000, "it was never asked again");
        versions.push(ask(&node, "x-try: 1\r\n").await.text());
    }
}
