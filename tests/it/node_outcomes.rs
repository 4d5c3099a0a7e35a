//! How each kind of request ended, as its client, the access log and `/metrics` tell it.
//!
//! `queue-full` and `queue-timeout` need code that is gone while requests wait: `scale/zero.rs`.
//! `body-timeout` takes its time: `connections/slow.rs`.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::{
    Answer, End, Node, Raw, Setup, eventually, guest, http_client, wait_for, wat,
};

/// Bytes of addresses that leave room for few instances: 19.
const FEW_INSTANCES: &str = "-v 167772160";

/// A request that has a service of its own.
struct Case {
    code: &'static str,
    component: &'static str,
    /// Further lines of the task.
    task: &'static str,
    request: &'static str,
    status: u16,
    end: End,
}

const fn case(
    code: &'static str,
    component: &'static str,
    task: &'static str,
    request: &'static str,
    status: u16,
) -> Case {
    Case { code, component, task, request, status, end: End::Whole }
}

/// The same, broken off after its head.
const fn cut(
    code: &'static str,
    component: &'static str,
    task: &'static str,
    request: &'static str,
) -> Case {
    Case { code, component, task, request, status: 200, end: End::Cut }
}

const CASES: [Case; 19] = [
    case("ok", "hello", "", "GET /", 200),
    case("fuel-exhausted", "burn-fuel", "fuel = 50_000_000", "GET /", 500),
    case("memory-exceeded", "grow-memory", "memory = \"16MiB\"", "GET /one", 500),
    case("guest-trapped", "trap", "", "GET /", 500),
    case("guest-trapped", "trap", "", "GET /stack", 500),
    case("guest-exited", "trap", "", "GET /exit", 500),
    case("guest-error", "never-respond", "", "GET /error", 500),
    case("no-response", "never-respond", "", "GET /", 500),
    case("response-incomplete", "half-response", "", "GET /short", 500),
    case("resource-limit", "leak-handles", "", "GET /", 500),
    case("request-timeout", "sleep", "timeout = \"300ms\"", "GET /?ms=100000", 504),
    case("body-too-large", "echo", "limits = { request_body = 10 }", "POST /", 413),
    case("headers-too-large", "hello", "limits = { headers = 200 }", "GET /", 431),
    case("not-ready", "needs-unknown-import", "", "GET /", 503),
    case("at-maximum", "sleep", "concurrency = 1", "GET /?ms=0", 429),
    cut("fuel-exhausted", "half-response", "fuel = 100_000", "GET /long"),
    cut(
        "response-too-large",
        "half-response",
        "limits = { response_body = \"1MiB\" }",
        "GET /long",
    ),
    cut("request-timeout", "half-response", "timeout = \"700ms\"", "GET /stall"),
    cut("client-closed", "half-response", "", "GET /long"),
];

/// Requests that are refused before there is a service for them.
const UNROUTED: [(&str, &str, u16); 4] = [
    ("no-route", "GET / HTTP/1.1\r\nhost: nobody.test\r\n", 404),
    ("bad-request", "GET / HTTP/1.1\r\nhost: a.test\r\nhost: b.test\r\n", 400),
    ("method-not-allowed", "CONNECT a.test:80 HTTP/1.1\r\nhost: a.test:80\r\n", 405),
    (
        "not-implemented",
        "POST / HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: gzip, chunked\r\n",
        501,
    ),
];

impl Case {
    fn manifest(&self, n: usize) -> String {
        format!(
            "[task.s{n}]\ncomponent = \"{}.wasm\"\n{}\n[service.s{n}]\nroute = \"s{n}.test\"\n\
             scale = {{ max = 1 }}\nqueue = {{ depth = 100, wait = \"300ms\" }}\n",
            self.component, self.task
        )
    }

    fn bytes(&self, n: usize) -> String {
        let request = self.request;
        let padding = "x".repeat(300);
        let body = if request.starts_with("POST") { "content-length: 20\r\n" } else { "" };
        format!(
            "{request} HTTP/1.1\r\nhost: s{n}.test\r\nx-request-id: case-{n}\r\n\
             x-padding: {padding}\r\n{body}\r\n"
        )
    }
}

fn start() -> Node {
    let log = tempfile::tempdir().expect("a folder");
    let path = log.path().join("access.log");
    let args = ["--access-log", path.to_str().expect("text")];
    let node = Node::start_as(log, Setup::with(&args).under(FEW_INSTANCES));
    let mut manifest = String::new();
    for (n, case) in CASES.iter().enumerate() {
        let wasm = match case.component {
            "needs-unknown-import" => wat(case.component),
            name => guest(name),
        };
        node.put(&format!("{}.wasm", case.component), &wasm);
        manifest += &case.manifest(n);
    }
    // One of them cannot be deployed.
    assert_eq!(node.try_apply(&manifest).code, Some(1));
    wait_for("the others", || {
        let services = node.wharf(&["services", "-o", "json"]).ok().json();
        let services = services.as_array().expect("a list").clone();
        services.iter().all(|it| it["state"] == "ready" || it["state"] == "failed").then_some(())
    });
    node
}

