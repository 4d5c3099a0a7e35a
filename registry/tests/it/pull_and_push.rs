//! Our client against our server.

use std::sync::Arc;

use registry::{ContentStore, Digest, Layout};

use crate::support::{Reports, Served, client, gzip, pull, push, scratch, store, tar, wasm};

#[tokio::test]
async fn what_was_pushed_is_pulled_byte_for_byte() {
    let served = Served::new().await;
    let (client, (store, _dir)) = (client(), store());
    let reference = served.reference("team/hello:1");
    let wasm = wasm(1, 3 << 20);
    let manifest = push(&client, &reference, wasm.clone()).await.expect("pushed");
    assert_eq!(client.resolve(&reference).await.expect("resolved"), manifest);
    let artifact = pull(&client, &reference, &store).await.expect("pulled");
    assert_eq!((artifact.manifest, artifact.layout), (manifest, Layout::Cncf));
    assert_eq!(artifact.component, Digest::of(&wasm));
    assert_eq!(artifact.size_bytes, wasm.len() as u64);
    assert_eq!(store.read(&artifact.component).expect("readable"), Some(wasm));
}

#[tokio::test]
async fn the_same_bytes_give_the_same_image_everywhere() {
    let (one, two) = (Served::new().await, Served::new().await);
    let wasm = wasm(2, 1000);
    let first = push(&client(), &one.reference("a:1"), wasm.clone()).await.expect("pushed");
    let second = push(&client(), &two.reference("b:2"), wasm.clone()).await.expect("pushed");
    assert_eq!(first, second);
    let pinned = one.reference("a").with_digest(first);
    assert_eq!(push(&client(), &pinned, wasm.clone()).await.expect("the same"), first);
    let other = one.reference("a").with_digest(Digest::of(b"other"));
    let error = push(&client(), &other, wasm).await.expect_err("another");
    assert_eq!(error.code(), "image-digest-mismatch");
}

#[tokio::test]
async fn what_is_there_is_not_transferred_again() {
    let served = Served::new().await;
    let (client, (store, _dir)) = (client(), store());
    let reference = served.reference("hello:1");
    let reports = Reports::default();
    let report = |progress| reports.add(progress);
    let manifest = client.push(&reference, wasm(3, 100), &report).await.expect("pushed");
    assert_eq!(reports.transferred(), 2);
    client.push(&served.reference("hello:2"), wasm(3, 100), &report).await.expect("pushed");
    assert_eq!(reports.transferred(), 2);
    client.pull(&reference, &store, &report).await.expect("pulled");
    assert_eq!(reports.transferred(), 3);
    client.pull(&reference, &store, &report).await.expect("pulled");
    assert_eq!(reports.transferred(), 3);
    let pinned = reference.with_digest(manifest);
    drop(served);
    client.pull(&pinned, &store, &report).await.expect("no registry is needed");
    let error = client.pull(&reference, &store, &report).await.expect_err("a tag is asked for");
    assert_eq!(error.code(), "registry-unreachable");
    assert!(error.is_retryable());
}

#[tokio::test]
async fn a_registry_survives_a_restart() {
    let dir = Arc::new(scratch());
    let reference = {
        let served = Served::on(dir.clone()).await;
        push(&client(), &served.reference("hello:1"), wasm(4, 100)).await.expect("pushed");
        served.reference("hello:1")
    };
    let served = Served::on(dir).await;
    let moved = reference.with_registry(&served.address.to_string()).expect("valid");
    pull(&client(), &moved, &store().0).await.expect("pulled");
}

#[tokio::test]
async fn what_is_missing_is_not_found() {
    let served = Served::new().await;
    let (store, _dir) = store();
    for name in ["absent:1", "a/b/c/absent"] {
        let reference = served.reference(name);
        let error = pull(&client(), &reference, &store).await.expect_err("absent");
        assert_eq!((error.code(), error.is_retryable()), ("image-not-found", false));
        assert!(error.to_string().contains("hint: "), "{error}");
        let error = client().resolve(&reference).await.expect_err("absent");
        assert_eq!(error.code(), "image-not-found");
    }
}

#[tokio::test]
async fn a_small_store_evicts_but_never_what_is_pinned() {
    let served = Served::new().await;
    let client = client();
    let dir = scratch();
    let store = ContentStore::open(dir.path(), 5000).expect("opens");
    let mut artifacts = Vec::new();
    for n in 0..3 {
        let reference = served.reference(&format!("hello:{n}"));
        push(&client, &reference, wasm(10 + n, 1000)).await.expect("pushed");
        artifacts.push(pull(&client, &reference, &store).await.expect("pulled"));
    }
    // Three are pinned by their artifacts; a fourth and a fifth do not fit beside them.
    push(&client, &served.reference("big:1"), wasm(20, 3000)).await.expect("pushed");
    let error = pull(&client, &served.reference("big:1"), &store).await.expect_err("full");
    assert_eq!((error.code(), error.is_retryable()), ("image-store-failed", true));
    assert!(artifacts.iter().all(|a| store.contains(&a.component)));
    artifacts.clear();
    pull(&client, &served.reference("big:1"), &store).await.expect("the others made room");
    push(&client, &served.reference("huge:1"), wasm(21, 6000)).await.expect("pushed");
    let error = pull(&client, &served.reference("huge:1"), &store).await.expect_err("too big");
    assert_eq!(error.code(), "image-store-failed");
    assert!(store.usage().used_bytes <= 5000);
}

#[tokio::test]
async fn what_is_not_wasm_is_neither_pushed_nor_pulled() {
    let served = Served::new().await;
    let error = push(&client(), &served.reference("x:1"), "#!/bin/sh".into()).await;
    assert_eq!(error.expect_err("no Wasm").code(), "image-not-wasm");
    let layer = gzip(&tar(&[("app.wasm", b"#!/bin/sh")]));
    crate::skopeo::push_image(&served, "script:1", &[&layer]).await;
    let (store, _dir) = store();
    let error = pull(&client(), &served.reference("script:1"), &store).await;
    assert_eq!(error.expect_err("no Wasm").code(), "image-not-wasm");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deletions_never_take_what_is_being_pushed() {
    let served = Served::new().await;
    let http = crate::support::http();
    let rounds = (0..20u64).map(|n| {
        let (served, http) = (&served, &http);
        async move {
            // The two images are the same, in two repositories: they share every blob.
            let (kept, dropped) = (served.reference("keep"), served.reference("drop"));
            let content = wasm(1000 + n % 4, 20_000);
            let client = client();
            let manifest = push(&client, &dropped, content.clone()).await.expect("pushed");
            let url = served.url(&format!("drop/manifests/{manifest}"));
            let delete = async { http.delete(url).send().await.expect("answered").status() };
            let (status, pushed) = tokio::join!(delete, push(&client, &kept, content.clone()));
            assert!(status == 202 || status == 404, "{status}");
            let pinned = kept.with_digest(pushed.expect("pushed"));
            pull(&client, &pinned, &store().0).await.expect("everything is there");
        }
    });
    let all = futures_util::future::join_all(rounds);
    tokio::time::timeout(crate::support::PATIENCE, all).await.expect("it ends");
}
