//! What a node does with what it should not be given.

use crate::support::{Node, guest, http_client, preview1_guest, ran, serve_command, wat};

/// Applies a component that cannot be deployed, and returns what the user is told.
fn refused(node: &Node, name: &str, wasm: &[u8]) -> String {
    node.put("bad.wasm", wasm);
    let manifest = format!(
        "[task.{name}]\ncomponent = \"bad.wasm\"\n[service.{name}]\nroute = \"{name}.localhost\"\n"
    );
    let ran = node.try_apply(&manifest);
    assert_eq!(ran.code, Some(1), "{name}: {}{}", ran.stdout, ran.stderr);
    format!("{}{}", ran.stdout, ran.stderr)
}

#[tokio::test(flavor = "multi_thread")]
async fn components_that_cannot_run_are_refused_when_they_are_deployed() {
    let node = Node::start();
    let hello = guest("hello");
    for (name, wasm, code, words) in [
        ("unknown", wat("needs-unknown-import"), "component-unlinkable", "acme:missing"),
        ("core", wat("not-a-component"), "component-core-module", "core module"),
        ("command", preview1_guest("p1"), "component-not-http", "incoming-handler"),
        ("huge", wat("huge-initial-memory"), "memory-too-small", "instance_memory"),
        ("starts", wat("start-loops"), "component-start-failed", "fuel"),
        ("garbage", b"\0asm\x0d\0\x01\0garbage".to_vec(), "component-invalid", "not valid"),
        ("cut", hello[..hello.len() / 2].to_vec(), "component-invalid", "not valid"),
    ] {
        let told = refused(&node, name, &wasm);
        assert!(told.contains(code), "{name}: {told}");
        assert!(told.contains(words), "{name}: {told}");
        let (status, body) = node.get(&format!("{name}.localhost"), "/").await;
        assert_eq!(status, 503, "{body}");
        assert!(body.contains("not-ready"), "{body}");
    }
}

#[test]
fn what_is_no_wasm_at_all_or_too_large_is_refused_by_push() {
    let node = Node::start();
    node.put("text.wasm", b"hello, this is text");
    let huge = std::fs::File::create(node.path("huge.wasm")).expect("a file");
    huge.set_len(300 << 20).expect("a sparse file");
    node.put("empty.wasm", b"");
    for file in ["text.wasm", "huge.wasm", "empty.wasm", "missing.wasm"] {
        let ran = node.wharf(&["push", file, "x:1"]);
        assert_eq!(ran.code, Some(1), "{file}: {}{}", ran.stdout, ran.stderr);
        assert!(ran.stderr.contains("error: ") && ran.stderr.contains(file), "{}", ran.stderr);
    }
}

#[test]
fn twenty_mistakes_are_reported_at_once() {
    let node = Node::start();
    let mut manifest = String::new();
    for n in 0..20 {
        manifest.push_str(&format!("[task.t{n}]\nimage = \"a.example/x:1\"\nfuel = -{n}\n"));
    }
    let ran = node.try_apply(&manifest.replace("-0", "\"lots\""));
    assert_eq!(ran.code, Some(1));
    for n in 0..20 {
        assert!(ran.stderr.contains(&format!("task.t{n}.fuel")), "t{n}: {}", ran.stderr);
    }
    assert_eq!(node.wharf(&["services", "-o", "json"]).ok().json(), serde_json::json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_every_kind_are_harmless() {
    let node = Node::start();
    let long = "x".repeat(64 << 10);
    for name in ["", "ünïcode", "a b", "../../etc", &long] {
        let manifest = serde_json::json!({ "task": { name: { "image": "a.example/x:1" } } });
        let client = http_client().post(node.api_url("/v1/apply"));
        let answer = client.json(&manifest).send().await.expect("an answer");
        assert_eq!(answer.status(), 422, "{name:.20}");
        let url = node.api_url(&format!("/v1/services/{}", name.replace(['/', ' '], "%2f")));
        if name.len() < 100 {
            let answer = http_client().get(url).send().await.expect("an answer");
            assert!(answer.status().is_client_error() || name.is_empty(), "{name:.20}");
        }
    }
}

#[test]
fn bad_usage_ends_with_2_and_says_how() {
    let dir = tempfile::tempdir().expect("a folder");
    for args in [&["--listen", "here"][..], &["--reset", "quick"], &["--no-such-flag"]] {
        let ran = ran(serve_command(dir.path()).args(args));
        assert_eq!(ran.code, Some(2), "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(args[0]), "{}", ran.stderr);
    }
}

#[test]
fn a_ready_file_that_cannot_be_written_ends_the_node() {
    let dir = tempfile::tempdir().expect("a folder");
    let data = dir.path().join("data");
    let serve = |ready: &str| {
        let ready = dir.path().join(ready);
        let ran = ran(serve_command(&data).arg("--ready-file").arg(&ready));
        assert_eq!(ran.code, Some(1), "{}", ran.stderr);
        assert!(ran.stderr.contains("the ready file"), "{}", ran.stderr);
        assert!(ran.stderr.contains(ready.to_str().expect("text")), "{}", ran.stderr);
        assert!(ran.stderr.contains("hint: "), "{}", ran.stderr);
    };
    serve("nowhere/ready.json");
    assert!(!data.exists(), "nothing was begun");
    // What stands in the way at the end stops a node that has begun, in good order.
    std::fs::create_dir(dir.path().join("folder")).expect("a folder");
    serve("folder");
    assert!(data.join("state.db").exists());
    assert!(!data.join("state.db-wal").exists(), "the state was closed");
}
