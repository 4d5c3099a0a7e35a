//! Which service a request reaches, by host and path, through a real front door.

use crate::support::{Node, guest};

/// Services that answer with their name, and the route of each.
const SERVICES: [(&str, &str); 9] = [
    ("exact", "a.example.com/*"),
    ("api", "a.example.com/api/*"),
    ("v1", "a.example.com/api/v1"),
    ("below", "*.example.com/*"),
    ("deep", "*.b.example.com/*"),
    ("deep-api", "*.b.example.com/api/*"),
    ("only", "only.example.com/x/*"),
    ("health", "*/health"),
    ("any", "*/files/*"),
];

/// What is asked for, and who answers; nobody is a 404.
const REQUESTS: [(&str, &str, &str); 31] = [
    ("a.example.com", "/", "exact"),
    ("A.Example.COM", "/", "exact"),
    ("a.example.com:8080", "/", "exact"),
    ("a.example.com.", "/", "exact"),
    ("a.example.com", "/other", "exact"),
    ("a.example.com", "/apix", "exact"),
    ("a.example.com", "/API/x", "exact"),
    ("a.example.com", "/health", "exact"),
    ("a.example.com", "/api", "api"),
    ("a.example.com", "/api/", "api"),
    ("a.example.com", "/api/x", "api"),
    ("a.example.com", "/api/v1x", "api"),
    ("a.example.com", "/api/v2/v1", "api"),
    ("a.example.com", "/api/v1", "v1"),
    ("a.example.com", "/api/v1/", "v1"),
    ("a.example.com", "/api/v1/x/y", "v1"),
    ("x.example.com", "/", "below"),
    ("x.example.com", "/api/v1", "below"),
    ("x.y.example.com", "/", "below"),
    ("b.example.com", "/", "below"),
    ("x.b.example.com", "/", "deep"),
    ("x.y.b.example.com", "/apis", "deep"),
    ("x.b.example.com", "/api/x", "deep-api"),
    ("only.example.com", "/x", "only"),
    ("only.example.com", "/", "nobody"),
    ("only.example.com", "/health", "nobody"),
    ("example.com", "/health", "health"),
    ("example.com", "/files/x", "any"),
    ("example.com", "/", "nobody"),
    ("xexample.com", "/", "nobody"),
    ("127.0.0.1", "/health", "health"),
];

fn manifest() -> String {
    let service = |(name, route): (&str, &str)| {
        format!(
            "[task.{name}]\ncomponent = \"env.wasm\"\nenv = {{ NAME = \"{name}\" }}\n\
             [service.{name}]\nroute = \"{route}\"\n"
        )
    };
    SERVICES.map(service).concat()
}

async fn all_are_routed(node: &Node) {
    for (host, path, service) in REQUESTS {
        let (status, body) = node.get(host, &format!("{path}?name=NAME")).await;
        match service {
            "nobody" => {
                assert_eq!(status, 404, "{host}{path}: {body}");
                assert!(body.contains("no-route"), "{host}{path}: {body}");
            }
            _ => assert_eq!((status, body.trim_end()), (200, service), "{host}{path}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_most_specific_host_wins_and_then_the_longest_path() {
    let mut node = Node::start();
    node.put("env.wasm", &guest("env"));
    node.apply(&manifest());
    all_are_routed(&node).await;
    node.kill();
    node.start_again();
    all_are_routed(&node).await;
    // Without the longer path the shorter one answers, without the host the wildcard.
    node.wharf(&["delete", "v1"]).ok();
    assert_eq!(node.get("a.example.com", "/api/v1?name=NAME").await.1, "api\n");
    node.wharf(&["delete", "deep", "deep-api"]).ok();
    assert_eq!(node.get("x.b.example.com", "/api/x?name=NAME").await.1, "below\n");
}
