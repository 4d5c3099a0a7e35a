//! The API over HTTP, and its document.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::listener::{Bounds, Listener};

use super::*;

/// Paths and methods of the document.
fn operations() -> BTreeSet<(String, &'static str)> {
    let document = serde_json::to_value(openapi()).expect("a document");
    let paths = document["paths"].as_object().expect("paths").clone();
    let mut operations = BTreeSet::new();
    for (path, item) in paths {
        for method in ["get", "post", "put", "patch", "delete"] {
            if item.get(method).is_some() {
                operations.insert((path.clone(), method));
            }
        }
    }
    operations
}

#[test]
fn every_route_is_in_the_document() {
    let expected = [
        ("/healthz", "get"),
        ("/metrics", "get"),
        ("/readyz", "get"),
        ("/v1/apply", "post"),
        ("/v1/nodes", "get"),
        ("/v1/nodes/{node}/drain", "post"),
        ("/v1/nodes/{node}/undrain", "post"),
        ("/v1/revisions", "get"),
        ("/v1/services", "get"),
        ("/v1/services/{name}", "delete"),
        ("/v1/services/{name}", "get"),
        ("/v1/services/{name}/logs", "get"),
        ("/v1/services/{name}/revisions", "get"),
        ("/v1/services/{name}/rollout", "get"),
        ("/v1/services/{name}/rollout", "post"),
        ("/v1/services/{name}/scale", "patch"),
        ("/v1/task-definitions", "get"),
        ("/v1/task-definitions/{id}", "get"),
        ("/v1/tasks", "get"),
        ("/v1/top", "get"),
        ("/v1/upstreams", "get"),
        ("/v1/upstreams/{name}", "get"),
        ("/v1/upstreams/{name}", "delete"),
        ("/v1/version", "get"),
    ];
    let expected = expected.map(|(path, method)| (path.to_owned(), method));
    assert_eq!(operations(), BTreeSet::from(expected));
}

#[test]
fn every_reference_of_the_document_leads_somewhere() {
    let document = serde_json::to_value(openapi()).expect("a document");
    let text = document.to_string();
    let mut references = 0;
    for part in text.split("\"#/components/schemas/").skip(1) {
        let name = part.split('"').next().expect("a name");
        let schema = &document["components"]["schemas"][name];
        assert!(schema.is_object(), "{name} is referred to and not there");
        references += 1;
    }
    assert!(references > 20, "{references}");
}

#[test]
fn every_operation_says_what_it_does_and_how_it_fails() {
    let document = serde_json::to_value(openapi()).expect("a document");
    for (path, method) in operations() {
        let operation = &document["paths"][&path][method];
        assert!(operation["summary"].is_string(), "{method} {path} has no summary");
        assert!(operation["responses"].is_object(), "{method} {path} has no responses");
    }
}

/// A node's API on a free port of this machine, with nothing deployed.
struct Running {
    base: String,
    address: SocketAddr,
    ready: Arc<AtomicBool>,
    draining: Draining,
    _folder: tempfile::TempDir,
}

async fn start() -> Running {
    start_with(Bounds::default()).await
}

async fn start_with(bounds: Bounds) -> Running {
    use crate::runtime::{AotCache, CompilerSetup, Engine, Machine, ResetPolicy};

    let folder = tempfile::tempdir().expect("a folder");
    let data = |name: &str| folder.path().join(name);
    let engine = Engine::new(&Machine::read(), ResetPolicy::Safe).expect("an engine");
    let cache = AotCache::open(&data("compiled")).expect("a cache");
    let loader = Loader::new(engine.clone(), cache.clone());
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = Listener::bind(any, bounds).await.expect("a port");
    let api_address = listener.local_addr().expect("an address");
    let ready = Arc::new(AtomicBool::new(false));
    let draining = Draining::of(&Shutdown::new());
    let api = Api::new(ApiParts {
        upstreams: crate::upstream::UpstreamTable::default(),
        store: Arc::new(crate::store::MemStore::new()),
        table: TaskTable::new(loader.clone()).0,
        runtime: Runtime::new(engine.clone(), tokio::runtime::Handle::current(), 2),
        loader,
        compiler: Compiler::new(engine, cache, CompilerSetup::with_this_program(1)),
        images: registry::Client::new(registry::ClientConfig::default()).expect("a client"),
        pulls: crate::agent::Pulls::default(),
        registry: registry::Server::open(data("registry")).expect("a registry"),
        node: "local".parse().expect("a name"),
        api_address,
        ready: ready.clone(),
        unparsed: Arc::default(),
        draining: draining.clone(),
        open: Connections::default(),
    });
    tokio::spawn(listener.run(Arc::new(ApiService::from(api)), Shutdown::new(), || {}));
    let base = format!("http://{api_address}");
    Running { base, address: api_address, ready, draining, _folder: folder }
}

