//! Guests that never let go of their thread.

use std::time::Duration;

use super::limits;
use crate::support::{Front, ServiceOptions, eventually, guest, within};

/// Occupies every guest thread with endless requests to a hostile task, and checks that the load
/// balancer and other services go on meanwhile.
async fn the_node_stays_responsive(component: &str, path: &str) {
    let front = Front::start().await;
    let endless = limits(|limits| {
        limits.fuel = u64::MAX / 2;
        limits.timeout = Duration::from_secs(300);
    });
    let hostile = front.deploy("hostile", &guest(component), endless).await;
    front.deploy("hello", &guest("hello"), ServiceOptions::default()).await;
    let mut hogs = tokio::task::JoinSet::new();
    for _ in 0..4 {
        hogs.spawn(front.client().get("hostile", path).send());
    }
    eventually("every thread is taken", || hostile.view().in_flight == 4).await;
    for _ in 0..5 {
        let answer = within("an answer", front.client().get("nobody", "/").send()).await;
        assert_eq!(answer.expect("an answer").status(), 404);
        let hello = within("a turn on a thread", front.client().get("hello", "/").send()).await;
        assert_eq!(hello.expect("an answer").status(), 200, "{path}");
    }
    assert_eq!(hostile.view().in_flight, 4, "they are still at it");
    hogs.abort_all();
    eventually("the guests are stopped", || hostile.view().in_flight == 0).await;
    let lines = front.access_lines(14).await;
    let cpu_us: u64 = lines.iter().filter_map(|line| line["cpu_us"].as_u64()).sum();
    assert!(cpu_us > 10_000, "what the guests used is known: {cpu_us} us");
}

#[tokio::test(flavor = "multi_thread")]
async fn guests_that_compute_for_ever_leave_the_node_responsive() {
    the_node_stays_responsive("burn-fuel", "/").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn guests_that_fill_memory_for_ever_leave_the_node_responsive() {
    the_node_stays_responsive("burn-fuel", "/bulk").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn guests_that_call_the_host_for_ever_leave_the_node_responsive() {
    the_node_stays_responsive("burn-fuel", "/host").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn guests_of_long_host_calls_leave_the_node_responsive() {
    the_node_stays_responsive("burn-fuel", "/random").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn guests_that_print_for_ever_leave_the_node_responsive() {
    the_node_stays_responsive("flood-stdout", "/?mib=100000000").await;
}
