//! What users really bring: JavaScript, Python, and what older toolchains make.

use std::path::Path;

use crate::support::{Node, preview1_guest};

async fn serves_from_zero_without_compiling(name: &str) {
    let file = format!("wasm-tasks/{name}/{name}.wasm");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(&file);
    let wasm = std::fs::read(&path).unwrap_or_else(|error| {
        panic!("{file}: {error}; build it with `make wasm-tasks-js wasm-tasks-python`")
    });
    let mut node = Node::start();
    node.put("app.wasm", &wasm);
    node.apply(
        "[task.app]\ncomponent = \"app.wasm\"\nmemory = \"512MiB\"\nfuel = 5_000_000_000\n\
         [service.app]\nroute = \"app.localhost\"\n",
    );
    assert_eq!(node.node_record()["live"]["compiles"], 1);
    node.kill();
    node.start_again();
    let (status, body) = node.get("app.localhost", "/some/path").await;
    assert_eq!(status, 200, "{body}\n{}", node.log());
    assert!(body.contains("/some/path"), "{body}");
    let record = node.node_record();
    assert_eq!(record["live"]["compiles"], 0, "{record}");
    let again = node.get("app.localhost", "/some/path").await;
    assert_eq!(again, (200, body), "a second request gets an instance of its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn javascript() {
    serves_from_zero_without_compiling("hello-js").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python() {
    serves_from_zero_without_compiling("hello-python").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_core_module_for_preview_1_becomes_a_component_and_serves() {
    let module = preview1_guest("env");
    assert!(module.starts_with(b"\0asm\x01\0\0\0"), "this is no core module");
    let import = b"wasi_snapshot_preview1";
    assert!(module.windows(import.len()).any(|window| window == import), "nothing to adapt");
    let mut node = Node::start();
    node.put("env.wasm", &module);
    node.apply(
        "[task.old]\ncomponent = \"env.wasm\"\nenv = { GREETING = \"ahoy\" }\n\
         [service.old]\nroute = \"old.localhost\"\n",
    );
    // What preview 1 itself has goes through the adapter: the environment and standard output.
    for _ in 0..2 {
        let variable = node.get("old.localhost", "/?name=GREETING").await;
        assert_eq!(variable, (200, "ahoy\n".to_owned()), "{}", node.log());
        let logged = node.get("old.localhost", "/?log=hello%20there&dirs=1").await;
        assert_eq!(logged, (200, "logged\ndirs: none\n".to_owned()));
        let log = node.wharf(&["logs", "old"]).ok().stdout;
        assert_eq!(log.matches("hello there").count(), 2, "stdout and stderr: {log}");
        node.kill();
        node.start_again();
    }
    assert_eq!(node.node_record()["live"]["compiles"], 0, "what was made of it is kept");
}
