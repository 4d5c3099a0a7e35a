//! `wharf bench`: a small run, and runs that end early.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{ran, wait_for, wharf_command};

/// A run that takes some seconds.
const SMALL: [&str; 7] = ["bench", "--services", "20", "--live", "5", "--duration", "1s"];

/// Every figure of a run that is one number.
const FIGURES: [&str; 17] = [
    "/deploy/services_per_s",
    "/deploy/one_more_ratio",
    "/memory/bytes_per_service",
    "/live/bytes_per_replica",
    "/live/mappings_per_replica",
    "/cold/cold_p50_us",
    "/cold/ratio_p99",
    "/cold/starts_per_s",
    "/warm/flat_ratio/median",
    "/warm/random_ratio/median",
    "/latency/rate_per_s",
    "/latency/p50_us",
    "/latency/p999_us",
    "/fairness/ratio_p99",
    "/control/ratio/median",
    "/restart/start_ms",
    "/restart/first_answer_ms",
];

#[test]
fn a_small_run_measures_everything_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("bench.json");
    let mut command = wharf_command();
    command.env("TMPDIR", scratch(&folder)).args(SMALL).arg("--json").arg(&file);
    let page = folder.path().join("bench.html");
    command.arg("--report").arg(&page);
    let ran = ran(&mut command).ok();
    assert!(ran.stdout.contains("memory per idle service"), "{}", ran.stdout);
    assert!(ran.stderr.contains("deployed 20 services in"), "{}", ran.stderr);
    let text = std::fs::read_to_string(&file).expect("written");
    let json: Value = serde_json::from_str(&text).expect("JSON");
    for figure in FIGURES {
        let value = json.pointer(figure).and_then(Value::as_f64);
        assert!(value.is_some_and(|value| value > 0.0), "{figure} is {value:?}");
    }
    assert_eq!(json["format"], "wharf-bench/1");
    assert_eq!(json["live"]["points"].as_array().expect("points").len(), 5);
    assert_eq!(json["live"]["points"][4]["count"], 5);
    assert_eq!(json["memory"]["points"][4]["count"], 20);
    assert_eq!(json["warm"]["hot"]["cpu_us_per_request"].as_array().expect("rounds").len(), 5);
    assert!(json["latency"]["curve"].as_array().expect("points").len() > 10);
    assert_eq!(left(&folder), 0, "the nodes' folder is gone");
    is_whole(&std::fs::read_to_string(&page).expect("written"));
}

/// A page whose elements are closed in their order, with charts, and with nothing from elsewhere.
fn is_whole(page: &str) {
    let mut open = Vec::new();
    for tag in page.split('<').skip(1).filter_map(|rest| rest.split('>').next()) {
        let name = tag.trim_start_matches('/').split([' ', '/']).next().expect("a first");
        let is_void = ["!doctype", "meta", "path", "rect", "circle"].contains(&name);
        match tag.starts_with('/') {
            true if name == "circle" || name == "rect" => {}
            true => assert_eq!(open.pop(), Some(name), "{tag}"),
            false if !is_void => open.push(name),
            false => {}
        }
    }
    assert!(open.is_empty(), "not closed: {open:?}");
    assert_eq!(page.matches("<svg ").count(), 8);
    for foreign in ["http:", "https:", "src=", "<link", "@import", "NaN", "inf"] {
        assert!(!page.contains(foreign), "{foreign}");
    }
}

#[test]
fn what_cannot_be_done_is_refused_at_once() {
    for (line, hint) in [
        ("bench --services 100 --live 60", "at most --live 50"),
        ("bench --services 100000 --live 49000", "ask for at most --live"),
        ("bench --rate fast", "write auto"),
        ("bench --duration 5", "write 5s"),
        ("bench --duration 1h", "is enough"),
        ("bench --duration 10ms", "is enough"),
        ("bench --json same --report same", "a file of its own"),
        ("bench --json /nowhere/x.json", "choose another file"),
    ] {
        let told = ran(wharf_command().args(line.split(' ')));
        assert_eq!(told.code, Some(2), "{line}: {}", told.stderr);
        let (_, hints) = told.stderr.split_once("hint: ").unwrap_or_default();
        assert!(hints.contains(hint), "{line}: {}", told.stderr);
    }
    let told = ran(wharf_command().args(["bench", "--component", "/nowhere/x.wasm"]));
    assert_eq!(told.code, Some(1), "{}", told.stderr);
    assert!(told.stderr.contains("/nowhere/x.wasm cannot be read"), "{}", told.stderr);
}

#[test]
fn a_node_that_dies_ends_the_run_and_is_named() {
    let (folder, bench, nodes) = started();
    kill_process(nodes[0], Signal::KILL).expect("a node");
    let (code, told) = ended(bench);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("the node ended by itself, with signal: 9"), "{told}");
    assert!(told.contains("hint: "), "{told}");
    assert_eq!(left(&folder), 0, "the nodes' folder is gone");
}

#[test]
fn a_run_that_is_stopped_takes_its_nodes_along() {
    stopped_by(Signal::INT);
}

#[test]
fn a_run_whose_terminal_is_closed_takes_its_nodes_along() {
    stopped_by(Signal::HUP);
}

fn stopped_by(signal: Signal) {
    let (folder, bench, nodes) = started();
    kill_process(Pid::from_child(&bench), signal).expect("a run");
    let (code, told) = ended(bench);
    assert_eq!(code, Some(130), "{told}");
    for node in nodes {
        let path = format!("/proc/{}", node.as_raw_nonzero());
        assert!(!Path::new(&path).exists(), "a node is left");
    }
    assert_eq!(left(&folder), 0, "the nodes' folder is gone");
}

/// A run whose nodes are there.
fn started() -> (TempDir, Child, Vec<Pid>) {
    let folder = tempfile::tempdir().expect("a folder");
    let wharf = wharf_command();
    // Whoever runs the tests may ignore SIGHUP, and what ignores it hands that on.
    let mut command = Command::new("env");
    command.arg("--default-signal=HUP").arg(wharf.get_program()).args(SMALL);
    for (name, value) in wharf.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.env("TMPDIR", scratch(&folder));
    let bench = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let nodes = wait_for("the nodes", || {
        let nodes = children(bench.id());
        (nodes.len() == 2).then_some(nodes)
    });
    (folder, bench, nodes)
}

fn children(process: u32) -> Vec<Pid> {
    let path = format!("/proc/{process}/task/{process}/children");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().filter_map(|id| Pid::from_raw(id.parse().ok()?)).collect()
}

/// How it ended, and what it told.
fn ended(bench: Child) -> (Option<i32>, String) {
    let output = bench.wait_with_output().expect("it ends");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Where the run makes its folder.
fn scratch(folder: &TempDir) -> std::path::PathBuf {
    let scratch = folder.path().join("tmp");
    std::fs::create_dir_all(&scratch).expect("a folder");
    scratch
}

fn left(folder: &TempDir) -> usize {
    std::fs::read_dir(scratch(folder)).expect("a folder").count()
}
