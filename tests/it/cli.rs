//! What the command line does and says, against a real node.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::JoinHandle;

use crate::support::{Node, guest, ran, wait_for, wat, wharf_command};

const HELLO: &str = "[task.hello]\ncomponent = \"hello.wasm\"\n\
                     [service.hello]\nroute = \"hello.localhost/*\"\n";

fn node_with_hello() -> Node {
    let node = Node::start();
    node.put("hello.wasm", &guest("hello"));
    node.apply(HELLO);
    node
}

#[test]
fn bad_values_come_with_what_to_write() {
    for (line, code, hint) in [
        ("serve --listen 8080", 2, "write 127.0.0.1:8080 for this machine only"),
        ("serve --api-listen 10.0.0.1", 2, "as in 10.0.0.1:8080"),
        ("doctor --listen :80", 2, "write 127.0.0.1:80 for this machine only"),
        ("apply -f x --timeout 5", 2, "write 5s if you meant seconds"),
        ("scale hello --idle 0", 2, "write a time such as 30s"),
        ("--api 7300 ps", 2, "write http://127.0.0.1:7300"),
        ("--api tcp://10.0.0.1:7300 ps", 2, "write http://10.0.0.1:7300"),
        ("--api https://127.0.0.1:1 ps", 1, "plain HTTP: write http://127.0.0.1:1, unless"),
    ] {
        let told = ran(wharf_command().args(line.split(' ')));
        assert_eq!(told.code, Some(code), "{line}: {}", told.stderr);
        let (_, hints) = told.stderr.split_once("hint: ").unwrap_or_default();
        assert!(hints.contains(hint), "{line}: {}", told.stderr);
    }
}

#[test]
fn names_of_images_are_mended() {
    let node = Node::start();
    node.put("hello.wasm", &guest("hello"));
    let told = node.wharf(&["push", "hello.wasm", "HELLO:1"]);
    assert_eq!(told.code, Some(1), "{}", told.stderr);
    assert!(told.stderr.contains("hint: write `hello:1`"), "{}", told.stderr);
    assert!(!told.stderr.contains("library"), "{}", told.stderr);
    // The tests' machine reaches no registry but those of the tests.
    let manifest = "[task.hello]\nimage = \"hello:1\"\n";
    for (there, hint) in [(false, "this is Docker Hub; "), (true, "own registry has it: ")] {
        if there {
            node.wharf(&["push", "hello.wasm", "hello:1"]).ok();
        }
        let told = node.try_apply(manifest);
        assert_eq!(told.code, Some(1), "{}", told.stderr);
        assert!(told.stderr.contains(hint), "{}", told.stderr);
        assert!(told.stderr.contains("write \"wharf.internal/hello:1\""), "{}", told.stderr);
    }
}

#[test]
fn an_update_that_failed_says_what_goes_on_serving() {
    let node = node_with_hello();
    node.put("hello.wasm", &wat("needs-unknown-import"));
    let told = node.try_apply(HELLO).stderr;
    assert!(told.contains("; hello:1 goes on serving"), "{told}");
    assert!(told.contains("error: failed: hello (hello:1 goes on serving)"), "{told}");
    for list in ["services", "ps"] {
        let shown = node.wharf(&[list]).ok().stdout;
        assert!(shown.contains("hello:2 (hello:1 serves)"), "{shown}");
    }
    let page = node.wharf(&["describe", "hello"]).ok().stdout;
    assert!(page.contains("serving     hello:1 goes on serving: hello:2 failed"), "{page}");
    assert_eq!(node.describe("hello")["serving"], "hello:1");
}

#[test]
fn a_dry_run_shows_the_plan_and_changes_nothing() {
    let node = Node::start();
    node.put("hello.wasm", &guest("hello"));
    std::fs::write(node.path("wharf.toml"), HELLO).expect("writable");
    let dry_run = ["apply", "-f", "wharf.toml", "--dry-run"];
    let plan = node.wharf(&dry_run).ok().stdout;
    assert!(plan.contains("+ task    hello:1"), "{plan}");
    assert!(plan.contains("+ service hello  runs hello:1"), "{plan}");
    assert!(plan.contains("this is a dry run"), "{plan}");
    assert_eq!(node.wharf(&["services", "-o", "json"]).ok().json(), serde_json::json!([]));
    node.apply(HELLO);
    let wider = format!("{HELLO}scale = {{ max = 7 }}\n");
    std::fs::write(node.path("wharf.toml"), wider).expect("writable");
    let plan = node.wharf(&dry_run).ok().stdout;
    assert!(plan.contains("= task    hello:1"), "{plan}");
    assert!(plan.contains("~ service hello  generation 2\n    scale.max 100 → 7"), "{plan}");
    let service = node.describe("hello");
    assert_eq!((&service["generation"], &service["scale"]["max"]), (&1.into(), &100.into()));
}

