//! The samples in JavaScript and Python: what users really bring.

use std::path::Path;

use crate::support::Node;

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
