//! Copies of requests, and that nobody waits for them.

use serde_json::{Value, json};

use super::node_support::{ask, web};
use crate::support::{Answer, Node, Raw, Setup, eventually, guest};

/// A node that writes access lines, with these samples in its folder.
fn node(samples: &[&str]) -> Node {
    let log = tempfile::tempdir().expect("a folder");
    let path = log.path().join("access.log");
    let args = ["--access-log", path.to_str().expect("text")];
    let node = Node::start_as(log, Setup::with(&args));
    for sample in samples {
        node.put(&format!("{sample}.wasm"), &guest(sample));
    }
    node
}

/// The service `web` on one sample, whose copies go to the service `other` on another.
fn pair(web: &str, other: &str, mirror: &str) -> String {
    format!(
        "[task.web]\ncomponent = \"{web}.wasm\"\n[task.other]\ncomponent = \"{other}.wasm\"\n\
         timeout = \"10m\"\n[service.other]\n\
         [service.web]\nroute = \"web.localhost\"\nmirror = {{ {mirror} }}\n"
    )
}

/// The answer to a request for this path, with this after the host.
async fn request(node: &Node, method: &str, path: &str, rest: &str) -> Answer {
    let mut raw = Raw::connect(node.http).await;
    let head = format!("{method} {path} HTTP/1.1\r\nhost: web.localhost\r\nconnection: close\r\n");
    raw.send(format!("{head}{rest}")).await;
    raw.answer().await.expect("an answer")
}

/// Waits until so much became of the copies of `web`.
async fn mirrored(node: &Node, expected: Value) {
    eventually(&format!("{expected}"), || node.describe("web")["mirrored"] == expected).await;
}

/// The access lines of copies, once there are so many.
async fn copies(node: &Node, count: usize) -> Vec<Value> {
    let read = || -> Vec<Value> {
        let text = std::fs::read_to_string(node.path("access.log")).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["mirror"] == true).collect()
    };
    eventually(&format!("{count} lines of copies"), || read().len() >= count).await;
    read()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_of_the_requests_is_copied_for_another_service_and_marked() {
    let node = node(&["env"]);
    node.apply(&pair("env", "env", "service = \"other\", percent = 50"));
    let mut length = 0;
    for _ in 0..40 {
        // What a client says about copies is not passed on.
        let answer = request(&node, "GET", "/a?headers=1", "wharf-mirror: 7\r\n\r\n").await;
        assert!(!answer.text().contains("wharf-mirror"), "{}", answer.text());
        length = answer.body.len();
    }
    let lines = copies(&node, 21).await;
    assert_eq!(lines.len(), 21);
    mirrored(&node, json!({ "sent": 21 })).await;
    for line in &lines {
        assert_eq!((&line["service"], &line["code"]), (&"other".into(), &"ok".into()), "{line}");
        assert_eq!((&line["status"], &line["path"]), (&200.into(), &"/a".into()), "{line}");
        let more = "wharf-mirror: 1\n".len();
        // The ids of requests grow by digits.
        let bytes = line["bytes_out"].as_u64().expect("a number");
        assert!(bytes.abs_diff((length + more) as u64) <= 1, "{line} {length}");
    }
    assert_eq!(node.describe("other")["stats"]["requests"], 21);
    let page = node.wharf(&["describe", "web"]).ok().stdout;
    assert!(page.contains("mirror      50% to service other\n  sent              21"), "{page}");
    // A copy is not copied again, and what is gone gets none.
    node.wharf(&["delete", "other"]).ok();
    eventually("it is gone", || node.wharf(&["describe", "other"]).code != Some(0)).await;
    for _ in 0..4 {
        assert_eq!(request(&node, "GET", "/", "\r\n").await.status, 200);
    }
    mirrored(&node, json!({ "absent": 1, "sent": 21 })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_copied_if_they_are_short_and_say_so() {
    let node = node(&["echo"]);
    node.apply(&pair("echo", "echo", "service = \"other\""));
    let declared =
        |length: usize| format!("content-length: {length}\r\n\r\n{}", "x".repeat(length));
    for length in [0, 1, 10_000, 64 << 10] {
        let answer = request(&node, "POST", "/", &declared(length)).await;
        assert_eq!((answer.status, answer.body.len()), (200, length));
    }
    let mut sizes: Vec<(u64, u64)> = copies(&node, 4).await.iter().map(sizes_of).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [(0, 0), (1, 1), (10_000, 10_000), (64 << 10, 64 << 10)]);
    let chunked = "transfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n";
    for (rest, length) in [(declared((64 << 10) + 1), (64 << 10) + 1), (chunked.to_owned(), 1)] {
        let answer = request(&node, "POST", "/", &rest).await;
        assert_eq!((answer.status, answer.body.len()), (200, length));
    }
    mirrored(&node, json!({ "body": 2, "sent": 4 })).await;
    // A body that never arrives whole is nobody's.
    let mut raw = Raw::connect(node.http).await;
    raw.send("POST / HTTP/1.1\r\nhost: web.localhost\r\ncontent-length: 10\r\n\r\nhalf").await;
    eventually("it is there", || node.describe("web")["in_flight"] == 1).await;
    drop(raw);
    mirrored(&node, json!({ "body": 3, "sent": 4 })).await;
}

fn sizes_of(line: &Value) -> (u64, u64) {
    let size = |key: &str| line[key].as_u64().expect("a number");
    (size("bytes_in"), size("bytes_out"))
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_that_hang_or_fail_are_nothing_to_their_originals() {
    let node = node(&["hello", "sleep", "trap"]);
    node.apply(&pair("hello", "trap", "service = \"other\""));
    for _ in 0..5 {
        assert_eq!(request(&node, "GET", "/", "\r\n").await.status, 200);
    }
    let lines = copies(&node, 5).await;
    assert!(lines.iter().all(|line| line["code"] == "guest-trapped"), "{lines:?}");
    node.apply(&pair("hello", "sleep", "service = \"other\""));
    for _ in 0..40 {
        assert_eq!(request(&node, "GET", "/?ms=600000", "\r\n").await.status, 200);
    }
    mirrored(&node, json!({ "busy": 8, "sent": 37 })).await;
    // They are counted while their copies are still under way.
    eventually("45 requests", || node.describe("web")["stats"]["requests"] == 45).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_without_a_share_gets_copies() {
    let node = node(&["env"]);
    for version in ["1", "2"] {
        node.apply(&web(version, ""));
    }
    node.apply(&web("2", "mirror = { revision = 1 }\n"));
    for _ in 0..3 {
        assert_eq!(ask(&node, "").await.text(), "2\n");
    }
    let lines = copies(&node, 3).await;
    assert!(lines.iter().all(|line| line["revision"] == 1 && line["code"] == "ok"), "{lines:?}");
    mirrored(&node, json!({ "sent": 3 })).await;
    // Whoever gets the request itself gets no copy.
    node.apply(&web("2", "mirror = { revision = 2 }\n"));
    assert_eq!(ask(&node, "").await.text(), "2\n");
    // Without a mirror nothing is counted any more.
    node.apply(&web("2", ""));
    assert_eq!(ask(&node, "").await.text(), "2\n");
    assert_eq!(node.describe("web")["mirrored"], json!({ "sent": 3 }));
    let refused = node.try_apply(&web("2", "mirror = { revision = 9 }\n"));
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(refused.stderr.contains("revisions that are kept: 1, 2"), "{}", refused.stderr);
}
