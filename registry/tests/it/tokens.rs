//! The token service: what it is asked, and what it is not given.

use registry::Digest;
use serde_json::json;

use crate::support::scripted::{Asked, Reply, Scripted};
use crate::support::{
    client, client_with_login, login, pull, push, reference, scratch, store, wasm,
};

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

/// A registry that wants the token `good`, and names `realm` as the place to get it.
async fn registry_with(realm: String, wasm: &[u8]) -> Scripted {
    let layer = json!({"mediaType": "application/wasm", "digest": Digest::of(wasm),
        "size": wasm.len()});
    let manifest = json!({"schemaVersion": 2, "layers": [layer]}).to_string();
    let blob = wasm.to_vec();
    Scripted::start(move |asked| {
        if asked.headers.get("authorization").map(String::as_str) != Some("Bearer good") {
            let challenge = format!("Bearer realm=\"{realm}\",service=\"the registry\"");
            return Reply::new(401, "").header("WWW-Authenticate", challenge);
        }
        match (asked.method.as_str(), asked.path.contains("/manifests/")) {
            ("GET", true) => Reply::new(200, manifest.clone()).header("Content-Type", IMAGE),
            ("GET", false) => Reply::new(200, blob.clone()),
            ("POST", _) => Reply::new(202, "").header("Location", "/upload?state=1"),
            ("PUT", _) => Reply::new(201, ""),
            _ => Reply::new(404, ""),
        }
    })
    .await
}

fn good(_: &Asked) -> Reply {
    Reply::new(200, r#"{"token": "good", "expires_in": 300}"#)
}

#[tokio::test]
async fn a_token_is_asked_for_once_for_each_scope() {
    let tokens = Scripted::start(good).await;
    let wasm = wasm(60, 100);
    let scripted = registry_with(tokens.url("/token"), &wasm).await;
    let image = reference(&format!("{}/team/x:1", scripted.address));
    let login = login(&scripted.address.to_string(), "me", "secret");
    let client = client_with_login(login.path());
    let (store, _dir) = store();
    pull(&client, &image, &store).await.expect("pulled");
    pull(&client, &image, &store).await.expect("pulled");
    push(&client, &image, wasm).await.expect("pushed");
    let asked = tokens.asked();
    let paths: Vec<_> = asked.iter().map(|asked| asked.path.as_str()).collect();
    let start = "/token?scope=repository%3Ateam%2Fx%3Apull";
    let expected =
        [format!("{start}&service=the+registry"), format!("{start}%2Cpush&service=the+registry")];
    assert_eq!(paths, expected);
    let sent = asked.iter().map(|asked| asked.headers["authorization"].as_str());
    assert!(sent.into_iter().all(|value| value == "Basic bWU6c2VjcmV0"));
}

#[tokio::test]
async fn without_a_login_nothing_is_sent() {
    let tokens = Scripted::start(good).await;
    let wasm = wasm(61, 100);
    let scripted = registry_with(tokens.url("/token"), &wasm).await;
    let image = reference(&format!("{}/x:1", scripted.address));
    pull(&client(), &image, &store().0).await.expect("pulled");
    assert_eq!(tokens.asked()[0].headers.get("authorization"), None);
}

#[tokio::test]
async fn an_identity_token_is_traded() {
    let tokens = Scripted::start(|asked| {
        let form = String::from_utf8_lossy(&asked.body).into_owned();
        if asked.method == "POST" && form.contains("refresh_token=long+lived") {
            return Reply::new(200, r#"{"access_token": "good"}"#);
        }
        Reply::new(400, "")
    })
    .await;
    let wasm = wasm(62, 100);
    let scripted = registry_with(tokens.url("/token"), &wasm).await;
    let dir = scratch();
    let entry = json!({"identitytoken": "long lived"});
    let config = json!({"auths": {scripted.address.to_string(): entry}});
    std::fs::write(dir.path().join("config.json"), config.to_string()).expect("written");
    let image = reference(&format!("{}/x:1", scripted.address));
    pull(&client_with_login(dir.path()), &image, &store().0).await.expect("pulled");
    assert!(!tokens.asked()[0].headers.contains_key("authorization"));
}

#[tokio::test]
async fn a_token_service_cannot_misbehave() {
    let wasm = wasm(63, 100);
    for (answer, code) in [
        (r#"{"token": "stale"}"#, "image-unauthorized"),
        (r#"{"token": ""}"#, "image-malformed"),
        ("{}", "image-malformed"),
        ("<html>", "image-malformed"),
        ("{\"token\": \"a\\r\\nb: c\"}", "image-malformed"),
    ] {
        let tokens = Scripted::start(move |_| Reply::new(200, answer)).await;
        let scripted = registry_with(tokens.url("/token"), &wasm).await;
        let image = reference(&format!("{}/x:1", scripted.address));
        let error = pull(&client(), &image, &store().0).await.expect_err(answer);
        assert_eq!(error.code(), code, "{answer}");
    }
    for (reply, code) in [
        (Reply::endless as fn() -> Reply, "image-too-large"),
        (|| Reply::new(401, ""), "image-unauthorized"),
        (|| Reply::new(503, ""), "registry-failed"),
        (|| Reply::redirect("http://127.0.0.1:1/"), "image-unauthorized"),
    ] {
        let tokens = Scripted::start(move |_| reply()).await;
        let scripted = registry_with(tokens.url("/token"), &wasm).await;
        let image = reference(&format!("{}/x:1", scripted.address));
        let error = pull(&client(), &image, &store().0).await.expect_err("refused");
        assert_eq!(error.code(), code);
    }
}

#[tokio::test]
async fn credentials_do_not_go_where_they_should_not() {
    let wasm = wasm(64, 100);
    for realm in ["http://169.254.169.254/token", "file:///token", "not a URL"] {
        let scripted = registry_with(realm.to_owned(), &wasm).await;
        let login = login(&scripted.address.to_string(), "me", "secret");
        let image = reference(&format!("{}/x:1", scripted.address));
        let error = pull(&client_with_login(login.path()), &image, &store().0).await;
        let code = error.expect_err(realm).code();
        assert!(matches!(code, "registry-redirect-refused" | "image-malformed"), "{realm}: {code}");
    }
}
