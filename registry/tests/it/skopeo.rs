//! Debian's `skopeo` against our server, and images that it made against our client.

use std::path::Path;

use registry::{Digest, Layout};
use serde_json::{Value, json};

use crate::support::programs::skopeo;
use crate::support::{Served, client, gzip, pull, push, scratch, store, tar, wasm};

#[tokio::test]
async fn an_image_goes_in_and_out_with_its_digest() {
    let served = Served::new().await;
    let wasm = wasm(30, 200_000);
    let layer = gzip(&tar(&[("app.wasm", &wasm)]));
    push_image(&served, "team/app:1", &[&layer]).await;
    let (store, _dir) = store();
    let artifact = pull(&client(), &served.reference("team/app:1"), &store).await.expect("pulled");
    assert_eq!((artifact.layout, artifact.component), (Layout::Container, Digest::of(&wasm)));

    let out = scratch();
    let source = format!("docker://{}/team/app:1", served.address);
    let target = format!("oci:{}:out", out.path().display());
    skopeo(&["copy", "--src-tls-verify=false", &source, &target]).await;
    let copied = std::fs::read_to_string(out.path().join("index.json")).expect("a layout");
    assert!(copied.contains(&artifact.manifest.to_string()), "{copied}");
}

#[tokio::test]
async fn an_artifact_of_ours_is_copied_between_repositories() {
    let served = Served::new().await;
    let manifest =
        push(&client(), &served.reference("first:1"), wasm(31, 5000)).await.expect("pushed");
    let (from, to) =
        (format!("{}/first:1", served.address), format!("{}/a/second:2", served.address));
    skopeo(&[
        "copy",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        &format!("docker://{from}"),
        &format!("docker://{to}"),
    ])
    .await;
    let copy = served.reference("a/second:2");
    assert_eq!(client().resolve(&copy).await.expect("resolved"), manifest);
    let raw = skopeo(&["inspect", "--tls-verify=false", "--raw", &format!("docker://{to}")]).await;
    assert_eq!(Digest::of(raw.as_bytes()), manifest);
}

#[tokio::test]
async fn inspect_list_and_delete_work() {
    let served = Served::new().await;
    let layer = gzip(&tar(&[("app.wasm", &wasm(32, 100))]));
    for tag in ["app:1", "app:2"] {
        push_image(&served, tag, &[&layer]).await;
    }
    let image = format!("docker://{}/app", served.address);
    let text = skopeo(&["inspect", "--tls-verify=false", &format!("{image}:1")]).await;
    let shown: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(shown["RepoTags"], json!(["1", "2"]));
    assert_eq!(shown["Layers"], json!([Digest::of(&layer)]));
    let text = skopeo(&["list-tags", "--tls-verify=false", &image]).await;
    let listed: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(listed["Tags"], json!(["1", "2"]));
    skopeo(&["delete", "--tls-verify=false", &format!("{image}:1")]).await;
    let error = client().resolve(&served.reference("app:1")).await.expect_err("deleted");
    assert_eq!(error.code(), "image-not-found");
}

#[tokio::test]
async fn docker_media_types_are_understood() {
    let served = Served::new().await;
    let wasm = wasm(33, 1000);
    push_image(&served, "oci:1", &[&gzip(&tar(&[("app.wasm", &wasm)]))]).await;
    let source = format!("docker://{}/oci:1", served.address);
    let target = format!("docker://{}/docker:1", served.address);
    let insecure = ["--src-tls-verify=false", "--dest-tls-verify=false"];
    skopeo(&["copy", "--format", "v2s2", insecure[0], insecure[1], &source, &target]).await;
    let (store, _dir) = store();
    let artifact = pull(&client(), &served.reference("docker:1"), &store).await.expect("pulled");
    assert_eq!(artifact.component, Digest::of(&wasm));
}

/// Pushes a container image with these gzip layers to our server, by skopeo.
pub(crate) async fn push_image(served: &Served, name: &str, layers: &[&[u8]]) {
    let dir = scratch();
    write_layout(dir.path(), layers);
    let source = format!("oci:{}:image", dir.path().display());
    let target = format!("docker://{}/{name}", served.address);
    skopeo(&["copy", "--dest-tls-verify=false", &source, &target]).await;
}

/// Writes an OCI image layout with one image.
pub(crate) fn write_layout(folder: &Path, layers: &[&[u8]]) {
    let blobs = folder.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).expect("created");
    let write = |media_type: &str, content: &[u8]| {
        let digest = Digest::of(content);
        std::fs::write(blobs.join(digest.hex()), content).expect("written");
        json!({"mediaType": media_type, "digest": digest, "size": content.len()})
    };
    let unpacked: Vec<_> = layers.iter().map(|layer| Digest::of(&gunzip(layer))).collect();
    let config = json!({
        "architecture": "wasm", "os": "wasi", "config": {},
        "rootfs": {"type": "layers", "diff_ids": unpacked},
    });
    let config = write("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
    let layers: Vec<_> = layers
        .iter()
        .map(|layer| write("application/vnd.oci.image.layer.v1.tar+gzip", layer))
        .collect();
    let manifest_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({
        "schemaVersion": 2, "mediaType": manifest_type, "config": config, "layers": layers,
    });
    let mut manifest = write(manifest_type, manifest.to_string().as_bytes());
    manifest["annotations"] = json!({"org.opencontainers.image.ref.name": "image"});
    let index = json!({"schemaVersion": 2, "manifests": [manifest]});
    std::fs::write(folder.join("index.json"), index.to_string()).expect("written");
    let version = json!({"imageLayoutVersion": "1.0.0"});
    std::fs::write(folder.join("oci-layout"), version.to_string()).expect("written");
}

fn gunzip(content: &[u8]) -> Vec<u8> {
    use std::io::Read as _;
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(content).read_to_end(&mut unpacked).expect("sound");
    unpacked
}
