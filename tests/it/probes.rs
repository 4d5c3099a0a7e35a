//! Probes at the runtime: what a guest's answers are, and what they leave alone.

use std::sync::Arc;
use std::time::Duration;

use wharf::model::{Code, Limits, Probe, Scale};
use wharf::runtime::{Answer, RevisionCell};

use crate::support::{Front, ServiceOptions, eventually, guest, within};

/// A service with one task that serves one request at a time.
async fn one_at_a_time(front: &Front, name: &str) -> Arc<RevisionCell> {
    let limits = Limits { concurrency: 1, ..ServiceOptions::default().limits };
    let scale = Scale { min: 1, max: 1, ..Scale::default() };
    let options = ServiceOptions { limits, scale, ..ServiceOptions::default() };
    let cell = front.deploy(name, &guest(name), options).await;
    within("a task", cell.until_awake(true)).await;
    cell
}

fn probe(path: &str) -> Probe {
    Probe { timeout: Duration::from_secs(60), ..Probe::new(path.parse().expect("a path")) }
}

async fn ask(front: &Front, cell: &Arc<RevisionCell>, probe: &Probe) -> Answer {
    // The instance before it may still be on its way out.
    eventually("a task with room", || cell.probe_slot().is_some()).await;
    let slot = cell.probe_slot().expect("a task with room");
    within("the probe", front.runtime.probe(slot, probe, "hello.test")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_end_of_a_guest_is_an_answer() {
    let front = Front::start().await;
    let env = one_at_a_time(&front, "env").await;
    assert_eq!(ask(&front, &env, &probe("/")).await, Answer::Status(200));
    assert_eq!(ask(&front, &env, &probe("/?name=NO")).await, Answer::Status(404));
    let trap = one_at_a_time(&front, "trap").await;
    assert_eq!(ask(&front, &trap, &probe("/")).await, Answer::Failed(Code::GuestTrapped));
    assert_eq!(ask(&front, &trap, &probe("/exit")).await, Answer::Failed(Code::GuestExited));
    let silent = one_at_a_time(&front, "never-respond").await;
    let hasty = Probe { timeout: Duration::from_millis(50), ..probe("/hang") };
    assert_eq!(ask(&front, &silent, &hasty).await, Answer::Late);
    // The guest that hung was stopped, and its place is free.
    eventually("the place", || silent.probe_slot().is_some()).await;
    for name in ["env", "trap", "never-respond"] {
        assert_eq!(front.outcomes(name), []);
    }
    assert!([env, trap, silent].iter().all(|cell| cell.stats_if_any().is_none()));
    assert_eq!(front.access_lines(0).await, Vec::<serde_json::Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_and_a_request_leave_each_other_their_places() {
    let front = Front::start().await;
    let cell = one_at_a_time(&front, "sleep").await;
    let place = cell.probe_slot().expect("a task with room");
    assert!(cell.probe_slot().is_none(), "the only place is taken");
    assert_eq!(cell.view().in_flight, 0, "a probe is no request");
    let request = tokio::spawn(front.client().get("sleep", "/?ms=1").send());
    eventually("the request waits", || cell.view().waiting == 1).await;
    drop(place);
    let response = request.await.expect("no panic").expect("an answer");
    assert_eq!(response.status(), 200);
    let busy = tokio::spawn(front.client().get("sleep", "/?ms=600000").send());
    eventually("the request runs", || cell.view().in_flight == 1).await;
    assert!(cell.probe_slot().is_none(), "the only place is taken");
    busy.abort();
    eventually("the place", || cell.probe_slot().is_some()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_replaces_the_tasks_and_lets_requests_finish() {
    let front = Front::start().await;
    let cell = one_at_a_time(&front, "sleep").await;
    let request = tokio::spawn(front.client().get("sleep", "/?ms=500").send());
    eventually("the request runs", || cell.view().in_flight == 1).await;
    let before = cell.view();
    let component = before.deployment.expect("a deployment").component;
    cell.restart(front.loader.load(component).await.expect("it loads"));
    let after = cell.view();
    assert_eq!((before.tasks.len(), after.tasks.len()), (1, 1));
    assert_ne!(before.tasks[0].number, after.tasks[0].number);
    assert!(cell.probe_slot().is_some(), "the new task has room");
    let response = request.await.expect("no panic").expect("an answer");
    assert_eq!(response.status(), 200);
    within("the end", cell.drained()).await;
    cell.withdraw();
    let component = front.loader.load(component).await.expect("it loads");
    cell.restart(component);
    assert_eq!(cell.view().tasks, [], "what was withdrawn has nothing to restart");
}
