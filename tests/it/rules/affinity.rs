//! Clients that stay on their revision while shares change.

use std::collections::BTreeMap;

use super::node_support::{ask, node, web};
use crate::support::Node;

/// Sends the service's requests to the revisions 1 and 2, so many percent to the second.
fn split(node: &Node, new: u32, affinity: &str) {
    let old = 100 - new;
    let shares =
        format!("{{ revision = 1, percent = {old} }}, {{ latest = true, percent = {new} }}");
    node.apply(&web("2", &format!("affinity = {affinity}\ntraffic = [{shares}]\n")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_keeps_its_client_on_the_new_revision_while_the_share_grows() {
    let node = node();
    node.apply(&web("1", ""));
    node.apply(&web("2", ""));
    split(&node, 30, "{ cookie = \"stay\", ttl = \"24h\" }");
    let mut clients: BTreeMap<usize, (String, String)> = BTreeMap::new();
    for number in 0..60 {
        let first = ask(&node, "").await;
        let cookie = first.header("set-cookie").expect("a cookie").to_owned();
        assert!(cookie.starts_with("stay="), "{cookie}");
        assert!(cookie.ends_with("; Path=/; Max-Age=86400; HttpOnly; SameSite=Lax"), "{cookie}");
        let pair = cookie.split(';').next().expect("a cookie").to_owned();
        clients.insert(number, (pair, first.text()));
    }
    let on_new = |clients: &BTreeMap<usize, (String, String)>| {
        clients.values().filter(|(_, version)| version == "2\n").count()
    };
    for (percent, most_may_move) in [(30, false), (60, true), (100, true)] {
        split(&node, percent, "{ cookie = \"stay\", ttl = \"24h\" }");
        let before = on_new(&clients);
        for (cookie, version) in clients.values_mut() {
            let answer = ask(&node, &format!("cookie: a=b; {cookie}\r\n")).await;
            assert_eq!(answer.header("set-cookie"), None, "it has one");
            let now = answer.text();
            if version == "2\n" || !most_may_move {
                assert_eq!(now, *version, "{cookie} at {percent}%");
            }
            *version = now;
        }
        assert!(on_new(&clients) >= before);
    }
    assert_eq!(on_new(&clients), 60);
    // What is no point is replaced by one.
    let answer = ask(&node, "cookie: stay=2\r\n").await;
    assert!(answer.header("set-cookie").is_some());
    // Whoever has had a point for long keeps it for as long again.
    for old in ["000000ab00000001", "000000ab"] {
        let answer = ask(&node, &format!("cookie: stay={old}\r\n")).await;
        let renewed = answer.header("set-cookie").expect("a cookie").to_owned();
        assert!(renewed.starts_with("stay=000000ab"), "{renewed}");
        let pair = renewed.split(';').next().expect("a cookie");
        let answer = ask(&node, &format!("cookie: {pair}\r\n")).await;
        assert_eq!(answer.header("set-cookie"), None, "{pair}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_or_an_address_says_who_somebody_is() {
    let node = node();
    node.apply(&web("1", ""));
    node.apply(&web("2", ""));
    split(&node, 50, "{ header = \"x-user\" }");
    let mut seen = BTreeMap::<String, usize>::new();
    for user in 0..40 {
        let field = format!("x-user: {user}\r\n");
        let first = ask(&node, &field).await;
        assert_eq!(first.header("set-cookie"), None);
        assert_eq!(ask(&node, &field).await.text(), first.text(), "{user}");
        *seen.entry(first.text()).or_default() += 1;
    }
    assert_eq!(seen.len(), 2, "users are spread: {seen:?}");
    let mut others = BTreeMap::<String, usize>::new();
    for _ in 0..10 {
        *others.entry(ask(&node, "").await.text()).or_default() += 1;
    }
    assert_eq!(others.len(), 2, "without the field the shares decide: {others:?}");
    split(&node, 50, "\"client\"");
    let first = ask(&node, "").await.text();
    for _ in 0..10 {
        assert_eq!(ask(&node, "").await.text(), first);
    }
    let page = node.wharf(&["describe", "web"]).ok().stdout;
    assert!(page.contains("affinity    client address"), "{page}");
}
