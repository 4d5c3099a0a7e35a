//! Our client against Debian's `docker-registry`: TLS, basic authentication, plain HTTP.

use std::path::Path;

use registry::{ClientConfig, Digest, Layout};

use crate::support::programs::{DockerRegistry, skopeo};
use crate::support::{
    client, client_with, client_with_login, gzip, login, pull, push, reference, scratch, store,
    tar, wasm,
};

const USERNAME: &str = "wharf";
const PASSWORD: &str = "correct horse";

/// `htpasswd -nbB wharf "correct horse"`, with the lowest cost.
const HTPASSWD: &str = "wharf:$2b$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2\n";

#[tokio::test]
async fn plain_http_on_loopback_needs_no_configuration() {
    let dir = scratch();
    let docker = DockerRegistry::start(dir.path(), "", "").await;
    let image = reference(&format!("{}/team/hello:1", docker.address));
    let wasm = wasm(40, 2 << 20);
    let manifest = push(&client(), &image, wasm.clone()).await.expect("pushed");
    assert_eq!(client().resolve(&image).await.expect("resolved"), manifest);
    let (store, _dir) = store();
    let artifact = pull(&client(), &image, &store).await.expect("pulled");
    assert_eq!((artifact.manifest, artifact.layout), (manifest, Layout::Cncf));
    assert_eq!(store.read(&artifact.component).expect("readable"), Some(wasm));
    let absent = image.with_digest(Digest::of(b"absent"));
    let error = pull(&client(), &absent, &store).await.expect_err("absent");
    assert_eq!(error.code(), "image-not-found");
}

#[tokio::test]
async fn a_container_image_that_skopeo_pushed_is_pulled() {
    let dir = scratch();
    let docker = DockerRegistry::start(dir.path(), "", "").await;
    let (layout, wasm) = (scratch(), wasm(41, 100_000));
    let readme = gzip(&tar(&[("README", b"hello")]));
    let app = gzip(&tar(&[("app.wasm", &wasm)]));
    crate::skopeo::write_layout(layout.path(), &[&readme, &app]);
    let source = format!("oci:{}:image", layout.path().display());
    let target = format!("docker://{}/app:1", docker.address);
    skopeo(&["copy", "--dest-tls-verify=false", &source, &target]).await;
    let (store, _dir) = store();
    let image = reference(&format!("{}/app:1", docker.address));
    let artifact = pull(&client(), &image, &store).await.expect("pulled");
    assert_eq!((artifact.layout, artifact.component), (Layout::Container, Digest::of(&wasm)));
}

#[tokio::test]
async fn tls_and_a_password_both_have_to_be_right() {
    let dir = scratch();
    let pem = certificate(dir.path());
    let docker = DockerRegistry::start(dir.path(), &tls(dir.path()), &htpasswd(dir.path())).await;
    let image = reference(&format!("{}/hello:1", docker.address));
    let with = |config: Option<&Path>, pem: Option<&[u8]>| {
        client_with(ClientConfig {
            docker_config: config.map(Path::to_owned),
            extra_ca_pem: pem.map(<[u8]>::to_vec),
            ..ClientConfig::default()
        })
    };
    let right = login(&docker.address, USERNAME, PASSWORD);
    let client = with(Some(right.path()), Some(&pem));
    let manifest = push(&client, &image, wasm(42, 1000)).await.expect("pushed");
    let (store, _dir) = store();
    assert_eq!(pull(&client, &image, &store).await.expect("pulled").manifest, manifest);

    let untrusted = with(Some(right.path()), None);
    let error = pull(&untrusted, &image, &store).await.expect_err("not trusted");
    assert_eq!(error.code(), "registry-unreachable");
    let wrong = login(&docker.address, USERNAME, "wrong");
    for config in [None, Some(wrong.path())] {
        let client = with(config, Some(&pem));
        let error = pull(&client, &image, &store).await.expect_err("not allowed");
        assert_eq!((error.code(), error.is_retryable()), ("image-unauthorized", false));
        assert!(!error.to_string().contains("wrong"), "{error}");
        let error = push(&client, &image, wasm(42, 10)).await.expect_err("not allowed");
        assert_eq!(error.code(), "image-unauthorized");
    }
}

#[tokio::test]
async fn a_password_over_plain_http_works_on_loopback() {
    let dir = scratch();
    let docker = DockerRegistry::start(dir.path(), "", &htpasswd(dir.path())).await;
    let image = reference(&format!("{}/hello:1", docker.address));
    let config = login(&docker.address, USERNAME, PASSWORD);
    let client = client_with_login(config.path());
    let manifest = push(&client, &image, wasm(43, 1000)).await.expect("pushed");
    assert_eq!(client.resolve(&image).await.expect("resolved"), manifest);
    std::fs::write(config.path().join("config.json"), "{").expect("written");
    let fresh = client_with_login(config.path());
    let error = fresh.resolve(&image).await.expect_err("the file is malformed");
    assert_eq!(error.code(), "registry-credentials-unusable");
}

/// Writes a certificate for loopback and its key; returns the certificate.
fn certificate(folder: &Path) -> Vec<u8> {
    let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
    let pair = rcgen::generate_simple_self_signed(names).expect("generated");
    std::fs::write(folder.join("cert.pem"), pair.cert.pem()).expect("written");
    std::fs::write(folder.join("key.pem"), pair.signing_key.serialize_pem()).expect("written");
    pair.cert.pem().into_bytes()
}

fn tls(folder: &Path) -> String {
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    format!("  tls:\n    certificate: {}\n    key: {}", certificate.display(), key.display())
}

fn htpasswd(folder: &Path) -> String {
    let path = folder.join("htpasswd");
    std::fs::write(&path, HTPASSWD).expect("written");
    format!("auth:\n  htpasswd:\n    realm: test\n    path: {}", path.display())
}
