//! Images from registries of others: their passwords, and whether they may do without TLS.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use tokio::net::{TcpListener, TcpStream};

use crate::support::{
    DockerRegistry, Node, Setup, error_of, guest, http_client, own_address, skopeo,
};

const USERNAME: &str = "wharf";
const PASSWORD: &str = "correct horse";
const WRONG: &str = "incorrect donkey";
/// `htpasswd -nbB wharf "correct horse"`, with the lowest cost.
const HTPASSWD: &str = "wharf:$2b$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2\n";

/// Debian's registry with a password, and `team/hello:1` in it.
async fn registry(dir: &Path) -> DockerRegistry {
    let path = dir.join("htpasswd");
    std::fs::write(&path, HTPASSWD).expect("written");
    let auth = format!("auth:\n  htpasswd:\n    realm: test\n    path: {}", path.display());
    let docker = DockerRegistry::start(dir, "", &auth).await;
    let node = Node::start();
    node.put("hello.wasm", &guest("hello"));
    node.wharf(&["push", "hello.wasm", "hello:1"]).ok();
    let source = format!("docker://{}/hello:1", node.api);
    let target = format!("docker://{}/team/hello:1", docker.address);
    let login = format!("{USERNAME}:{PASSWORD}");
    let tls = ["--src-tls-verify=false", "--dest-tls-verify=false"];
    skopeo(&["copy", tls[0], tls[1], "--dest-creds", &login, &source, &target]).await;
    docker
}

/// Docker's config.json with a login for this registry.
fn config(dir: &Path, registry: &str, password: &str) -> String {
    let entry = serde_json::json!({ "username": USERNAME, "password": password });
    let config = serde_json::json!({ "auths": { registry: entry } });
    let path = dir.join(format!("{}-config.json", password.len()));
    std::fs::write(&path, config.to_string()).expect("written");
    path.to_str().expect("text").to_owned()
}

fn manifest(registry: &str) -> String {
    format!(
        "[task.hello]\nimage = \"{registry}/team/hello:1\"\n[service.hello]\nroute = \"h.test\"\n"
    )
}

/// Checks that the image is refused for this reason, and that nothing is left of it.
async fn refused(node: &Node, registry: &str, code: &str, words: &str) {
    let image = format!("{registry}/team/hello:1");
    let body = serde_json::json!({ "task": { "hello": { "image": image } } });
    let asked = http_client().post(node.api_url("/v1/apply")).json(&body);
    assert_eq!(error_of(&asked.send().await.expect("an answer")).1, code);
    let refused = node.try_apply(&manifest(registry));
    assert_eq!(refused.code, Some(1), "{}{}", refused.stdout, refused.stderr);
    for words in [words, &image, "hint:"] {
        assert!(refused.stderr.contains(words), "{words}: {}", refused.stderr);
    }
    assert_eq!(node.wharf(&["services", "-o", "json"]).ok().json(), serde_json::json!([]));
    for secret in [PASSWORD, WRONG] {
        assert!(!refused.stderr.contains(secret) && !node.log().contains(secret));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_taken_from_dockers_configuration() {
    let dir = tempfile::tempdir().expect("a folder");
    let docker = registry(dir.path()).await;
    let address = docker.address.as_str();
    let nobody = dir.path().join("nobody.json");
    std::fs::write(&nobody, "{}").expect("written");
    let wrong = config(dir.path(), address, WRONG);
    for path in [nobody.to_str().expect("text"), &wrong] {
        let node = Node::start_with(Setup::with(&["--docker-config", path]));
        refused(&node, address, "image-unauthorized", "refuses access").await;
    }
    std::fs::write(&nobody, "{").expect("written");
    let broken = Setup::with(&["--docker-config", nobody.to_str().expect("text")]);
    let node = Node::start_with(broken);
    refused(&node, address, "registry-credentials-unusable", "nobody.json").await;
    let right = config(dir.path(), address, PASSWORD);
    let node = Node::start_with(Setup::with(&["--docker-config", &right]));
    node.apply(&manifest(address));
    assert_eq!(node.get("h.test", "/").await, (200, "Hello from Wharf!\n".to_owned()));
    assert!(!node.log().contains(PASSWORD));
}

/// Lets the registry be reached at this address.
async fn forward(address: IpAddr, registry: &str) -> SocketAddr {
    let listener = TcpListener::bind((address, 0)).await.expect("a port");
    let local = listener.local_addr().expect("an address");
    let registry = registry.to_owned();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut server = TcpStream::connect(&registry).await.expect("the registry");
            tokio::spawn(async move {
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    local
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_without_tls_has_to_be_named_as_such() {
    let Some(own) = own_address() else {
        println!("left out: this machine has no address but loopback");
        return;
    };
    let dir = tempfile::tempdir().expect("a folder");
    let docker = registry(dir.path()).await;
    let address = forward(own, &docker.address).await.to_string();
    let login = config(dir.path(), &address, PASSWORD);
    let with = ["--docker-config", &login];
    for others in [&[][..], &["--insecure-registry", "plain.example:5000"]] {
        let node = Node::start_with(Setup::with(&[&with[..], others].concat()));
        refused(&node, &address, "registry-unreachable", "plain HTTP").await;
    }
    let host = own.to_string();
    for named in [&address, &host] {
        let args = [&with[..], &["--insecure-registry", named]].concat();
        let node = Node::start_with(Setup::with(&args));
        node.apply(&manifest(&address));
        assert_eq!(node.get("h.test", "/").await, (200, "Hello from Wharf!\n".to_owned()));
    }
}
