//! A registry that lies, and what our client makes of it.

use std::sync::Arc;

use registry::client::Error;
use registry::{Digest, Reference};
use serde_json::{Value, json};

use crate::support::scripted::{Asked, Reply, Scripted};
use crate::support::{client, client_with_login, gzip, login, pull, reference, store, tar, wasm};

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const TAR: &str = "application/vnd.oci.image.layer.v1.tar";
const WASM: &str = "application/wasm";

/// A manifest with one layer of this content.
fn manifest(media_type: &str, layer: &[u8]) -> Value {
    let config = json!({"mediaType": "application/vnd.wasm.config.v0+json",
        "digest": Digest::of(b"{}"), "size": 2});
    let layer = json!({"mediaType": media_type, "digest": Digest::of(layer), "size": layer.len()});
    json!({"schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": [layer]})
}

fn image(scripted: &Scripted) -> Reference {
    reference(&format!("{}/x:1", scripted.address))
}

/// Pulls from a registry that answers with this manifest, and by `blob` to any blob. Whatever
/// happens, nothing half done may stay in the store.
async fn pull_of(
    manifest: Value,
    blob: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
) -> registry::client::Result<registry::Artifact> {
    let manifest = manifest.to_string();
    let scripted = Scripted::start(move |asked| {
        if asked.path.contains("/manifests/") {
            return Reply::new(200, manifest.clone()).header("Content-Type", IMAGE);
        }
        blob(asked)
    })
    .await;
    let (store, dir) = store();
    let outcome = pull(&client(), &image(&scripted), &store).await;
    let files = std::fs::read_dir(dir.path().join("sha256")).expect("readable");
    assert_eq!(files.count(), store.usage().blobs, "a temporary file stayed behind");
    if outcome.is_err() {
        assert_eq!(store.usage().pinned_bytes, 0);
    }
    outcome
}

async fn code_of(
    manifest: Value,
    blob: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
) -> &'static str {
    pull_of(manifest, blob).await.expect_err("hostile").code()
}

#[tokio::test]
async fn the_harness_itself_is_sound() {
    let wasm = wasm(50, 1000);
    let content = wasm.to_vec();
    let artifact = pull_of(manifest(WASM, &wasm), move |_| Reply::new(200, content.clone()));
    assert_eq!(artifact.await.expect("sound").component, Digest::of(&wasm));
    let content = wasm.to_vec();
    let blob = move |_: &Asked| Reply::new(200, content.clone()).unannounced();
    pull_of(manifest(WASM, &wasm), blob).await.expect("a length is not needed");
}

#[tokio::test]
async fn a_blob_that_lies_is_refused() {
    let wasm = wasm(51, 100_000);
    let manifest = || manifest(WASM, &wasm);
    let content = Arc::new(wasm.to_vec());
    let with = |change: fn(&[u8]) -> Reply| {
        let content = content.clone();
        move |_: &Asked| change(&content)
    };
    let changed = with(|content| {
        let mut content = content.to_vec();
        content[50_000] ^= 1;
        Reply::new(200, content)
    });
    assert_eq!(code_of(manifest(), changed).await, "image-digest-mismatch");
    let short = with(|content| Reply::new(200, &content[..1000]));
    assert_eq!(code_of(manifest(), short).await, "image-digest-mismatch");
    let quietly_short = with(|content| Reply::new(200, &content[..1000]).unannounced());
    assert_eq!(code_of(manifest(), quietly_short).await, "image-digest-mismatch");
    let long = with(|content| Reply::new(200, [content, b"more"].concat()).unannounced());
    assert_eq!(code_of(manifest(), long).await, "image-digest-mismatch");
    let announced = with(|content| Reply::new(200, content).lying(content.len() + 1));
    assert_eq!(code_of(manifest(), announced).await, "image-digest-mismatch");
    let endless = with(|_| Reply::endless());
    assert_eq!(code_of(manifest(), endless).await, "image-digest-mismatch");
    let truncated = with(|content| Reply::new(200, &content[..1000]).lying(content.len()));
    let error = pull_of(manifest(), truncated).await.expect_err("truncated");
    assert_eq!((error.code(), error.is_retryable()), ("registry-unreachable", true));
    let partial = with(|content| Reply::new(206, content));
    assert_eq!(code_of(manifest(), partial).await, "registry-failed");
}

