//! The server's manifests, tags and lists, by the OCI distribution specification.

use registry::Digest;
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};

use crate::support::{Served, http};

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

struct Case {
    served: Served,
    http: Client,
}

impl Case {
    async fn new() -> Self {
        Self { served: Served::new().await, http: http() }
    }

    async fn get(&self, path: &str) -> Response {
        self.http.get(self.served.url(path)).send().await.expect("answered")
    }

    async fn json(&self, path: &str) -> Value {
        self.get(path).await.json().await.expect("JSON")
    }

    async fn delete(&self, path: &str) -> StatusCode {
        self.http.delete(self.served.url(path)).send().await.expect("answered").status()
    }

    async fn blob(&self, repository: &str, content: &'static str) -> Digest {
        let digest = Digest::of(content.as_bytes());
        let url = self.served.url(&format!("{repository}/blobs/uploads/?digest={digest}"));
        let response = self.http.post(url).body(content).send().await.expect("answered");
        assert_eq!(response.status(), 201);
        digest
    }

    async fn put(&self, path: &str, media_type: &str, body: &str) -> Response {
        let request = self.http.put(self.served.url(path)).header("content-type", media_type);
        request.body(body.to_owned()).send().await.expect("answered")
    }

    /// Pushes a manifest with this config and layer.
    async fn image(&self, repository: &str, tag: &str, layer: &'static str) -> Digest {
        let config = self.blob(repository, "{}").await;
        let layer = self.blob(repository, layer).await;
        let body = image(config, layer);
        let response = self.put(&format!("{repository}/manifests/{tag}"), IMAGE, &body).await;
        assert_eq!(response.status(), 201);
        Digest::of(body.as_bytes())
    }
}

fn image(config: Digest, layer: Digest) -> String {
    json!({"schemaVersion": 2, "mediaType": IMAGE,
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": config, "size": 2},
        "layers": [{"mediaType": "application/wasm", "digest": layer, "size": 1}]})
    .to_string()
}

async fn assert_error(response: Response, status: u16, code: &str) {
    assert_eq!(response.status(), status);
    let body: Value = response.json().await.expect("JSON");
    assert_eq!(body["errors"][0]["code"], code, "{body}");
}

fn header(response: &Response, name: &str) -> String {
    let value = response.headers().get(name).unwrap_or_else(|| panic!("no {name}"));
    value.to_str().expect("text").to_owned()
}

#[tokio::test]
async fn a_manifest_is_found_by_tag_and_by_digest() {
    let case = Case::new().await;
    let digest = case.image("team/a", "v1", "layer").await;
    for reference in ["v1".to_owned(), digest.to_string()] {
        let response = case.get(&format!("team/a/manifests/{reference}")).await;
        assert_eq!(response.status(), 200);
        assert_eq!(header(&response, "content-type"), IMAGE);
        assert_eq!(header(&response, "docker-content-digest"), digest.to_string());
        let body = response.bytes().await.expect("a body");
        assert_eq!(Digest::of(&body), digest);
        let url = case.served.url(&format!("team/a/manifests/{reference}"));
        let response = case.http.head(url).send().await.expect("answered");
        assert_eq!(header(&response, "content-length"), body.len().to_string());
    }
    assert_error(case.get("team/a/manifests/v2").await, 404, "MANIFEST_UNKNOWN").await;
    let elsewhere = case.get(&format!("team/b/manifests/{digest}")).await;
    assert_error(elsewhere, 404, "MANIFEST_UNKNOWN").await;
}

#[tokio::test]
async fn a_manifest_is_checked_before_it_is_taken() {
    let case = Case::new().await;
    let (config, layer) = (case.blob("a", "{}").await, Digest::of(b"absent"));
    let body = image(config, layer);
    let missing = case.put("a/manifests/1", IMAGE, &body).await;
    assert_error(missing, 400, "MANIFEST_BLOB_UNKNOWN").await;
    let other = case.blob("b", "only in b").await;
    let missing = case.put("a/manifests/1", IMAGE, &image(config, other)).await;
    assert_error(missing, 400, "MANIFEST_BLOB_UNKNOWN").await;
    let sound = image(config, case.blob("a", "layer").await);
    let wrong = format!("a/manifests/{}", Digest::of(b"other"));
    assert_error(case.put(&wrong, IMAGE, &sound).await, 400, "DIGEST_INVALID").await;
    assert_error(case.put("a/manifests/1", INDEX, &sound).await, 400, "MANIFEST_INVALID").await;
    for body in ["", "{}", "[]", "nonsense", r#"{"schemaVersion": 1}"#] {
        let response = case.put("a/manifests/1", IMAGE, body).await;
        assert_error(response, 400, "MANIFEST_INVALID").await;
    }
    let huge = " ".repeat((4 << 20) + 1);
    assert_error(case.put("a/manifests/1", IMAGE, &huge).await, 413, "SIZE_INVALID").await;
    let index = json!({"schemaVersion": 2, "manifests": [{"digest": config}]}).to_string();
    let missing = case.put("a/manifests/1", INDEX, &index).await;
    assert_error(missing, 400, "MANIFEST_BLOB_UNKNOWN").await;
    let right = format!("a/manifests/{}", Digest::of(sound.as_bytes()));
    let response = case.put(&right, IMAGE, &sound).await;
    assert_eq!(
        (response.status().as_u16(), header(&response, "location")),
        (201, format!("/v2/{right}"))
    );
    assert_eq!(case.json("a/tags/list").await["tags"], json!([]));
}