/// A request on a connection of its own, and its answer once it has ended.
fn request(http: SocketAddr, host: &str, path: &str) -> JoinHandle<String> {
    let text = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    let mut connection = TcpStream::connect(http).expect("a connection");
    connection.write_all(text.as_bytes()).expect("sent");
    std::thread::spawn(move || {
        let mut answer = String::new();
        connection.read_to_string(&mut answer).expect("an answer");
        answer
    })
}

#[test]
fn a_deletion_shows_the_requests_that_it_waits_for() {
    let node = Node::start();
    node.put("sleep.wasm", &guest("sleep"));
    node.apply("[task.s]\ncomponent = \"sleep.wasm\"\n[service.s]\nroute = \"s.localhost\"\n");
    let slow = request(node.http, "s.localhost", "/?ms=8000");
    wait_for("the request", || (node.describe("s")["in_flight"] == 1).then_some(()));
    let deleted = node.wharf(&["delete", "s"]).ok();
    assert!(deleted.stderr.contains("s: deleting, 1 request in flight\n"), "{}", deleted.stderr);
    assert!(deleted.stderr.contains("s: gone\n"), "{}", deleted.stderr);
    assert_eq!(deleted.stdout, "service s is deleted\n");
    let answer = slow.join().expect("no panic");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[test]
fn the_services_of_a_manifest_are_deleted_as_far_as_they_exist() {
    let node = node_with_hello();
    let other = HELLO.replace("hello]", "other]").replace("hello.localhost", "other.localhost");
    node.apply(&other);
    std::fs::write(node.path("wharf.toml"), format!("{HELLO}[service.never]\ntask = \"hello\"\n"))
        .expect("writable");
    let deleted = node.wharf(&["delete", "-f", "wharf.toml", "--no-wait"]).ok();
    assert_eq!(deleted.stdout, "service hello is being deleted\n");
    assert!(deleted.stderr.contains("service never does not exist"), "{}", deleted.stderr);
    wait_for("the end of hello", || {
        let left = node.wharf(&["services", "-o", "json"]).ok().json();
        let names: Vec<_> = left.as_array()?.iter().map(|s| s["name"].clone()).collect();
        assert!(names.contains(&"other".into()), "{left}");
        (names == ["other"]).then_some(())
    });
    assert_eq!(node.wharf(&["delete", "hello"]).code, Some(1));
}

#[test]
fn new_bounds_take_effect() {
    let node = node_with_hello();
    node.apply(&format!("{HELLO}scale = {{ idle = \"1h\" }}\n"));
    let tasks =
        |n: u64| wait_for("the tasks", || (node.describe("hello")["tasks"] == n).then_some(()));
    let scaled = node.wharf(&["scale", "hello", "--min", "3", "--max", "5"]).ok().stdout;
    assert_eq!(scaled, "service hello: scale.min 0 → 3, scale.max 100 → 5\n");
    tasks(3);
    node.wharf(&["scale", "hello", "--min", "0", "--max", "2"]).ok();
    tasks(2);
    let scaled = node.wharf(&["scale", "hello", "--idle", "1s"]).ok().stdout;
    assert_eq!(scaled, "service hello: scale.idle 1h → 1s\n");
    tasks(0);
    node.wharf(&["scale", "hello", "1"]).ok();
    tasks(1);
    let refused = node.wharf(&["scale", "hello", "--max", "0"]);
    assert_eq!(refused.code, Some(1), "{}", refused.stdout);
}

/// The exit code of doctor for this node's folder, and each check's verdict by name.
fn doctor(node: &Node) -> (Option<i32>, serde_json::Value) {
    let data = node.data();
    let data = data.to_str().expect("text");
    let ports = ["--listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0"];
    let ran = node.wharf(&[&["doctor", "-o", "json", "--data-dir", data], &ports[..]].concat());
    let checks = ran.json();
    let verdict = |check: &serde_json::Value| {
        (check["name"].as_str().expect("a name").to_owned(), check["verdict"].clone())
    };
    let verdicts = checks.as_array().expect("a list").iter().map(verdict);
    (ran.code, verdicts.collect::<serde_json::Map<_, _>>().into())
}

#[test]
fn doctor_tells_a_good_folder_from_a_damaged_one() {
    let mut node = node_with_hello();
    let (code, checks) = doctor(&node);
    assert_eq!((code, &checks["node"], &checks["state"]), (Some(0), &"ok".into(), &"ok".into()));
    node.kill();
    let (code, checks) = doctor(&node);
    assert_eq!((code, &checks["state"]), (Some(0), &"ok".into()), "{checks}");
    assert_eq!((&checks["node"], &checks["API port"]), (&serde_json::Value::Null, &"ok".into()));
    std::fs::write(node.data().join("state.db"), "this is not a database").expect("writable");
    let (code, checks) = doctor(&node);
    assert_eq!((code, &checks["state"]), (Some(1), &"fail".into()), "{checks}");
}