#[tokio::test]
async fn a_manifest_that_lies_is_refused() {
    let manifest = manifest(WASM, b"x").to_string();
    let lying = manifest.clone();
    let (store, _dir) = store();
    let scripted = Scripted::start(move |asked| {
        let sound = Reply::new(200, lying.clone()).header("Content-Type", IMAGE);
        match asked.path.rsplit('/').next().expect("a name") {
            "header" => sound.header("Docker-Content-Digest", Digest::of(b"other").to_string()),
            "endless" => Reply::endless(),
            "announced" => sound.lying(5 << 20),
            "html" => Reply::new(200, "<html>"),
            "object" => Reply::new(200, "{}"),
            "truncated" => Reply::new(200, &lying.as_bytes()[..50]).unannounced(),
            "broken" => Reply::new(200, &lying.as_bytes()[..50]).lying(lying.len()),
            _ => sound,
        }
    })
    .await;
    for (tag, code) in [
        ("header", "image-digest-mismatch"),
        ("endless", "image-too-large"),
        ("announced", "image-too-large"),
        ("html", "image-malformed"),
        ("object", "image-malformed"),
        ("truncated", "image-malformed"),
        ("broken", "registry-unreachable"),
    ] {
        let image = reference(&format!("{}/x:{tag}", scripted.address));
        let error = pull(&client(), &image, &store).await.expect_err(tag);
        assert_eq!(error.code(), code, "{tag}: {error}");
    }
    let pinned = image(&scripted).with_digest(Digest::of(b"what I reviewed"));
    let error = pull(&client(), &pinned, &store).await.expect_err("another manifest");
    assert!(matches!(error, Error::DigestMismatch { actual, .. }
        if actual == Digest::of(manifest.as_bytes())));
    let error = client().resolve(&pinned).await.expect_err("another manifest");
    assert_eq!(error.code(), "image-digest-mismatch");
}

#[tokio::test]
async fn promises_beyond_the_limits_are_not_even_asked_for() {
    let mut heavy = manifest(WASM, b"x");
    heavy["layers"][0]["size"] = (65u64 << 20).into();
    let blob = |asked: &Asked| panic!("{} was asked for", asked.path);
    assert_eq!(code_of(heavy, blob).await, "image-too-large");
    let mut negative = manifest(WASM, b"x");
    negative["layers"][0]["size"] = (-1).into();
    assert_eq!(code_of(negative, blob).await, "image-malformed");
    let mut foreign = manifest(WASM, b"x");
    foreign["layers"][0]["digest"] = "sha512:00".into();
    assert_eq!(code_of(foreign, blob).await, "image-malformed");
    let data = manifest("application/octet-stream", b"x");
    assert_eq!(code_of(data, blob).await, "image-not-wasm");
}

#[tokio::test]
async fn an_index_is_followed_once() {
    let wasm = wasm(52, 100);
    let inner = manifest(WASM, &wasm).to_string();
    let entry = |content: &str, media_type: &str| {
        json!({"mediaType": media_type, "digest": Digest::of(content.as_bytes()),
            "size": content.len(), "platform": {"os": "wasi", "architecture": "wasm"}})
    };
    let index = |entry: Value| {
        let other = json!({"mediaType": IMAGE, "digest": Digest::of(b"amd64"), "size": 5,
            "platform": {"os": "linux", "architecture": "amd64"}});
        json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [other, entry]}).to_string()
    };
    let once = index(entry(&inner, IMAGE));
    let twice = index(entry(&once, INDEX));
    let mut wrong = entry(&inner, IMAGE);
    wrong["size"] = (inner.len() + 1).into();
    let wrong = index(wrong);
    let contents = [("once", once.clone()), ("twice", twice), ("wrong", wrong)];
    let documents = [inner.clone(), once];
    let blob = wasm.to_vec();
    let scripted = Scripted::start(move |asked| {
        let name = asked.path.rsplit('/').next().expect("a name");
        let named = contents.iter().find(|(tag, _)| *tag == name).map(|(_, content)| content);
        let by_digest = |d: &&String| Digest::of(d.as_bytes()).to_string() == name;
        match named.or_else(|| documents.iter().find(by_digest)) {
            Some(document) => Reply::new(200, document.clone()).header("Content-Type", INDEX),
            None => Reply::new(200, blob.clone()),
        }
    })
    .await;
    let (store, _dir) = store();
    let image = |tag: &str| reference(&format!("{}/x:{tag}", scripted.address));
    let artifact = pull(&client(), &image("once"), &store).await.expect("sound");
    assert_eq!(artifact.manifest, Digest::of(inner.as_bytes()));
    assert_eq!(client().resolve(&image("once")).await.expect("sound"), artifact.manifest);
    let error = pull(&client(), &image("twice"), &store).await.expect_err("nested");
    assert_eq!(error.code(), "image-malformed");
    let (store, _dir) = crate::support::store();
    let error = pull(&client(), &image("wrong"), &store).await.expect_err("a wrong size");
    assert_eq!(error.code(), "image-digest-mismatch");
}

