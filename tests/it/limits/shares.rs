//! Shares of CPU time.

use std::time::Duration;

use wharf::model::CpuUnits;

use super::limits;
use crate::support::{Front, ServiceOptions, guest};

/// A task that computes until its time is over.
fn endless(cpu: u32, is_capped: bool, timeout: Duration) -> ServiceOptions {
    limits(|limits| {
        limits.cpu = CpuUnits(cpu);
        limits.cpu_cap = is_capped;
        limits.fuel = u64::MAX / 2;
        limits.timeout = timeout;
    })
}

/// Asks services of one task each, so many times at once, and returns the CPU time that each had
/// until the time of its requests was over, in microseconds.
async fn used<const N: usize>(tasks: [(&str, usize, ServiceOptions); N]) -> [u64; N] {
    let front = Front::start().await;
    let names = tasks.each_ref().map(|(name, ..)| *name);
    let mut asked = tokio::task::JoinSet::new();
    for (name, requests, options) in tasks {
        front.deploy(name, &guest("burn-fuel"), options).await;
        // Loaded before anybody is measured.
        front.client().get(name, "/?n=1").send().await.expect("an answer");
        for _ in 0..requests {
            asked.spawn(front.client().get(name, "/").send());
        }
    }
    let requests = asked.len();
    asked.join_all().await;
    let lines = front.access_lines(requests + N).await;
    names.map(|name| {
        let of_this = lines.iter().filter(|line| line["service"] == name);
        of_this.filter_map(|line| line["cpu_us"].as_u64()).sum()
    })
}

const A_WHILE: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_get_no_more_than_a_few() {
    let [few, many] = used([
        ("few", 3, endless(256, false, A_WHILE)),
        ("many", 24, endless(256, false, A_WHILE)),
    ])
    .await;
    let ratio = few as f64 / many as f64;
    assert!((0.7..1.4).contains(&ratio), "{few} us and {many} us");
}

#[tokio::test(flavor = "multi_thread")]
async fn shares_follow_the_units() {
    let [small, large] = used([
        ("small", 12, endless(256, false, A_WHILE)),
        ("large", 12, endless(1_024, false, A_WHILE)),
    ])
    .await;
    let ratio = large as f64 / small as f64;
    assert!((2.8..5.6).contains(&ratio), "{large} us and {small} us");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cap_holds_although_nobody_else_wants_the_cpu() {
    let [capped] = used([("capped", 4, endless(128, true, A_WHILE))]).await;
    let granted = 3_000_000 / 8;
    assert!(capped < granted * 5 / 4, "{capped} us of {granted} us");
    assert!(capped > granted / 4, "it runs all the same: {capped} us of {granted} us");
}
