//! A whole node, driven as its users drive it: by its CLI, its API and requests.

use crate::support::{Node, guest, ran, serve_command, serve_on, skopeo, wait_for};

const HELLO: &str = r#"
[task.hello]
component = "hello.wasm"

[service.hello]
route = "hello.localhost/*"
"#;

fn node_with_hello() -> Node {
    let node = Node::start();
    node.put("hello.wasm", &guest("hello"));
    node.apply(HELLO);
    node
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_service_in_two_commands() {
    let mut node = node_with_hello();
    let (status, body) = node.get("hello.localhost", "/").await;
    assert_eq!((status, body.as_str()), (200, "Hello from Wharf!\n"));
    let services = node.wharf(&["services", "-o", "json"]).ok().json();
    assert_eq!(services[0]["name"], "hello");
    let described = node.describe("hello");
    assert_eq!(described["definition"]["id"], "hello:1", "{described}");
    for command in ["services", "tasks", "ps", "nodes", "doctor", "version"] {
        node.wharf(&[command]);
        node.wharf(&[command, "-o", "json"]).json();
    }
    assert_eq!(node.wharf(&["describe", "nobody"]).code, Some(1));
    assert_eq!(node.wharf(&["frobnicate"]).code, Some(2));
    node.wharf(&["delete", "hello"]).ok();
    assert_eq!(node.get("hello.localhost", "/").await.0, 404);
    assert_eq!(node.stop(), Some(0), "{}", node.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_killed_serves_again_without_a_pull_or_a_compile() {
    let mut node = node_with_hello();
    node.wharf(&["scale", "hello", "--max", "7"]).ok();
    node.kill();
    node.start_again();
    assert_eq!(node.get("hello.localhost", "/").await.0, 200, "{}", node.log());
    let record = node.node_record();
    assert_eq!(record["live"]["compiles"], 0, "{record}");
    assert_eq!(node.describe("hello")["scale"]["max"], 7);
    assert!(node.log().matches("phase=Pulling").count() <= 1, "{}", node.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_whenever_the_node_is_killed() {
    let mut node = node_with_hello();
    node.wharf(&["scale", "hello", "--max", "1"]).ok();
    let mut acknowledged = 1;
    for round in 0..8_u64 {
        let pid = node.pid();
        let killer = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(40 + 37 * round));
            let pid = rustix::process::Pid::from_raw(pid.cast_signed()).expect("a pid");
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        });
        for max in acknowledged + 1..acknowledged + 1_000 {
            let scaled = node.wharf(&["scale", "hello", "--max", &max.to_string()]);
            if scaled.code != Some(0) {
                break;
            }
            acknowledged = max;
        }
        killer.join().expect("it ends");
        node.kill();
        node.start_again();
        let max = node.describe("hello")["scale"]["max"].as_i64().expect("a number");
        let expected = [acknowledged, acknowledged + 1];
        assert!(expected.contains(&max), "acknowledged {acknowledged}, found {max}");
        acknowledged = max;
        assert_eq!(node.get("hello.localhost", "/").await.0, 200, "{}", node.log());
    }
}

#[test]
fn a_second_node_keeps_out_of_the_folder() {
    let node = Node::start();
    let second = ran(&mut serve_command(&node.data()));
    assert_eq!(second.code, Some(1), "{}", second.stderr);
    assert!(second.stderr.contains("in use by"), "{}", second.stderr);
    assert!(second.stderr.contains("hint:"), "{}", second.stderr);
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    for (listen, api) in [(&*address, "127.0.0.1:0"), ("127.0.0.1:0", &*address)] {
        let dir = tempfile::tempdir().expect("a folder");
        let second = ran(&mut serve_on(listen, api, dir.path()));
        assert_ne!(second.code, Some(0), "{}", second.stderr);
        assert!(second.stderr.contains(&address), "{}", second.stderr);
        assert!(second.stderr.contains("hint:"), "{}", second.stderr);
    }
}

#[test]
fn an_api_without_authentication_stays_on_this_machine() {
    let dir = tempfile::tempdir().expect("a folder");
    let refused = ran(&mut serve_on("127.0.0.1:0", "0.0.0.0:0", dir.path()));
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(refused.stderr.contains("--allow-remote-api"), "{}", refused.stderr);
}

#[test]
fn damaged_state_is_refused_and_kept() {
    let mut node = node_with_hello();
    node.kill();
    let path = node.data().join("state.db");
    let before = b"this is not a database".to_vec();
    std::fs::write(&path, &before).expect("writable");
    let refused = ran(&mut serve_command(&node.data()));
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(refused.stderr.contains("hint:"), "{}", refused.stderr);
    assert_eq!(std::fs::read(&path).expect("readable"), before, "nothing is deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn standard_clients_push_and_the_digest_counts() {
    let node = Node::start();
    node.put("hello.wasm", &guest("hello"));
    let registry = node.api.to_string();
    node.wharf(&["push", "hello.wasm", "team/hello:1"]).ok();
    let source = format!("docker://{registry}/team/hello:1");
    let target = format!("docker://{registry}/team/copy:1");
    let copy = ["copy", "--src-tls-verify=false", "--dest-tls-verify=false", &source, &target];
    skopeo(&copy).await;
    let manifest = format!(
        "[task.hello]\nimage = \"{registry}/team/copy:1\"\n\
         [service.hello]\nroute = \"h.localhost\"\n"
    );
    node.apply(&manifest);
    assert_eq!(node.get("h.localhost", "/").await.1, "Hello from Wharf!\n");
    // The tag moves; what runs does not.
    node.put("env.wasm", &guest("env"));
    node.wharf(&["push", "env.wasm", "team/copy:1"]).ok();
    assert_eq!(node.get("h.localhost", "/").await.1, "Hello from Wharf!\n");
    node.apply(&manifest);
    assert_eq!(node.describe("hello")["definition"]["id"], "hello:2");
    wait_for("the new revision", || {
        let definition = node.describe("hello")["running"][0]["definition"].clone();
        (definition != "hello:1").then_some(())
    });
    let pulled = node.path("pulled.wasm");
    node.wharf(&["pull", "team/hello:1", "--to", "pulled.wasm"]).ok();
    assert_eq!(std::fs::read(pulled).expect("readable"), guest("hello"));
}