/// Status, content type and JSON of an answer.
async fn answer(request: reqwest::RequestBuilder) -> (u16, String, serde_json::Value) {
    let response = request.send().await.expect("an answer");
    let status = response.status().as_u16();
    let kind = response.headers()["content-type"].to_str().expect("text").to_owned();
    let body = response.text().await.expect("a body");
    (status, kind, serde_json::from_str(&body).unwrap_or_default())
}

#[tokio::test]
async fn a_node_without_services_answers() {
    let node = start().await;
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let get = |path: &str| answer(http.get(format!("{}{path}", node.base)));
    for path in ["/healthz", "/v1/version", "/openapi.json", "/v2/"] {
        let (status, kind, json) = get(path).await;
        assert_eq!((status, kind.as_str()), (200, "application/json"), "{path}");
        assert!(json.is_object(), "{path}");
    }
    for path in ["/v1/services", "/v1/tasks", "/v1/nodes", "/v1/task-definitions"] {
        assert_eq!(get(path).await.2, serde_json::json!([]), "{path}");
    }
    assert_eq!(get("/readyz").await.2["code"], "not-ready");
    node.ready.store(true, std::sync::atomic::Ordering::Release);
    assert_eq!(get("/readyz").await.0, 200);
    node.draining.set(true);
    assert_eq!(get("/readyz").await.2["code"], "draining");
    node.draining.set(false);
    assert_eq!(get("/readyz").await.0, 200);
    let (status, kind, _) = get("/metrics").await;
    assert_eq!(status, 200);
    assert_eq!(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
}

#[tokio::test]
async fn every_refusal_is_problem_details() {
    let node = start().await;
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let at = |path: &str| format!("{}{path}", node.base);
    let large = vec![b'#'; BODY_BYTES.as_usize() + 1];
    let cases = [
        (http.get(at("/v1/nope")), 404, "not-found"),
        (http.get(at("/v1")), 404, "not-found"),
        (http.put(at("/v1/services")), 405, "method-not-allowed"),
        (http.get(at("/v1/services/nope")), 404, "service-not-found"),
        (http.get(at("/v1/services/No%2Fpe/logs")), 404, "service-not-found"),
        (http.get(at("/v1/services/%ff")), 404, "not-found"),
        (http.delete(at("/v1/services/%ff")), 404, "not-found"),
        (http.patch(at("/v1/services/a%c0%af/scale")).body("{}"), 404, "not-found"),
        (http.get(at("/v1/services/%ff/logs")), 404, "not-found"),
        (http.get(at("/v1/task-definitions/%ff")), 404, "not-found"),
        (http.delete(at("/v1/services/nope")), 404, "service-not-found"),
        (http.patch(at("/v1/services/nope/scale")).body("{}"), 404, "service-not-found"),
        (http.patch(at("/v1/services/nope/scale")).body("{\"mx\":1}"), 400, "body-invalid"),
        (http.get(at("/v1/services/a/logs?tail=x")), 400, "query-invalid"),
        (http.post(at("/v1/nodes/nope/drain")), 404, "node-not-found"),
        (http.post(at("/v1/nodes/No%2Fpe/undrain")), 404, "node-not-found"),
        (http.get(at("/v1/task-definitions/a")), 404, "task-definition-not-found"),
        (http.post(at("/v1/apply")), 422, "manifest-invalid"),
        (http.post(at("/v1/apply?dryrun=true")), 400, "query-invalid"),
        (http.post(at("/v1/apply")).body(large), 413, "body-too-large"),
        (http.post(at("/v1/apply")).body(vec![0xff]), 400, "body-invalid"),
        (http.get(at("/v1/services")).header("host", "evil.example"), 421, "misdirected-host"),
        (http.post(at("/v1/apply")).header("origin", "http://evil"), 403, "cross-origin"),
    ];
    for (request, status, code) in cases {
        let (found, kind, problem) = answer(request).await;
        assert_eq!((found, problem["code"].as_str()), (status, Some(code)), "{problem}");
        assert_eq!(kind, "application/problem+json", "{code}");
        assert_eq!(problem["type"], format!("urn:wharf:error:{code}"));
        assert!(CODES.contains(&code), "{code} is not in the list of codes");
    }
}

#[tokio::test]
async fn a_method_that_a_path_does_not_have_is_answered_with_those_that_it_has() {
    let node = start().await;
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    for (path, allow) in [
        ("/v1/services", "GET,HEAD"),
        ("/v1/services/a", "DELETE,GET,HEAD"),
        ("/v1/services/a/scale", "PATCH"),
        ("/v1/apply", "POST"),
        ("/healthz", "GET,HEAD"),
        ("/openapi.json", "GET,HEAD"),
    ] {
        let put = http.put(format!("{}{path}", node.base)).send().await.expect("an answer");
        let mut methods: Vec<_> =
            put.headers()["allow"].to_str().expect("text").split(',').collect();
        methods.sort_unstable();
        assert_eq!((put.status().as_u16(), methods.join(",").as_str()), (405, allow), "{path}");
    }
}

#[tokio::test]
async fn the_registry_answers_to_its_own_callers_only() {
    let node = start().await;
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let at = |path: &str| format!("{}{path}", node.base);
    let own = node.address.to_string();
    for (host, origin, status) in [
        (own.as_str(), None, 202),
        ("localhost:7300", None, 202),
        (&own, Some(node.base.as_str()), 202),
        ("evil.example", None, 421),
        ("127.0.0.1.evil.example:7300", None, 421),
        (&own, Some("http://evil.example"), 403),
        (&own, Some("null"), 403),
    ] {
        let begin = http.post(at("/v2/a/blobs/uploads/")).header("host", host);
        let begin = match origin {
            Some(origin) => begin.header("origin", origin),
            None => begin,
        };
        let response = begin.send().await.expect("an answer");
        assert_eq!(response.status().as_u16(), status, "{host} {origin:?}");
        if status != 202 {
            let errors = response.text().await.expect("a body");
            assert!(errors.starts_with("{\"errors\":[{\"code\":\"DENIED\""), "{errors}");
        }
    }
    for path in ["/v2", "/v2/", "/v2/_catalog", "/v2/a/manifests/latest"] {
        let get = http.get(at(path)).header("host", "evil.example");
        assert_eq!(answer(get).await.0, 421, "{path}");
    }
    let health = http.get(at("/healthz")).header("host", "probe.example");
    assert_eq!(answer(health).await.0, 200);
}

#[tokio::test]
async fn what_was_applied_can_be_scaled_and_deleted() {
    let node = start().await;
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let at = |path: &str| format!("{}{path}", node.base);
    let reference: registry::Reference =
        format!("{}/hello:1", &node.base["http://".len()..]).parse().expect("a reference");
    let client = registry::Client::new(registry::ClientConfig::default()).expect("a client");
    let wasm = bytes::Bytes::from_static(b"\0asm\x0d\0\x01\0");
    client.push(&reference, wasm, &|_| {}).await.expect("pushed");
    let manifest = "[task.hello]\nimage = \"wharf.internal/hello:1\"\n\
                    [service.hello]\ntask = \"hello\"\nroute = \"hello.localhost/*\"\n";
    let (status, _, applied) = answer(http.post(at("/v1/apply")).body(manifest)).await;
    assert_eq!(status, 200, "{applied}");
    assert_eq!(applied["tasks"][0]["image"], "wharf.internal/hello:1");
    let (_, _, detail) = answer(http.get(at("/v1/services/hello"))).await;
    assert_eq!(detail["state"], "blocked", "no node has registered itself");
    assert_eq!(detail["why"], detail["message"]);
    assert_eq!(detail["definition"]["limits"]["memory"], "128MiB");
    let scale = http.patch(at("/v1/services/hello/scale")).body("{\"max\": 7}");
    let (_, _, scaled) = answer(scale).await;
    assert_eq!(scaled["changes"], serde_json::json!(["scale.max 100 → 7"]));
    assert_eq!(scaled["generation"], 2);
    let scale = http.patch(at("/v1/services/hello/scale")).body("{\"min\": 8}");
    assert_eq!(answer(scale).await.2["code"], "scale-invalid");
    let (status, _, deleted) = answer(http.delete(at("/v1/services/hello"))).await;
    assert_eq!((status, deleted["name"].as_str()), (202, Some("hello")));
    assert_eq!(answer(http.get(at("/v1/services/hello"))).await.0, 404);
    let (status, _, definition) = answer(http.get(at("/v1/task-definitions/hello:1"))).await;
    assert_eq!((status, definition["id"].as_str()), (200, Some("hello:1")));
}

/// What comes on the connection until it is closed.
async fn rest(connection: &mut TcpStream) -> String {
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(40), connection.read_to_end(&mut rest));
    let _ = closed.await.expect("the connection is closed");
    String::from_utf8_lossy(&rest).into_owned()
}

#[tokio::test]
async fn a_connection_without_a_head_is_closed_and_its_place_is_free() {
    let head_timeout = Duration::from_millis(400);
    let node = start_with(Bounds { max_connections: 2, head_timeout, ..Bounds::default() }).await;
    let connect = || async { TcpStream::connect(node.address).await.expect("a connection") };
    for half in ["", "GET /healthz HT", "GET /healthz HTTP/1.1\r\nhost: a", "PRI * HTTP/2.0\r\n"] {
        let mut connections = [connect().await, connect().await];
        for connection in &mut connections {
            connection.write_all(half.as_bytes()).await.expect("it is taken");
        }
        // All places are taken: whoever comes now waits until there is one.
        let mut waiting = connect().await;
        let get = "GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        waiting.write_all(get.as_bytes()).await.expect("it is taken");
        for connection in &mut connections {
            assert_eq!(rest(connection).await, "", "{half:?}");
        }
        assert!(rest(&mut waiting).await.starts_with("HTTP/1.1 200"), "{half:?}");
    }
}