#[tokio::test]
async fn a_tag_moves_and_goes_alone() {
    let case = Case::new().await;
    let first = case.image("a", "latest", "one").await;
    let second = case.image("a", "latest", "two").await;
    let response = case.get("a/manifests/latest").await;
    assert_eq!(header(&response, "docker-content-digest"), second.to_string());
    assert_eq!(case.get(&format!("a/manifests/{first}")).await.status(), 200);
    assert_eq!(case.delete("a/manifests/latest").await, 202);
    assert_eq!(case.get("a/manifests/latest").await.status(), 404);
    assert_eq!(case.get(&format!("a/manifests/{second}")).await.status(), 200);
    assert_eq!(case.delete("a/manifests/latest").await, 404);
}

#[tokio::test]
async fn a_manifest_goes_with_its_tags() {
    let case = Case::new().await;
    let digest = case.image("a", "1", "layer").await;
    case.image("a", "2", "layer").await;
    case.image("a", "3", "other").await;
    assert_eq!(case.delete(&format!("a/manifests/{digest}")).await, 202);
    assert_eq!(case.json("a/tags/list").await["tags"], json!(["3"]));
    assert_eq!(case.get(&format!("a/manifests/{digest}")).await.status(), 404);
    // Its blobs were uploaded a moment ago, so somebody may be about to use them.
    let layer = Digest::of(b"layer");
    assert_eq!(case.get(&format!("a/blobs/{layer}")).await.status(), 200);
    let names = case.json("_catalog").await;
    assert_eq!(names["repositories"], json!(["a"]));
}

#[tokio::test]
async fn lists_come_in_pages() {
    let case = Case::new().await;
    for repository in ["a", "b/c", "d"] {
        for tag in ["1", "2", "3"] {
            case.image(repository, tag, "layer").await;
        }
    }
    assert_eq!(case.json("_catalog").await["repositories"], json!(["a", "b/c", "d"]));
    let response = case.get("a/tags/list?n=2").await;
    assert_eq!(header(&response, "link"), "</v2/a/tags/list?n=2&last=2>; rel=\"next\"");
    let body: Value = response.json().await.expect("JSON");
    assert_eq!(body, json!({"name": "a", "tags": ["1", "2"]}));
    let response = case.get("a/tags/list?n=2&last=2").await;
    assert!(!response.headers().contains_key("link"));
    let body: Value = response.json().await.expect("JSON");
    assert_eq!(body["tags"], json!(["3"]));
    assert_eq!(case.json("a/tags/list?n=0").await["tags"], json!([]));
    assert_eq!(case.get("a/tags/list?n=x").await.status(), 400);
    let response = case.get("_catalog?n=1&last=a").await;
    assert_eq!(header(&response, "link"), "</v2/_catalog?n=1&last=b/c>; rel=\"next\"");
    assert_error(case.get("none/tags/list").await, 404, "NAME_UNKNOWN").await;
}

#[tokio::test]
async fn referrers_are_found_and_filtered() {
    let case = Case::new().await;
    let subject = case.image("a", "1", "layer").await;
    let config = case.blob("a", "{}").await;
    let about = |kind: &str| {
        json!({"schemaVersion": 2, "mediaType": IMAGE, "artifactType": kind,
            "config": {"mediaType": "x/empty", "digest": config, "size": 2},
            "layers": [], "annotations": {"kind": kind},
            "subject": {"mediaType": IMAGE, "digest": subject, "size": 1}})
        .to_string()
    };
    let empty = case.json(&format!("a/referrers/{subject}")).await;
    assert_eq!(empty["manifests"], json!([]));
    let mut digests = Vec::new();
    for kind in ["x/signature", "x/sbom+json"] {
        let body = about(kind);
        let digest = Digest::of(body.as_bytes());
        let response = case.put(&format!("a/manifests/{digest}"), IMAGE, &body).await;
        assert_eq!(header(&response, "oci-subject"), subject.to_string());
        digests.push(digest);
    }
    let response = case.get(&format!("a/referrers/{subject}")).await;
    assert_eq!(header(&response, "content-type"), INDEX);
    assert!(!response.headers().contains_key("oci-filters-applied"));
    let body: Value = response.json().await.expect("JSON");
    assert_eq!(body["manifests"].as_array().map(Vec::len), Some(2));
    let path = format!("a/referrers/{subject}?artifactType=x/sbom%2Bjson");
    let response = case.get(&path).await;
    assert_eq!(header(&response, "oci-filters-applied"), "artifactType");
    let body: Value = response.json().await.expect("JSON");
    assert_eq!(
        body["manifests"],
        json!([{"mediaType": IMAGE, "digest": digests[1],
        "size": about("x/sbom+json").len(), "artifactType": "x/sbom+json",
        "annotations": {"kind": "x/sbom+json"}}])
    );
    assert_eq!(case.delete(&format!("a/manifests/{}", digests[1])).await, 202);
    let body = case.json(&format!("a/referrers/{subject}")).await;
    assert_eq!(body["manifests"][0]["digest"], json!(digests[0]));
    assert_eq!(body["manifests"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn an_index_needs_its_manifests() {
    let case = Case::new().await;
    let digest = case.image("a", "1", "layer").await;
    let index = json!({"schemaVersion": 2, "mediaType": INDEX,
        "manifests": [{"mediaType": IMAGE, "digest": digest, "size": 1}]})
    .to_string();
    assert_eq!(case.put("a/manifests/all", INDEX, &index).await.status(), 201);
    let response = case.get("a/manifests/all").await;
    assert_eq!(header(&response, "content-type"), INDEX);
}
