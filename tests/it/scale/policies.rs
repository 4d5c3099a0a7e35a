//! Policies and schedules on a real node, and what is said about them.

use std::time::Duration;

use serde_json::Value;

use crate::support::{Node, guest, wait_for};

const HOST: &str = "web.localhost";

fn node(task: &str, limits: &str, scale: &str) -> Node {
    let node = Node::start();
    node.put("web.wasm", &guest(task));
    node.apply(&manifest(limits, scale));
    node
}

fn manifest(limits: &str, scale: &str) -> String {
    format!(
        "[task.web]\ncomponent = \"web.wasm\"\n{limits}\n\
         [service.web]\nroute = \"{HOST}\"\nscale = {{ {scale} }}\n"
    )
}

/// Asks again and again until it is dropped.
fn keep_asking(node: &Node, path: &'static str) -> tokio::task::JoinHandle<()> {
    let (client, url) = (reqwest::Client::new(), format!("http://{}{path}", node.http));
    tokio::spawn(async move {
        loop {
            let _ = client.get(&url).header("host", HOST).send().await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
}

fn until(node: &Node, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    wait_for(what, || Some(node.describe("web")).filter(|detail| holds(detail)))
}

/// The changes of its number that are remembered, by their reasons.
fn reasons(detail: &Value) -> Vec<&str> {
    let changes = detail["scaling"][0]["changes"].as_array().into_iter().flatten();
    changes.filter_map(|change| change["reason"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_a_second_make_tasks_and_their_end_takes_them_away() {
    let scale = "max = 4, idle = '1h', target = { rps = 4 }, window = '4s', burst = '1s'";
    let node = node("hello", "", scale);
    let asking = keep_asking(&node, "/");
    let busy = until(&node, "four tasks", |detail| detail["tasks"] == 4);
    let scaling = &busy["scaling"][0];
    assert_eq!(scaling["inputs"][0]["metric"], "rps", "{scaling}");
    assert_eq!(scaling["inputs"][0]["target"], 4.0);
    assert!(scaling["changes"].as_array().is_some_and(|all| !all.is_empty()), "{scaling}");
    let page = node.wharf(&["describe", "web"]).ok().stdout;
    for says in ["rps 4 · over 4s, 1s from 200%", "scaling     revision 1: 4 tasks: ", "rps    "] {
        assert!(page.contains(says), "{says}: {page}");
    }
    asking.abort();
    let quiet = until(&node, "one task", |detail| detail["tasks"] == 1);
    assert!(reasons(&quiet).contains(&"fewer"), "{quiet}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_that_computes_makes_tasks_before_it_has_ended() {
    let limits = "cpu = 16\nfuel = 1_000_000_000_000_000\ntimeout = '5m'";
    let scale = "min = 1, max = 3, target = { cpu = 50 }, window = '4s', burst = '1s'";
    let node = node("burn-fuel", limits, scale);
    let asking = keep_asking(&node, "/");
    let busy = until(&node, "three tasks", |detail| detail["tasks"] == 3);
    assert_eq!(busy["in_flight"], 1, "{busy}");
    assert_eq!(busy["scaling"][0]["inputs"][0]["metric"], "cpu", "{busy}");
    asking.abort();
    until(&node, "one task", |detail| detail["tasks"] == 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_adds_tasks_and_another_takes_them() {
    let steps = "steps = [{ metric = 'in_flight', above = 1, add = 2 }, \
                 { metric = 'in_flight', below = 1, set = 1 }]";
    let scale = format!("min = 1, max = 9, idle = '1h', {steps}, window = '2s', burst = '1s'");
    let node = node("sleep", "", &scale);
    let asking: Vec<_> = (0..3).map(|_| keep_asking(&node, "/?ms=600000")).collect();
    let busy = until(&node, "more tasks", |detail| detail["tasks"] == 3);
    assert_eq!(reasons(&busy).last(), Some(&"step"), "{busy}");
    let why = &busy["scaling"][0]["changes"][0]["why"];
    assert_eq!(why, "step in_flight above 1: add 2", "{busy}");
    asking.iter().for_each(|asking| asking.abort());
    until(&node, "one task", |detail| detail["tasks"] == 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_owns_the_bounds_and_says_so() {
    let schedule = "schedule = [{ cron = '* * * * *', zone = 'Europe/Berlin', min = 2, max = 3 }]";
    let mut node = node("hello", "", &format!("min = 0, max = 9, {schedule}"));
    let scheduled = until(&node, "two tasks", |detail| detail["tasks"] == 2);
    assert_eq!(scheduled["scheduled"]["zone"], "Europe/Berlin");
    assert_eq!(scheduled["scheduled"]["max"], 3);
    let scaled = node.wharf(&["scale", "web", "5"]).ok();
    assert!(scaled.stdout.contains("scale.max 9 → 5"), "{}", scaled.stdout);
    assert!(scaled.stderr.contains("its schedule sets the bounds"), "{}", scaled.stderr);
    let page = node.wharf(&["describe", "web"]).ok().stdout;
    let says = "min 2 · max 3 (schedule `* * * * *` Europe/Berlin until ";
    assert!(page.contains(says), "{page}");
    let listed = node.wharf(&["services"]).ok().stdout;
    assert!(listed.contains("2-3"), "{listed}");
    let listed = node.wharf(&["ps"]).ok().stdout;
    assert!(listed.contains("2 of 2-3"), "{listed}");
    node.kill();
    node.start_again();
    until(&node, "two tasks again", |detail| detail["tasks"] == 2);
    node.apply(&manifest("", "min = 1, max = 9"));
    let own = until(&node, "its own bounds", |detail| detail["scheduled"].is_null());
    assert!(own["schedule"].is_null(), "{own}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_without_policies_is_explained_too() {
    let node = node("hello", "", "min = 0, max = 9");
    let asleep = node.describe("web");
    assert_eq!(asleep["scaling"][0]["reason"], "requests", "{asleep}");
    node.get(HOST, "/").await;
    let awake = node.describe("web");
    let why = awake["scaling"][0]["why"].as_str().unwrap_or_default();
    assert!(why.starts_with("started by requests"), "{awake}");
    assert!(node.describe("web")["policies"].is_null());
}
