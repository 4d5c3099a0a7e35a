//! Requests that go to a revision because of a header field or cookie.

use super::node_support::{ask, node, web};

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