/// `wharf_requests_total` by service and code.
async fn counted(node: &Node) -> BTreeMap<(String, String), u64> {
    let answer = http_client().get(node.api_url("/metrics")).send().await.expect("an answer");
    let text = answer.text().await.expect("text");
    let series = text.lines().filter_map(|line| {
        let rest = line.strip_prefix("wharf_requests_total{service=\"")?;
        let (service, rest) = rest.split_once("\",code=\"")?;
        let (code, count) = rest.split_once("\"} ")?;
        Some(((service.to_owned(), code.to_owned()), count.parse().expect("a number")))
    });
    series.collect()
}

/// The access line of the request with this id.
async fn access_line(node: &Node, id: &str) -> Value {
    let mut found = None;
    eventually(&format!("the access line of {id}"), || {
        let text = std::fs::read_to_string(node.path("access.log")).unwrap_or_default();
        let mut lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        found = lines.find(|line| line["id"] == id);
        found.is_some()
    })
    .await;
    found.expect("it was found")
}

/// Keeps the only place of the service busy.
async fn occupy(node: &Node, n: usize) -> Raw {
    let mut raw = Raw::connect(node.http).await;
    raw.send(format!("GET /?ms=100000 HTTP/1.1\r\nhost: s{n}.test\r\n\r\n")).await;
    wait_for("it is busy", || (node.describe(&format!("s{n}"))["in_flight"] == 1).then_some(()));
    raw
}

async fn ask(node: &Node, case: &Case, n: usize) -> Option<Answer> {
    let mut raw = Raw::connect(node.http).await;
    raw.send(case.bytes(n)).await;
    match case.code {
        "client-closed" => {
            assert_eq!(raw.head().await.expect("a head").status, 200);
            None
        }
        _ => raw.answer().await,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_outcome_is_counted_and_logged_by_its_code() {
    let node = start();
    for (n, case) in CASES.iter().enumerate() {
        let busy = match case.code {
            "at-maximum" => Some(occupy(&node, n).await),
            _ => None,
        };
        if let Some(answer) = ask(&node, case, n).await {
            let what = format!("{n}: {} {}", case.component, case.request);
            assert_eq!((answer.status, answer.end), (case.status, case.end), "{what}");
            let code = answer.header("wharf-error");
            let told = (case.status != 200).then_some(case.code);
            assert_eq!(code, told, "{what}");
        }
        let line = access_line(&node, &format!("case-{n}")).await;
        assert_eq!((&line["code"], &line["status"]), (&case.code.into(), &case.status.into()));
        assert_eq!(line["service"], format!("s{n}"));
        drop(busy);
        let key = (format!("s{n}"), case.code.to_owned());
        let counts = counted(&node).await;
        assert_eq!(counts.get(&key), Some(&1), "{key:?} in {counts:?}");
    }
    no_capacity(&node).await;
    unrouted(&node).await;
}

/// More requests than there are instances.
async fn no_capacity(node: &Node) {
    node.apply(
        "[task.many]\ncomponent = \"sleep.wasm\"\ntimeout = \"10m\"\n\
         [service.many]\nroute = \"many.test\"\n",
    );
    let slots = node.node_record()["live"]["slots"].as_u64().expect("a number");
    let mut busy = Vec::new();
    for _ in 0..slots {
        let mut raw = Raw::connect(node.http).await;
        raw.send("GET /?ms=600000 HTTP/1.1\r\nhost: many.test\r\n\r\n").await;
        busy.push(raw);
    }
    wait_for("every instance is taken", || {
        (node.node_record()["live"]["instances"] == slots).then_some(())
    });
    let mut raw = Raw::connect(node.http).await;
    raw.send("GET /?ms=0 HTTP/1.1\r\nhost: many.test\r\nx-request-id: full\r\n\r\n").await;
    let answer = raw.answer().await.expect("an answer");
    assert_eq!((answer.status, answer.header("wharf-error")), (503, Some("no-capacity")));
    assert_eq!(access_line(node, "full").await["code"], "no-capacity");
    let key = ("many".to_owned(), "no-capacity".to_owned());
    assert_eq!(counted(node).await.get(&key), Some(&1));
    drop(busy);
    let key = ("many".to_owned(), "client-closed".to_owned());
    wait_for("everybody has left", || (node.describe("many")["in_flight"] == 0).then_some(()));
    assert_eq!(counted(node).await.get(&key), Some(&slots));
}

/// What has no service is logged, and counted by itself.
async fn unrouted(node: &Node) {
    let before = counted(node).await;
    for (code, head, status) in UNROUTED {
        let mut raw = Raw::connect(node.http).await;
        raw.send(format!("{head}x-request-id: {code}\r\n\r\n")).await;
        let answer = raw.answer().await.expect("an answer");
        assert_eq!((answer.status, answer.header("wharf-error")), (status, Some(code)));
        let line = access_line(node, code).await;
        assert_eq!((&line["code"], &line["service"]), (&code.into(), &Value::Null));
    }
    assert_eq!(counted(node).await, before);
    let metrics = http_client().get(node.api_url("/metrics")).send().await.expect("an answer");
    let metrics = metrics.text().await.expect("a body");
    for (code, ..) in UNROUTED {
        let series = format!("wharf_unrouted_requests_total{{code=\"{code}\"}}");
        assert!(metrics.contains(&series), "{series}");
    }
}
