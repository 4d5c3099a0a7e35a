//! Compilers are processes of their own: what they meet with, and what becomes of them.

mod bombs;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use wharf::runtime::{CompileBounds, Compiler, CompilerSetup};

use crate::support::{
    Front, Node, ServiceOptions, compile, compiler_setup, eventually, guest, wait_for,
    wharf_command,
};

/// Bounds under which a test that reaches them does not take long.
const TIGHT: CompileBounds = CompileBounds {
    cpu_s: 2,
    cpu_s_per_mib: 0,
    wall_s_per_cpu_s: 60,
    memory_bytes: 512 << 20,
    code_bytes: 8 << 20,
};

fn compiler(front: &Front, setup: CompilerSetup) -> Compiler {
    Compiler::new(front.runtime.engine().clone(), front.cache.clone(), setup)
}

/// Another compiler: a shell script. `$WHARF` is the real one.
fn scripted(front: &Front, dir: &Path, script: &str, bounds: CompileBounds) -> Compiler {
    let program = dir.join("compiler");
    let real = env!("CARGO_BIN_EXE_wharf");
    std::fs::write(&program, format!("#!/bin/sh\nWHARF={real}\n{script}\n")).expect("written");
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o700)).expect("executable");
    compiler(front, CompilerSetup { program, bounds, ..compiler_setup() })
}

