//! Services of one node that call each other.

use std::time::Duration;

use wharf::model::{Limits, QueueBounds, Scale};

use super::*;

fn callers(names: &[&str]) -> ServiceOptions {
    ServiceOptions { role: role_of(json!({ "services": names })), ..ServiceOptions::default() }
}

/// One task that serves one request, and a short queue before it.
fn narrow(options: ServiceOptions) -> ServiceOptions {
    ServiceOptions {
        limits: Limits { concurrency: 1, ..options.limits },
        scale: Scale { min: 0, max: 1, ..Scale::default() },
        queue: QueueBounds { depth: 10, wait: Duration::from_millis(300) },
        ..options
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_calls_another_that_sleeps() {
    let front = front(Names::saying(&[])).await;
    front.deploy("fetch", &guest("fetch"), callers(&["env"])).await;
    let env = front.deploy("env", &guest("env"), ServiceOptions::default()).await;
    assert!(!env.view().loaded, "nobody has asked it yet");
    let path = via("http://env.wharf.internal/?headers=1", "");
    let request = front.client().get("fetch", &path).header("x-request-id", "abc");
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let answer = request.header("traceparent", trace).send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let text = answer.text().await.expect("a body");
    for line in ["wharf-caller: fetch", "x-request-id: abc", &format!("traceparent: {trace}")] {
        assert!(text.contains(line), "{line} in {text}");
    }
    let lines = front.access_lines(2).await;
    let call = lines.iter().find(|line| line["service"] == "env").expect("a line");
    assert_eq!((&call["caller"], &call["id"]), (&json!("fetch"), &json!("abc")));
    assert_eq!((&call["host"], &call["path"]), (&json!("env.wharf.internal"), &json!("/")));
    assert_eq!((&call["status"], &call["code"]), (&json!(200), &json!("ok")));
    assert!(call["cold_start_us"].is_u64(), "{call}");
    assert_eq!(front.outcomes("env").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_services_that_the_role_names_are_called() {
    let front = front(Names::saying(&[])).await;
    let cell = front.deploy("fetch", &guest("fetch"), callers(&["env", "gone"])).await;
    front.deploy("env", &guest("env"), ServiceOptions::default()).await;
    front.deploy("other", &guest("env"), ServiceOptions::default()).await;
    for (url, says) in [
        ("http://other.wharf.internal/", "HttpRequestDenied"),
        ("https://env.wharf.internal/", "HttpRequestDenied"),
        ("http://env.wharf.internal:8080/", "HttpRequestDenied"),
        ("http://gone.wharf.internal/", "DestinationNotFound"),
        ("http://a.env.wharf.internal/", "DestinationNotFound"),
        ("http://wharf.internal/", "DestinationNotFound"),
        ("http://ENV.Wharf.Internal./?name=NO", "NO is not set"),
    ] {
        let (_, text) = fetch(&front, "fetch", url, "").await;
        assert!(text.contains(says), "{url}: {text}");
    }
    noted(&cell, "add `services = [\"other\"]` to [role.web]").await;
    front.deploy("every", &guest("fetch"), callers(&["*"])).await;
    assert_eq!(fetch(&front, "every", "http://other.wharf.internal/", "").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callee_cannot_be_fooled_about_who_calls() {
    let front = front(Names::saying(&[])).await;
    front.deploy("env", &guest("env"), ServiceOptions::default()).await;
    let request = front.client().get("env", "/?headers=1").header("wharf-caller", "admin");
    let text = request.send().await.expect("an answer").text().await.expect("a body");
    assert!(!text.contains("wharf-caller"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_pass_both_ways() {
    let front = front(Names::saying(&[])).await;
    front.deploy("fetch", &guest("fetch"), callers(&["echo"])).await;
    front.deploy("echo", &guest("echo"), ServiceOptions::default()).await;
    // What fits between the two: the caller reads no answer before it has sent everything.
    let body: Vec<u8> = (0..60_000u32).map(|n| n as u8).collect();
    let path = via("http://echo.wharf.internal/", "");
    let post = front.client().request("POST", "fetch", &path).body(body.clone());
    let answer = post.send().await.expect("an answer");
    assert_eq!(answer.bytes().await.expect("a body"), body);
    let limits = Limits { request_body: wharf::model::ByteSize(10), ..Limits::default() };
    let small = ServiceOptions { limits, ..ServiceOptions::default() };
    front.deploy("small", &guest("echo"), small).await;
    front.deploy("fetch2", &guest("fetch"), callers(&["small"])).await;
    let path = via("http://small.wharf.internal/", "");
    let post = front.client().request("POST", "fetch2", &path).body("0123456789a");
    assert_ne!(post.send().await.expect("an answer").status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_wait_in_the_queue_of_whom_they_call() {
    let front = front(Names::saying(&[])).await;
    front.deploy("fetch", &guest("fetch"), callers(&["sleep"])).await;
    let options = narrow(ServiceOptions::default());
    let queue = QueueBounds { depth: 20, wait: Duration::from_secs(30) };
    front.deploy("sleep", &guest("sleep"), ServiceOptions { queue, ..options }).await;
    let url = "http://sleep.wharf.internal/?ms=5";
    let (_, text) = fetch(&front, "fetch", url, "&n=8").await;
    assert_eq!(text, "8 200\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_circle_of_busy_services_comes_to_an_end() {
    let front = front(Names::saying(&[])).await;
    front.deploy("a", &guest("fetch"), narrow(callers(&["b"]))).await;
    front.deploy("b", &guest("fetch"), narrow(callers(&["a"]))).await;
    // a asks b to ask a, whose only place is taken by the request that waits for all of this.
    let inner = via("http://a.wharf.internal/?loop=b", "");
    let outer = via(&format!("http://b.wharf.internal{inner}"), "");
    let answer = front.client().get("a", &outer).send().await.expect("an answer");
    let status = answer.status();
    let problem: serde_json::Value = answer.json().await.expect("JSON");
    assert!(status == 503 || status == 429, "{status} {problem}");
    let code = problem["code"].as_str().expect("a code");
    assert!(["at-maximum", "queue-timeout"].contains(&code), "{problem}");
    // Everybody has let go of everything.
    assert_eq!(front.client().get("a", "/").send().await.expect("an answer").status(), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_of_calls_is_told_so() {
    let front = front(Names::saying(&[])).await;
    let cell = front.deploy("a", &guest("fetch"), callers(&["a"])).await;
    let answer = front.client().get("a", "/?loop=a").send().await.expect("an answer");
    assert_eq!(answer.status(), 502);
    assert_eq!(answer.text().await.expect("a body").trim(), "ErrorCode::LoopDetected");
    assert_eq!(front.access_lines(9).await.len(), 9, "eight calls behind the client's request");
    noted(&cell, "more than 8 calls deep").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_ends_with_its_caller() {
    let front = front(Names::saying(&[])).await;
    let limits = Limits { timeout: Duration::from_millis(200), ..Limits::default() };
    let options = ServiceOptions { limits, ..callers(&["sleep"]) };
    front.deploy("fetch", &guest("fetch"), options).await;
    let sleep = front.deploy("sleep", &guest("sleep"), ServiceOptions::default()).await;
    let path = via("http://sleep.wharf.internal/?ms=600000", "");
    let answer = front.client().get("fetch", &path).send().await.expect("an answer");
    assert!(answer.status().is_server_error());
    eventually("the callee is stopped", || sleep.view().in_flight == 0).await;
}
