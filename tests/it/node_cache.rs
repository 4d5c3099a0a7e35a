//! Compiled code that a node finds when it starts, and that is not its own.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{Node, guest};

const MANIFEST: &str = r#"
[task.h]
component = "hello.wasm"

[service.h]
route = "h.localhost"
"#;

/// The only compiled component of the folder, without its extension.
fn entry(compiled: &Path) -> PathBuf {
    let files = fs::read_dir(compiled).expect("a folder").flatten().map(|entry| entry.path());
    let mut code = files.filter(|path| path.extension().is_some_and(|e| e == "cwasm"));
    let found = code.next().expect("compiled code").with_extension("");
    assert_eq!(code.next(), None, "what did not authenticate is gone");
    found
}

type Change = fn(&Path);

const CHANGES: [(&str, Change, &str); 4] = [
    (
        "a flipped bit",
        |compiled| {
            let path = entry(compiled).with_extension("cwasm");
            let mut bytes = fs::read(&path).expect("readable");
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(&path, bytes).expect("writable");
        },
        "compiled code does not authenticate",
    ),
    (
        "other code with a MAC of its own",
        |compiled| {
            let entry = entry(compiled);
            fs::write(entry.with_extension("cwasm"), "not code").expect("writable");
            fs::write(entry.with_extension("mac"), "0".repeat(64)).expect("writable");
        },
        "compiled code does not authenticate",
    ),
    (
        "another node's key",
        |compiled| fs::write(compiled.join("node.key"), [7; 32]).expect("writable"),
        "compiled code does not authenticate",
    ),
    (
        // Under the name that another version or another engine gives it.
        "the key of another Wharf",
        |compiled| {
            let entry = entry(compiled);
            for extension in ["cwasm", "mac"] {
                fs::remove_file(entry.with_extension(extension)).expect("removed");
                fs::write(compiled.join("0".repeat(64)).with_extension(extension), "old")
                    .expect("writable");
            }
        },
        "phase=Compiling",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn code_that_is_not_the_nodes_own_costs_a_compilation_and_nothing_else() {
    let mut node = Node::start();
    node.put("hello.wasm", &guest("hello"));
    node.apply(MANIFEST);
    for (what, change, said) in CHANGES {
        node.kill();
        let log = node.log().len();
        change(&node.data().join("compiled"));
        node.start_again();
        let answer = node.get("h.localhost", "/").await;
        assert_eq!(answer, (200, "Hello from Wharf!\n".to_owned()), "{what}: {}", node.log());
        assert_eq!(node.node_record()["live"]["compiles"], 1, "{what}");
        let log = node.log().split_off(log);
        assert!(log.contains(said), "{what}: {log}");
        assert_eq!(log.matches("phase=Compiling").count(), 1, "{what}: {log}");
    }
}