#[tokio::test(flavor = "multi_thread")]
async fn bombs_fail_by_themselves_while_a_neighbour_answers() {
    let front = Front::start().await;
    front.deploy("victim", &guest("hello"), ServiceOptions::default()).await;
    let over = Arc::new(AtomicBool::new(false));
    let (client, until) = (front.client(), Arc::clone(&over));
    let asking = tokio::spawn(async move {
        let mut answers = 0;
        while !until.load(Ordering::Acquire) {
            let answer = client.get("victim", "/").send().await.expect("an answer");
            assert_eq!(answer.status(), 200);
            answers += 1;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        answers
    });
    let roomy = CompileBounds { cpu_s: 200, ..TIGHT };
    let cases = [
        ("10,000 memories", bombs::memories(10_000), TIGHT, "component-invalid", "100"),
        ("nested types", bombs::nested_types(10_000), TIGHT, "component-invalid", "too deep"),
        ("a 60 MiB segment", bombs::segment(60 << 20), roomy, "component-too-complex", "code"),
        ("1,000,000 functions", bombs::functions(1_000_000), TIGHT, "component-too-complex", "CPU"),
        ("live locals", bombs::live_locals(), roomy, "component-too-complex", "memory"),
    ];
    for (what, wasm, bounds, code, named) in cases {
        let compiler = compiler(&front, CompilerSetup { bounds, ..compiler_setup() });
        let error = compile(&compiler, &wasm).await.expect_err(what);
        assert_eq!(error.code(), code, "{what}: {error}");
        assert!(error.to_string().contains(named), "{what}: {error}");
        assert!(!error.is_retryable(), "{what}");
        assert_eq!((compiler.load().running, compiler.load().failed), (0, 1), "{what}");
        compile(&compiler, b"\0asm\x0d\0\x01\0").await.expect("the place came back");
        front.cache.remove(&compiler.key(&registry::Digest::of(b"\0asm\x0d\0\x01\0")));
    }
    // What the compiler copes with fails when it is linked.
    for (what, wasm) in [("imports", bombs::imports(10_000)), ("branches", bombs::branches())] {
        front.compile(&wasm).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        let refused = front.loader.load(registry::Digest::of(&wasm)).await.err();
        let code = refused.unwrap_or_else(|| panic!("{what} were taken")).code();
        assert!(["component-unlinkable", "component-not-http"].contains(&code), "{what}: {code}");
    }
    over.store(true, Ordering::Release);
    assert!(asking.await.expect("every answer is good") > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compiler_that_is_killed_is_tried_once_more() {
    let (front, dir) = (Front::start().await, tempfile::tempdir().expect("a folder"));
    let starts = dir.path().join("starts");
    let count = || std::fs::read_to_string(&starts).unwrap_or_default().lines().count();
    let note = format!("echo started >> {}", starts.display());
    let once = format!("{note}; [ $(wc -l < {}) = 1 ] && kill -9 $$", starts.display());
    let exec = "exec $WHARF \"$@\"";
    let bounds = CompileBounds::default();
    let lucky = scripted(&front, dir.path(), &format!("{once}\n{exec}"), bounds);
    compile(&lucky, &guest("hello")).await.expect("the second one is left alone");
    assert_eq!((count(), lucky.load().compiled), (2, 1));
    let unlucky = scripted(&front, dir.path(), &format!("{note}; kill -9 $$"), bounds);
    let error = compile(&unlucky, &guest("echo")).await.expect_err("killed");
    assert_eq!((error.code(), count()), ("compiler-failed", 4), "{error}");
    assert!(error.to_string().contains("SIGKILL") && !error.is_retryable(), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_compiler_writes_is_bounded_and_judged() {
    let (front, dir) = (Front::start().await, tempfile::tempdir().expect("a folder"));
    let short = CompileBounds { cpu_s: 1, wall_s_per_cpu_s: 1, ..TIGHT };
    let cases = [
        ("endless code", "exec cat /dev/zero", TIGHT, "component-too-complex"),
        ("endless words", "cat /dev/zero >&2", short, "compiler-timeout"),
        ("nothing", "cat > /dev/null", TIGHT, "compiler-failed"),
        ("something else", "cat; echo yes", TIGHT, "compiler-failed"),
        ("code without a stamp", "$WHARF \"$@\" | tail -c +33", TIGHT, "compiler-failed"),
        ("a sleep", "sleep 1000", short, "compiler-timeout"),
        ("a crash", "kill -SEGV $$", TIGHT, "compiler-failed"),
        ("a panic", "echo oh no >&2; exit 101", TIGHT, "compiler-failed"),
    ];
    for (what, script, bounds, code) in cases {
        let compiler = scripted(&front, dir.path(), script, bounds);
        let error = compile(&compiler, &guest("hello")).await.expect_err(what);
        assert_eq!(error.code(), code, "{what}: {error}");
        assert_eq!(compiler.load().running, 0, "{what}");
    }
    let nowhere = CompilerSetup { program: dir.path().join("none"), ..compiler_setup() };
    let error = compile(&compiler(&front, nowhere), &guest("hello")).await.expect_err("none");
    assert_eq!((error.code(), error.is_retryable()), ("compiler-unavailable", true), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compilation_that_nobody_waits_for_is_ended_and_others_share_theirs() {
    let (front, dir) = (Front::start().await, tempfile::tempdir().expect("a folder"));
    let pids = dir.path().join("pids");
    let script = format!("echo $$ >> {}\nexec sleep 1000", pids.display());
    let compiler = scripted(&front, dir.path(), &script, CompileBounds::default());
    let wasm = guest("hello");
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let (compiler, wasm) = (compiler.clone(), wasm.clone());
            tokio::spawn(async move { compile(&compiler, &wasm).await })
        })
        .collect();
    let pids = || std::fs::read_to_string(&pids).unwrap_or_default();
    eventually("it started", || pids().ends_with('\n')).await;
    waiting.iter().for_each(|waiting| waiting.abort());
    let ended = || pids().lines().all(|pid| is_gone(&Path::new("/proc").join(pid)));
    eventually("the process is gone", ended).await;
    eventually("the place is free", || compiler.load().running == 0).await;
    assert_eq!(compiler.load().waiting, 0);
}

/// A node that compiles what takes long, and the compiler's process.
fn compiling_node() -> (Node, PathBuf) {
    let node = Node::start();
    node.put("long.wasm", &bombs::functions(1_000_000));
    std::fs::write(
        node.path("wharf.toml"),
        "[task.long]\ncomponent = \"long.wasm\"\n[service.long]\nroute = \"long.test\"\n",
    )
    .expect("writable");
    node.wharf(&["apply", "-f", "wharf.toml"]).ok();
    let process = wait_for("the compiler", || compiler_of(node.pid()));
    (node, process)
}

/// The compiler of a node, confined, as a folder of `/proc`.
fn compiler_of(node: u32) -> Option<PathBuf> {
    let processes = std::fs::read_dir("/proc").expect("/proc").flatten().map(|entry| entry.path());
    processes.into_iter().find(|process| {
        let status = std::fs::read_to_string(process.join("status")).unwrap_or_default();
        let lines = ["Name:\twharf-compile\n", &format!("PPid:\t{node}\n"), "Seccomp:\t2\n"];
        lines.iter().all(|line| status.contains(line)) && !is_gone(process)
    })
}

/// Whether a process has ended, be it that nobody has asked how.
fn is_gone(process: &Path) -> bool {
    let status = std::fs::read_to_string(process.join("status")).unwrap_or_default();
    status.is_empty() || status.contains("State:\tZ")
}

#[test]
fn a_compiler_is_limited_seen_and_gone_with_its_node() {
    let (mut node, process) = compiling_node();
    let limits = std::fs::read_to_string(process.join("limits")).expect("it runs");
    let limit = |name: &str| {
        let line = limits.lines().find(|line| line.starts_with(name)).expect("a limit");
        line[name.len()..].split_whitespace().next().expect("a number").to_owned()
    };
    assert_eq!(limit("Max data size"), (2u64 << 30).to_string());
    assert_eq!(limit("Max cpu time"), "60");
    assert_eq!((&*limit("Max core file size"), &*limit("Max file size")), ("0", "0"));
    let environment = std::fs::read(process.join("environ")).expect("it runs");
    assert_eq!(environment.len(), 0);
    for number in ["0", "1", "2"] {
        let open = std::fs::read_link(process.join("fd").join(number)).expect("it runs");
        assert!(open.to_string_lossy().starts_with("pipe:"), "{open:?}");
    }
    let seen = wait_for("its progress", || {
        let service = node.describe("long");
        service["compile"]["running_ms"].is_u64().then_some(service)
    });
    assert_eq!(seen["state"], "compiling", "{seen}");
    assert!(node.wharf(&["describe", "long"]).ok().stdout.contains(" s)"));
    node.kill();
    wait_for("the compiler's end", || is_gone(&process).then_some(()));
}

#[test]
fn a_compiler_that_is_killed_twice_is_a_failed_deployment() {
    let (node, mut process) = compiling_node();
    for _ in 0..2 {
        let pid = process.file_name().and_then(|name| name.to_str()?.parse().ok());
        let pid = pid.and_then(Pid::from_raw).expect("a process");
        kill_process(pid, Signal::KILL).expect("it runs");
        wait_for("its end", || is_gone(&process).then_some(()));
        let next = || match compiler_of(node.pid()) {
            Some(next) => Some(Some(next)),
            None => (node.describe("long")["state"] == "failed").then_some(None),
        };
        match wait_for("the next one, or the end", next) {
            Some(next) => process = next,
            None => break,
        }
    }
    let service = node.describe("long");
    assert_eq!(service["code"], "compiler-failed", "{service}");
    node.put("hello.wasm", &guest("hello"));
    node.apply("[task.hello]\ncomponent = \"hello.wasm\"\n[service.hello]\nroute = \"a.test\"\n");
}

#[test]
fn a_confined_compiler_reaches_nothing() {
    let mut command = wharf_command();
    command.args(["compile", "--probe", "--cpu-s=30", "--memory-bytes=2147483648", "--threads=1"]);
    let parent = format!("--parent={}", std::process::id());
    let output = command.arg(parent).output().expect("it runs");
    let breaches = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && breaches.is_empty(), "{breaches}");
}
