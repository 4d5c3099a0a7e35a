//! Which server takes a request.

use std::sync::atomic::Ordering;

use super::*;
use crate::support::{Origin, eventually};

async fn ask(node: &Node, times: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..times {
        statuses.push(node.get("up.test", "/").await.0);
    }
    statuses
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_share_the_requests() {
    let (a, b) = (Origin::start("a").await, Origin::start("b").await);
    let node = node(&[a.address, b.address], "");
    assert!(ask(&node, 200).await.iter().all(|status| *status == 200));
    let (a, b) = (a.requests(), b.requests());
    assert!(a + b == 200 && (60..=140).contains(&a), "{a} and {b}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_answers_badly_is_left_alone_and_half_of_them_always_stay() {
    let (a, b) = (Origin::start("a").await, Origin::start("b").await);
    let node = node(&[a.address, b.address], "eject = { failures = 3, time = \"5m\" }");
    a.answer_with(500);
    ask(&node, 60).await;
    assert_eq!(state(&node, a.address)["state"], "ejected");
    let before = a.requests();
    assert!(ask(&node, 30).await.iter().all(|status| *status == 200));
    assert_eq!(a.requests(), before, "nobody asks it");
    b.answer_with(500);
    ask(&node, 20).await;
    assert_eq!(state(&node, b.address)["state"], "well", "somebody has to answer");
    let text = crate::support::http_client().get(node.api_url("/metrics")).send().await;
    let text = text.expect("metrics").text().await.expect("text");
    let url = format!("http://{}", a.address);
    let line = format!("wharf_ejections_total{{service=\"up\",target=\"{url}\"}} 1");
    assert!(text.contains(&line), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_comes_back_after_its_time() {
    let (a, b) = (Origin::start("a").await, Origin::start("b").await);
    let node = node(&[a.address, b.address], "eject = { failures = 1, time = \"300ms\" }");
    a.answer_with(503);
    while state(&node, a.address)["ejections"] == 0 {
        ask(&node, 1).await;
    }
    a.answer_with(200);
    let before = a.requests();
    while a.requests() == before {
        ask(&node, 1).await;
    }
    assert_eq!(state(&node, a.address)["state"], "well");
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_take_a_server_out_and_bring_it_back() {
    let (a, b) = (Origin::start("a").await, Origin::start("b").await);
    let probe = "health = { path = \"/probe\", interval = \"100ms\", failures = 2 }";
    let lines = format!("{probe}\neject = {{ failures = 0 }}");
    let node = node(&[a.address, b.address], &lines);
    a.answer_with(500);
    eventually("it is found ill", || state(&node, a.address)["state"] == "unhealthy").await;
    let before = a.requests();
    assert!(ask(&node, 20).await.iter().all(|status| *status == 200));
    assert_eq!(a.requests(), before);
    b.answer_with(500);
    eventually("both are ill", || state(&node, b.address)["state"] == "unhealthy").await;
    a.answer_with(404);
    assert!(ask(&node, 20).await.contains(&404), "where nobody is well, everybody is asked");
    a.answer_with(204);
    b.answer_with(200);
    eventually("it is found well", || state(&node, a.address)["state"] == "well").await;
    assert!(a.seen.probes.load(Ordering::Relaxed) > 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_targets_loses_no_request_and_closes_what_is_not_needed() {
    let (a, b) = (Origin::start("a").await, Origin::start("b").await);
    let node = node(&[a.address], "");
    assert_eq!(node.get("up.test", "/").await.1, "a");
    node.apply(&manifest(&[b.address], ""));
    assert_eq!(node.get("up.test", "/").await.1, "b");
    eventually("it is let go", || a.seen.open.load(Ordering::Relaxed) == 0).await;
    assert_eq!(node.wharf(&["delete", "up"]).ok().stdout, "upstream up is deleted\n");
    while node.get("up.test", "/").await.0 != 404 {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_stays_at_its_server_until_that_goes() {
    let (a, b) = (Origin::start("a").await, Origin::start("b").await);
    let node = node(&[a.address, b.address], "affinity = { header = \"x-user\" }");
    let url = format!("http://{}/", node.http);
    let client = crate::support::http_client();
    let ask = async |user: usize| {
        let request = client.get(&url).header("host", "up.test").header("x-user", user);
        request.send().await.expect("an answer").text().await.expect("a body")
    };
    let mut servers = Vec::new();
    for user in 0..40 {
        let first = ask(user).await;
        for _ in 0..3 {
            assert_eq!(ask(user).await, first, "user {user}");
        }
        servers.push(first);
    }
    let at_a = servers.iter().filter(|server| *server == "a").count();
    assert!((5..=35).contains(&at_a), "{at_a} of 40");
    let (address, at_b) = (b.address, b.requests());
    assert_eq!(at_b, 4 * (40 - at_a as u64));
    drop(a);
    for user in 0..40 {
        assert_eq!(ask(user).await, "b", "{address} has everybody now");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_nobody_asks_any_more_counts_as_well() {
    let (a, b) = (Origin::start("a").await, Origin::start("b").await);
    let probe = "health = { path = \"/probe\", interval = \"100ms\", failures = 2 }";
    let node = node(&[a.address, b.address], &format!("{probe}\neject = {{ failures = 0 }}"));
    a.answer_with(500);
    eventually("it is found ill", || state(&node, a.address)["state"] == "unhealthy").await;
    node.apply(&manifest(&[a.address, b.address], ""));
    eventually("it is back", || state(&node, a.address)["state"] == "well").await;
    a.answer_with(200);
    assert!(ask(&node, 60).await.iter().all(|status| *status == 200));
    assert!(a.requests() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_responses_break_off_is_left_alone() {
    let (a, b) = (Origin::start("a").await, Origin::start("b").await);
    let lines = "eject = { failures = 3, time = \"5m\" }\naffinity = { header = \"x-user\" }";
    let node = node(&[a.address, b.address], lines);
    let client = crate::support::http_client();
    let url = format!("http://{}/break", node.http);
    for _ in 0..3 {
        let request = client.get(&url).header("host", "up.test").header("x-user", "7");
        let answer = request.send().await.expect("a head");
        assert_eq!(answer.status(), 200);
        assert!(answer.text().await.is_err(), "it breaks off");
    }
    let ejected = || {
        let states = [a.address, b.address].map(|address| state(&node, address));
        states.iter().filter(|state| state["state"] == "ejected").count()
    };
    eventually("one of them is left alone", || ejected() == 1).await;
}
