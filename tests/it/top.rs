//! `wharf top` on a real node.

use serde_json::Value;

use crate::support::{Node, guest, http_client};

fn rows(node: &Node, args: &[&str]) -> Vec<Value> {
    let mut all = vec!["top", "-o", "json", "--interval", "500ms"];
    all.extend(args);
    let interval = node.wharf(&all).ok().json();
    assert!(interval["seconds"].as_f64() > Some(0.0), "{interval}");
    assert!(interval["node"]["cores"].as_u64() > Some(0), "{interval}");
    interval["rows"].as_array().expect("rows").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_on_is_shown_and_what_never_did_is_not() {
    let node = std::sync::Arc::new(Node::start());
    node.put("sleep.wasm", &guest("sleep"));
    node.apply(
        "[task.web]\ncomponent = \"sleep.wasm\"\n\
         [service.busy]\ntask = \"web\"\nroute = \"busy.localhost\"\n\
         [service.held]\ntask = \"web\"\nroute = \"held.localhost\"\n\
         [service.idle]\ntask = \"web\"\nroute = \"idle.localhost\"\n",
    );
    let page = node.wharf(&["top", "--once", "--interval", "100ms"]).ok().stdout;
    assert!(page.starts_with("node local: cpu "), "{page}");
    assert!(page.contains("nobody has asked for anything"), "{page}");
    let url = format!("http://{}/?ms=600000", node.http);
    let held = tokio::spawn(http_client().get(url).header("host", "held.localhost").send());
    let asking = {
        let node = node.clone();
        tokio::spawn(async move {
            loop {
                assert_eq!(node.get("busy.localhost", "/?ms=0").await.0, 200);
            }
        })
    };
    let looking = node.clone();
    let seen = tokio::task::spawn_blocking(move || {
        loop {
            let rows = rows(&looking, &[]);
            let in_flight = |row: &Value| row["name"] == "held" && row["in_flight"] == 1;
            if rows[..].len() == 2 && rows[0]["name"] == "busy" && rows.iter().any(in_flight) {
                return (rows, rows_of_one(&looking));
            }
        }
    });
    let (rows, one) = seen.await.expect("no panic");
    assert!(rows[0]["requests_per_s"].as_f64() > Some(0.0), "{rows:?}");
    assert!(rows[0]["p99_ms"].as_f64() > Some(0.0), "{rows:?}");
    assert_eq!(rows[0]["errors_per_s"], 0.0, "{rows:?}");
    assert_eq!((&rows[1]["requests_per_s"], &rows[1]["p50_ms"]), (&0.0.into(), &Value::Null));
    assert!(rows[1]["memory_bytes"].as_u64() > Some(0), "{rows:?}");
    assert_eq!((&rows[1]["tasks"], &rows[1]["waiting"]), (&1.into(), &0.into()));
    assert_eq!(one.len(), 1, "{one:?}");
    let page = node.wharf(&["top", "--once", "--sort", "cpu"]).ok().stdout;
    assert!(page.contains("NAME") && page.contains("busy") && !page.contains("idle"), "{page}");
    assert!(!page.contains('\u{1b}'), "no control characters outside of terminals: {page:?}");
    asking.abort();
    held.abort();
}

fn rows_of_one(node: &Node) -> Vec<Value> {
    rows(node, &["-n", "1", "--sort", "memory"])
}
