//! Sizes of requests, and what one request may take of the host.

use std::collections::BTreeSet;

use wharf::model::ByteSize;

use super::limits;
use crate::support::{Front, H2, Raw, ServiceOptions, error_of, eventually, guest};

#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_the_limit_is_refused_with_and_without_its_length() {
    let front = Front::start().await;
    let small = limits(|limits| limits.request_body = ByteSize::kib(8));
    let cell = front.deploy("echo", &guest("echo"), small).await;
    let body = |length: usize| "x".repeat(length);
    let declared = |length: usize| {
        let head = "POST / HTTP/1.1\r\nhost: echo.test\r\nconnection: close\r\n";
        format!("{head}content-length: {length}\r\n\r\n{}", body(length))
    };
    let chunked = |length: usize| {
        let head = "POST / HTTP/1.1\r\nhost: echo.test\r\nconnection: close\r\n";
        let body = body(length);
        format!("{head}transfer-encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n")
    };
    for (request, fits) in [
        (declared(8 << 10), true),
        (declared((8 << 10) + 1), false),
        (chunked(8 << 10), true),
        (chunked((8 << 10) + 1), false),
    ] {
        let mut raw = Raw::connect(front.address).await;
        raw.send(request).await;
        let answer = raw.answer().await.expect("an answer");
        if fits {
            assert_eq!((answer.status, answer.body.len()), (200, 8 << 10));
            continue;
        }
        assert_eq!(answer.status, 413);
        assert_eq!(answer.header("wharf-error"), Some("body-too-large"));
        let line = front.access_line(answer.header("x-request-id").expect("an id")).await;
        assert_eq!((&line["code"], &line["service"]), (&"body-too-large".into(), &"echo".into()));
        assert!(line["bytes_in"].as_u64().is_some_and(|bytes| bytes <= 8 << 10), "{line}");
        assert!(raw.is_closed().await);
    }
    // The access line is written before the instance has given its place back.
    eventually("no request is in flight", || cell.view().in_flight == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_section_over_the_tasks_limit_is_refused() {
    let front = Front::start().await;
    let small = limits(|limits| limits.headers = ByteSize::kib(1));
    front.deploy("hello", &guest("hello"), small).await;
    let get = |bytes: usize| front.client().get("hello", "/").header("x-fill", "x".repeat(bytes));
    assert_eq!(get(500).send().await.expect("an answer").status(), 200);
    let refused = get(1_200).send().await.expect("an answer");
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()["wharf-error"]),
        (431, &"headers-too-large".parse().expect("a value"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_too_large_wakes_nobody() {
    let front = Front::start().await;
    let small = limits(|limits| {
        limits.request_body = ByteSize::kib(8);
        limits.headers = ByteSize::kib(1);
    });
    let cell = front.deploy("echo", &guest("echo"), small).await;
    let head = "POST / HTTP/1.1\r\nhost: echo.test\r\nconnection: close\r\n";
    let long = format!("{head}content-length: 8193\r\n\r\n");
    let wide = format!("{head}x-fill: {}\r\n\r\n", "x".repeat(1_200));
    for (request, status, code) in [(long, 413, "body-too-large"), (wide, 431, "headers-too-large")]
    {
        let mut raw = Raw::connect(front.address).await;
        raw.send(request).await;
        let answer = raw.answer().await.expect("an answer");
        assert_eq!((answer.status, answer.header("wharf-error")), (status, Some(code)));
        let line = front.access_line(answer.header("x-request-id").expect("an id")).await;
        assert_eq!((&line["code"], &line["service"]), (&code.into(), &"echo".into()));
        assert!(line["task"].is_null() && line["cold_start_us"].is_null(), "{line}");
    }
    assert_eq!((front.loader.loads(), cell.view().tasks.len(), cell.view().loaded), (0, 0, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_takes_too_much_of_the_host_is_stopped() {
    let front = Front::start().await;
    let leak = limits(|limits| limits.handles = 100);
    let cell = front.deploy("leak", &guest("leak-handles"), leak).await;
    let copies = limits(|limits| limits.hostcall_bytes = ByteSize::kib(16));
    front.deploy("half", &guest("half-response"), copies).await;
    for (service, path) in [
        ("leak", "/"),
        ("leak", "/pollables"),
        ("leak", "/requests"),
        ("leak", "/full"),
        ("half", "/headers?n=100"),
        ("half", "/big?mib=1"),
    ] {
        let answer = front.client().get(service, path).send().await.expect("an answer");
        assert_eq!(error_of(&answer), (500, "resource-limit"), "{service}{path}");
    }
    let few = front.client().get("leak", "/?n=50").send().await.expect("an answer");
    assert_eq!(few.text().await.expect("a body"), "leaked 50 handles\n");
    let notes = cell.logs().tail(10);
    assert!(notes.iter().any(|line| line.text.contains("resource-limit")), "{notes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_uses_the_same_fuel_on_every_node_and_over_every_protocol() {
    let mut seen = BTreeSet::new();
    for _ in 0..2 {
        let front = Front::start().await;
        front.deploy("burn", &guest("burn-fuel"), ServiceOptions::default()).await;
        for path in ["/?n=100000", "/?n=100000"] {
            let answer = front.client().get("burn", path).send().await.expect("an answer");
            assert_eq!(answer.status(), 200);
        }
        let answer = H2::connect(front.address).await.get("burn", "/?n=100000").await;
        assert_eq!(answer.expect("an answer").status(), 200);
        for line in front.access_lines(3).await {
            seen.insert(line["fuel"].as_u64().expect("a number"));
        }
    }
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert!(seen.first().is_some_and(|fuel| *fuel > 100_000), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_line_has_every_field() {
    let front = Front::start().await;
    let options = ServiceOptions::default();
    front.deploy("echo", &guest("echo"), options).await;
    let post = || front.client().request("POST", "echo", "/a/b?secret=1").body("body");
    assert_eq!(post().send().await.expect("an answer").status(), 200);
    assert_eq!(post().send().await.expect("an answer").status(), 200);
    let lines = front.access_lines(2).await;
    for (line, cold) in lines.iter().zip([true, false]) {
        assert!(line["at"].as_str().is_some_and(|at| at.ends_with('Z')), "{line}");
        assert!(line["client"].as_str().is_some_and(|c| c.starts_with("127.0.0.1:")), "{line}");
        for (field, value) in [
            ("method", "POST"),
            ("host", "echo.test"),
            ("path", "/a/b"),
            ("service", "echo"),
            ("definition", "echo:1"),
            ("code", "ok"),
        ] {
            assert_eq!(line[field], value, "{line}");
        }
        for (field, value) in [("status", 200), ("task", 1), ("bytes_in", 4), ("bytes_out", 4)] {
            assert_eq!(line[field], value, "{line}");
        }
        for field in ["duration_us", "fuel", "cpu_us", "peak_memory_bytes"] {
            assert!(line[field].as_u64().is_some_and(|n| n > 0), "{field}: {line}");
        }
        assert!(line["wait_us"].is_u64(), "{line}");
        assert_eq!(line["cold_start_us"].is_u64(), cold, "{line}");
        let id = line["id"].as_str().expect("an id");
        assert!(!id.is_empty());
    }
    assert_ne!(lines[0]["id"], lines[1]["id"]);
}