#[tokio::test]
async fn hostile_archives_are_refused_by_the_name_of_the_entry() {
    for (kind, name) in [
        (tar::EntryType::Symlink, "evil-link"),
        (tar::EntryType::Link, "evil-hard"),
        (tar::EntryType::Char, "evil-device"),
        (tar::EntryType::Regular, "/etc/evil"),
        (tar::EntryType::Regular, "a/../../evil"),
    ] {
        let mut header = tar::Header::new_gnu();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_size(0);
        header.set_cksum();
        let mut archive = header.as_bytes().to_vec();
        archive.extend_from_slice(&tar(&[("app.wasm", b"\0asm\x01\0\0\0")]));
        let (plain, packed) = (archive.clone(), gzip(&archive));
        for (media_type, layer) in [(TAR, plain), (GZIP, packed)] {
            let content = layer.clone();
            let blob = move |_: &Asked| Reply::new(200, content.clone());
            let error = pull_of(manifest(media_type, &layer), blob).await.expect_err(name);
            assert_eq!(error.code(), "image-malformed", "{name}");
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}

#[tokio::test]
async fn bombs_and_wrong_numbers_of_files_are_refused() {
    let module = b"\0asm\x01\0\0\0";
    let zeros = vec![0; 8 << 20];
    for (layer, media_type, code) in [
        (gzip(&tar(&[("app.wasm", &zeros)])), GZIP, "image-too-large"),
        (tar(&[("a.wasm", module), ("b.wasm", module)]), TAR, "image-not-wasm"),
        (gzip(&tar(&[("a.txt", module)])), GZIP, "image-not-wasm"),
        (gzip(&tar(&[])), GZIP, "image-not-wasm"),
        (b"neither gzip nor tar".repeat(100), GZIP, "image-malformed"),
        (b"neither gzip nor tar".repeat(100), TAR, "image-malformed"),
    ] {
        let content = layer.clone();
        let blob = move |_: &Asked| Reply::new(200, content.clone());
        let error = pull_of(manifest(media_type, &layer), blob).await.expect_err("refused");
        assert_eq!(error.code(), code, "{error}");
    }
}

#[tokio::test]
async fn credentials_do_not_follow_a_redirect() {
    let wasm = wasm(53, 1000);
    let content = wasm.to_vec();
    let storage = Scripted::start(move |_| Reply::new(200, content.clone())).await;
    let (document, target) = (manifest(WASM, &wasm).to_string(), storage.url("/blob?sig=1"));
    let scripted = Scripted::start(move |asked| match asked.headers.get("authorization") {
        None => Reply::new(401, "").header("WWW-Authenticate", "Basic realm=\"x\""),
        Some(_) if asked.path.contains("/manifests/") => {
            Reply::new(200, document.clone()).header("Content-Type", IMAGE)
        }
        Some(_) => Reply::redirect(target.clone()),
    })
    .await;
    let login = login(&scripted.address.to_string(), "me", "secret");
    let client = client_with_login(login.path());
    let artifact = pull(&client, &image(&scripted), &store().0).await.expect("pulled");
    assert_eq!(artifact.component, Digest::of(&wasm));
    let asked = storage.asked();
    assert_eq!((asked.len(), asked[0].path.as_str()), (1, "/blob?sig=1"));
    assert_eq!(asked[0].headers.get("authorization"), None);
    assert_eq!(asked[0].headers.get("cookie"), None);
}

#[tokio::test]
async fn redirects_lead_to_nowhere_they_should_not() {
    let targets = [
        "http://169.254.169.254/latest/meta-data/",
        "http://[fe80::1]/x",
        "http://0.0.0.0:1/x",
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
    ];
    for target in targets {
        let wasm = wasm(54, 10);
        let blob = move |_: &Asked| Reply::redirect(target);
        let error = pull_of(manifest(WASM, &wasm), blob).await.expect_err(target);
        assert_eq!(error.code(), "registry-redirect-refused", "{target}: {error}");
    }
    let circle = |asked: &Asked| Reply::redirect(asked.path.clone());
    assert_eq!(code_of(manifest(WASM, b"x"), circle).await, "registry-redirect-refused");
    let nowhere = |_: &Asked| Reply::new(302, "");
    assert_eq!(code_of(manifest(WASM, b"x"), nowhere).await, "image-malformed");
}

#[tokio::test]
async fn failures_of_the_registry_are_told_apart() {
    let body = json!({"errors": [{"code": "TOOMANYREQUESTS", "message": "slow down"}]});
    for (status, code, retryable) in [
        (429, "registry-failed", true),
        (500, "registry-failed", true),
        (503, "registry-failed", true),
        (400, "registry-failed", false),
        (403, "image-unauthorized", false),
        (401, "image-unauthorized", false),
        (404, "image-not-found", false),
    ] {
        let text = body.to_string();
        let scripted = Scripted::start(move |_| Reply::new(status, text.clone())).await;
        let outcome = pull(&client(), &image(&scripted), &store().0).await;
        let error = outcome.expect_err("a failure");
        assert_eq!((error.code(), error.is_retryable()), (code, retryable), "{status}");
        assert!(status == 404 || error.to_string().contains("slow down"), "{error}");
    }
}

#[tokio::test]
async fn an_upload_is_not_led_away() {
    let elsewhere = Scripted::start(|_| Reply::new(201, "")).await;
    let target = elsewhere.url("/steal");
    let scripted = Scripted::start(move |asked| match asked.method.as_str() {
        "POST" => Reply::new(202, "").header("Location", target.clone()),
        "PUT" => Reply::new(201, ""),
        _ => Reply::new(404, ""),
    })
    .await;
    let outcome = crate::support::push(&client(), &image(&scripted), wasm(55, 10)).await;
    assert_eq!(outcome.expect_err("refused").code(), "registry-redirect-refused");
    assert!(elsewhere.asked().is_empty());
}
