//! A disk that is full when it is needed: each time a clear error with its code, what was there
//! goes on, and what was asked for is done once there is room.
//!
//! The parts of a data folder are small disks of their own here, so that it is known which of
//! them is full.

use crate::support::{Node, SmallDisk, error_of, guest, http_client, wait_for};

fn manifest(name: &str) -> String {
    format!(
        "[task.{name}]\ncomponent = \"{name}.wasm\"\n[service.{name}]\nroute = \"{name}.test\"\n"
    )
}

/// The component with a custom section of this many bytes: larger to pull, and nothing else.
fn padded(mut wasm: Vec<u8>, bytes: usize) -> Vec<u8> {
    let mut content = vec![1, b'x'];
    content.resize(bytes, 7);
    let mut size = content.len();
    wasm.push(0);
    loop {
        let byte = (size & 0x7f) as u8;
        size >>= 7;
        wasm.push(if size > 0 { byte | 0x80 } else { byte });
        if size == 0 {
            break;
        }
    }
    wasm.extend(content);
    wasm
}

/// A node with `hello` in force, and this part of its data folder on a small disk.
fn node_on(part: &str) -> Option<(Node, SmallDisk)> {
    let dir = tempfile::tempdir().expect("a folder");
    let disk = SmallDisk::mount(&dir.path().join("data").join(part), "24m")?;
    let node = Node::start_in(dir);
    node.put("hello.wasm", &guest("hello"));
    node.apply(&manifest("hello"));
    Some((node, disk))
}

async fn serves_hello(node: &Node) {
    let answer = node.get("hello.test", "/").await;
    assert_eq!(answer, (200, "Hello from Wharf!\n".to_owned()), "{}", node.log());
}

/// Applies `env`, which does not fit, and checks what the user sees until there is room.
async fn waits_for_room(mut node: Node, disk: SmallDisk, code: &str, path: &str) {
    node.put("env.wasm", &padded(guest("env"), 4 << 20));
    std::fs::write(node.path("env.toml"), manifest("env")).expect("writable");
    node.wharf(&["apply", "-f", "env.toml"]).ok();
    let failed = |node: &Node| {
        wait_for(code, || Some(node.describe("env")).filter(|env| env["code"] == code))
    };
    let env = failed(&node);
    let message = env["message"].as_str().expect("a message");
    assert!(message.contains("next attempt in"), "{message}");
    assert!(message.to_lowercase().contains("no space left"), "{message}");
    let table = node.wharf(&["describe", "env"]).ok().stdout;
    assert!(table.contains(code), "{table}");
    assert!(node.log().contains(code), "{}", node.log());
    let (status, body) = node.get("env.test", "/").await;
    assert_eq!(status, 503, "{body}");
    serves_hello(&node).await;
    // Nothing that was acknowledged is lost, and a full disk keeps no node from starting.
    node.kill();
    node.start_again();
    serves_hello(&node).await;
    assert_eq!(failed(&node)["routes"][0], "env.test/*");
    let half_written = std::fs::read_dir(node.data().join(path)).expect("a folder").flatten();
    let names: Vec<_> = half_written.map(|file| file.file_name()).collect();
    assert!(names.iter().all(|name| !name.to_string_lossy().contains("tmp")), "{names:?}");
    disk.make_room();
    wait_for("the deployment", || (node.describe("env")["state"] == "ready").then_some(()));
    assert_eq!(node.get("env.test", "/?log=1").await, (200, "logged\n".to_owned()));
    serves_hello(&node).await;
    assert_eq!(node.stop(), Some(0), "{}", node.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_middle_of_a_pull() {
    let Some((node, disk)) = node_on("content") else { return };
    disk.fill_up_to(1 << 20);
    waits_for_room(node, disk, "image-store-failed", "content/sha256").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_middle_of_compiled_code() {
    let Some((node, disk)) = node_on("compiled") else { return };
    disk.fill_up_to(64 << 10);
    waits_for_room(node, disk, "disk-full", "compiled").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_middle_of_a_write_of_the_state() {
    let Some((mut node, disk)) = node_on("") else { return };
    disk.fill_up_to(0);
    let mut acknowledged = None;
    let refused = (1..10_000).find_map(|max| {
        let scaled = node.wharf(&["scale", "hello", "--max", &max.to_string()]);
        if scaled.code != Some(0) {
            return Some(scaled);
        }
        acknowledged = Some(max);
        None
    });
    let refused = refused.expect("the disk is full at last");
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(refused.stderr.contains("the disk or the quota"), "{}", refused.stderr);
    assert!(refused.stderr.contains("hint: make room"), "{}", refused.stderr);
    let max = node.describe("hello")["scale"]["max"].as_u64();
    assert_eq!(max, Some(acknowledged.unwrap_or(100)), "what was refused has no effect");
    serves_hello(&node).await;
    let client = http_client().post(node.api_url("/v1/apply"));
    let body = serde_json::json!({ "service": { "hello": { "task": "hello" } } });
    let answer = client.json(&body).send().await.expect("an answer");
    assert_eq!(error_of(&answer), (507, "no-space"));
    disk.make_room();
    node.wharf(&["scale", "hello", "--max", "77"]).ok();
    node.put("env.wasm", &guest("env"));
    node.apply(&manifest("env"));
    node.kill();
    node.start_again();
    assert_eq!(node.describe("hello")["scale"]["max"], 77);
    serves_hello(&node).await;
    assert_eq!(node.get("env.test", "/?log=1").await.0, 200);
    assert_eq!(node.stop(), Some(0), "{}", node.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_middle_of_a_push() {
    let Some((node, disk)) = node_on("registry") else { return };
    disk.fill_up_to(1 << 20);
    node.put("env.wasm", &padded(guest("env"), 4 << 20));
    let refused = node.wharf(&["push", "env.wasm", "env:1"]);
    assert_eq!(refused.code, Some(1), "{}{}", refused.stdout, refused.stderr);
    assert!(refused.stderr.contains("no space left"), "{}", refused.stderr);
    serves_hello(&node).await;
    disk.make_room();
    node.wharf(&["push", "env.wasm", "env:1"]).ok();
    node.apply(&manifest("env"));
    assert_eq!(node.get("env.test", "/?log=1").await.0, 200);
}
