//! The server's blobs, one request at a time, by the OCI distribution specification.

use registry::Digest;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, LOCATION, RANGE};
use reqwest::{Client, Method, Response};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{PATIENCE, Served, http};

struct Case {
    served: Served,
    http: Client,
}

impl Case {
    async fn new() -> Self {
        Self { served: Served::new().await, http: http() }
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        // A `Location` has the prefix already.
        let url = self.served.url(path.strip_prefix("/v2/").unwrap_or(path));
        let mut request = self.http.request(method, url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(body.to_vec()).send().await.expect("answered")
    }

    async fn begin(&self) -> String {
        let response = self.send("POST", "a/blobs/uploads/", &[], b"").await;
        assert_eq!(response.status(), 202);
        assert!(response.headers().contains_key("docker-upload-uuid"));
        header(&response, LOCATION.as_str())
    }

    async fn upload(&self, repository: &str, content: &[u8]) -> Digest {
        let digest = Digest::of(content);
        let path = format!("{repository}/blobs/uploads/?digest={digest}");
        assert_eq!(self.send("POST", &path, &[], content).await.status(), 201);
        digest
    }
}

fn header(response: &Response, name: &str) -> String {
    let value = response.headers().get(name).unwrap_or_else(|| panic!("no {name}"));
    value.to_str().expect("text").to_owned()
}

/// Asserts the status and the code of an error, and the shape that the specification gives it.
async fn assert_error(response: Response, status: u16, code: &str) {
    assert_eq!(response.status(), status);
    assert!(header(&response, "content-type").starts_with("application/json"));
    let body: Value = response.json().await.expect("JSON");
    assert_eq!(body["errors"][0]["code"], code);
    assert!(body["errors"][0]["message"].is_string());
}

#[tokio::test]
async fn the_root_says_that_this_is_a_registry() {
    let case = Case::new().await;
    let response = case.send("GET", "", &[], b"").await;
    assert_eq!(response.status(), 200);
    assert_eq!(header(&response, "docker-distribution-api-version"), "registry/2.0");
    assert_error(case.send("DELETE", "", &[], b"").await, 405, "UNSUPPORTED").await;
    assert_error(case.send("GET", "a/nonsense", &[], b"").await, 404, "NAME_UNKNOWN").await;
    let response = case.send("POST", "UPPER/blobs/uploads/", &[], b"").await;
    assert_error(response, 400, "NAME_INVALID").await;
}

#[tokio::test]
async fn a_method_that_is_not_there_is_answered_with_those_that_are() {
    let case = Case::new().await;
    let digest = case.upload("a", b"blob").await;
    let location = case.begin().await;
    for (path, allow) in [
        ("", "GET, HEAD"),
        ("_catalog", "GET"),
        ("a/tags/list", "GET"),
        (&format!("a/referrers/{digest}"), "GET"),
        ("a/manifests/1", "GET, HEAD, PUT, DELETE"),
        (&format!("a/blobs/{digest}"), "GET, HEAD, DELETE"),
        ("a/blobs/uploads/", "POST"),
        (&location, "GET, PATCH, PUT, DELETE"),
    ] {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE"] {
            let response = case.send(method, path, &[], b"").await;
            if response.status() == 405 {
                assert_eq!(header(&response, "allow"), allow, "{method} {path}");
                assert!(!allow.split(", ").any(|allowed| allowed == method), "{method} {path}");
            } else {
                assert!(allow.split(", ").any(|allowed| allowed == method), "{method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn a_damaged_blob_is_found_and_pushed_again() {
    let case = Case::new().await;
    let content = vec![b'x'; 200_000];
    let digest = case.upload("a", &content).await;
    let file = case.served.dir.path().join("blobs/sha256").join(digest.hex());
    let path = format!("a/blobs/{digest}");
    let size = |size: usize| {
        let config = serde_json::json!({"digest": digest, "size": size});
        serde_json::json!({"schemaVersion": 2, "config": config}).to_string()
    };
    // One whose size is another is missed at once.
    std::fs::write(&file, &content[1..]).expect("damaged");
    assert_eq!(case.send("HEAD", &path, &[], b"").await.status(), 404);
    let put = case.send("PUT", "a/manifests/1", &[], size(200_000).as_bytes()).await;
    assert_error(put, 400, "MANIFEST_BLOB_UNKNOWN").await;
    case.upload("a", &content).await;
    // One whose size is right is missed once somebody has read it.
    let mut damaged = content.clone();
    damaged[100_000] = b'y';
    std::fs::write(&file, &damaged).expect("damaged");
    assert_eq!(case.send("HEAD", &path, &[], b"").await.status(), 200);
    // It breaks off, at the latest before its last bytes.
    if let Ok(response) = case.http.get(case.served.url(&path)).send().await {
        assert!(response.bytes().await.is_err());
    }
    assert_eq!(case.send("HEAD", &path, &[], b"").await.status(), 404);
    case.upload("a", &content).await;
    assert_eq!(
        case.send("PUT", "a/manifests/1", &[], size(200_000).as_bytes()).await.status(),
        201
    );
    // Pushed again without a look, it is whole again as well.
    std::fs::write(&file, &damaged).expect("damaged");
    case.upload("a", &content).await;
    let response = case.send("GET", &path, &[], b"").await;
    assert_eq!(response.bytes().await.expect("whole"), content);
}

#[tokio::test]
async fn a_blob_that_was_cut_while_nobody_served_it_is_missed_by_its_manifest() {
    let case = Case::new().await;
    let digest = case.upload("a", b"whole").await;
    let file = case.served.dir.path().join("blobs/sha256").join(digest.hex());
    std::fs::write(&file, b"who").expect("damaged");
    let again = Case { served: Served::on(case.served.dir.clone()).await, http: http() };
    assert_eq!(again.send("HEAD", &format!("a/blobs/{digest}"), &[], b"").await.status(), 200);
    let config = serde_json::json!({"digest": digest, "size": 5});
    let manifest = serde_json::json!({"schemaVersion": 2, "config": config}).to_string();
    let put = again.send("PUT", "a/manifests/1", &[], manifest.as_bytes()).await;
    assert_error(put, 400, "MANIFEST_BLOB_UNKNOWN").await;
    assert_eq!(again.send("HEAD", &format!("a/blobs/{digest}"), &[], b"").await.status(), 404);
    again.upload("a", b"whole").await;
    let put = again.send("PUT", "a/manifests/1", &[], manifest.as_bytes()).await;
    assert_eq!(put.status(), 201);
}

#[tokio::test]
async fn a_blob_is_uploaded_at_once_and_in_two_steps() {
    let case = Case::new().await;
    let digest = case.upload("a", b"at once").await;
    let response = case.send("HEAD", &format!("a/blobs/{digest}"), &[], b"").await;
    assert_eq!(
        (response.status().as_u16(), header(&response, "content-length")),
        (200, "7".into())
    );
    assert_eq!(header(&response, "docker-content-digest"), digest.to_string());

    let location = case.begin().await;
    let digest = Digest::of(b"two steps");
    let path = format!("{location}?digest={digest}");
    let response = case.send("PUT", &path, &[], b"two steps").await;
    assert_eq!(response.status(), 201);
    let response = case.send("GET", &header(&response, "location"), &[], b"").await;
    assert_eq!(response.bytes().await.expect("a body"), "two steps");
    let unknown = format!("a/blobs/{}", Digest::of(b"absent"));
    assert_error(case.send("GET", &unknown, &[], b"").await, 404, "BLOB_UNKNOWN").await;
    let elsewhere = format!("b/blobs/{digest}");
    assert_error(case.send("GET", &elsewhere, &[], b"").await, 404, "BLOB_UNKNOWN").await;
}

#[tokio::test]
async fn chunks_come_in_order() {
    let case = Case::new().await;
    let location = case.begin().await;
    let response = case.send("PATCH", &location, &[("content-range", "0-4")], b"01234").await;
    assert_eq!(
        (response.status().as_u16(), header(&response, RANGE.as_str())),
        (202, "0-4".into())
    );
    let response = case.send("GET", &location, &[], b"").await;
    assert_eq!(
        (response.status().as_u16(), header(&response, RANGE.as_str())),
        (204, "0-4".into())
    );
    for (range, status) in [("0-4", 416), ("6-7", 416), ("5-9", 400), ("x-y", 400)] {
        let response =
            case.send("PATCH", &location, &[(CONTENT_RANGE.as_str(), range)], b"56").await;
        assert_eq!(response.status(), status, "{range}");
        if status == 416 {
            assert_eq!(header(&response, RANGE.as_str()), "0-4");
        }
    }
    assert_eq!(case.send("PATCH", &location, &[], b"567").await.status(), 202);
    let digest = Digest::of(b"0123456789");
    let path = format!("{location}?digest={digest}");
    let response = case.send("PUT", &path, &[("content-range", "8-9")], b"89").await;
    assert_eq!(response.status(), 201);
    let gone = case.send("GET", &location, &[], b"").await;
    assert_error(gone, 404, "BLOB_UPLOAD_UNKNOWN").await;
    let response = case.send("GET", &format!("a/blobs/{digest}"), &[], b"").await;
    assert_eq!(response.text().await.expect("a body"), "0123456789");
}

#[tokio::test]
async fn an_upload_that_lies_or_is_cancelled_leaves_nothing() {
    let case = Case::new().await;
    let location = case.begin().await;
    let path = format!("{location}?digest={}", Digest::of(b"promised"));
    assert_error(case.send("PUT", &path, &[], b"delivered").await, 400, "DIGEST_INVALID").await;
    let location = case.begin().await;
    assert_error(case.send("PUT", &location, &[], b"").await, 400, "DIGEST_INVALID").await;
    let path = format!("{location}?digest=sha256:short");
    assert_error(case.send("PUT", &path, &[], b"").await, 400, "DIGEST_INVALID").await;
    assert_eq!(case.send("DELETE", &location, &[], b"").await.status(), 204);
    assert_error(case.send("PATCH", &location, &[], b"x").await, 404, "BLOB_UPLOAD_UNKNOWN").await;
    let path = format!("a/blobs/uploads/?digest={}", Digest::of(b"promised"));
    assert_error(case.send("POST", &path, &[], b"delivered").await, 400, "DIGEST_INVALID").await;
    let other = location.replacen("/a/", "/b/", 1);
    assert_error(case.send("GET", &other, &[], b"").await, 404, "BLOB_UPLOAD_UNKNOWN").await;
    assert_eq!(case.served.files("blobs"), 0);
}

#[tokio::test]
async fn a_client_that_goes_away_may_come_back() {
    let case = Case::new().await;
    let location = case.begin().await;
    let head =
        format!("PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nfirst part");
    let mut stream = tokio::net::TcpStream::connect(case.served.address).await.expect("connected");
    stream.write_all(head.as_bytes()).await.expect("sent");
    // Half closed, the server answers that the body ended early; then all of it has arrived.
    stream.shutdown().await.expect("closed");
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    let _ = tokio::time::timeout(PATIENCE, reading).await.expect("the server hangs up");
    let resume = async {
        loop {
            let response = case.send("GET", &location, &[], b"").await;
            // While the server has not noticed, the upload is still being written.
            if response.status() == 204 && header(&response, RANGE.as_str()) == "0-9" {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, resume).await.expect("the upload can be resumed");
    let digest = Digest::of(b"first part, second part");
    let path = format!("{location}?digest={digest}");
    assert_eq!(case.send("PUT", &path, &[], b", second part").await.status(), 201);
}

#[tokio::test]
async fn uploads_are_bounded_in_size_and_number() {
    let case = Case::new().await;
    let location = case.begin().await;
    let too_much = (registry::server::BLOB_MAX_BYTES + 1).to_string();
    let mut stream = tokio::net::TcpStream::connect(case.served.address).await.expect("connected");
    let head =
        format!("PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: {too_much}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = vec![0; 12];
    let reading = stream.read_exact(&mut answer);
    tokio::time::timeout(PATIENCE, reading).await.expect("in time").expect("answered");
    assert_eq!(answer, b"HTTP/1.1 413");
    let zeros = vec![0; registry::server::BLOB_MAX_BYTES as usize + 1];
    let chunks = futures_util::stream::iter(
        zeros.chunks(1 << 20).map(|c| Ok::<_, std::io::Error>(c.to_vec())).collect::<Vec<_>>(),
    );
    let url = format!("http://{}{location}", case.served.address);
    let request = case.http.patch(url).body(reqwest::Body::wrap_stream(chunks));
    // The server may hang up before all was sent, which is its right.
    if let Ok(response) = request.send().await {
        assert_error(response, 413, "SIZE_INVALID").await;
    }
    let gone = case.send("GET", &location, &[], b"").await;
    assert_error(gone, 404, "BLOB_UPLOAD_UNKNOWN").await;

    // Whoever begins many and leaves keeps nobody out, and is told that they are gone.
    let first = case.begin().await;
    for _ in 0..100 {
        case.begin().await;
    }
    let gone = case.send("PATCH", &first, &[], b"x").await;
    assert_error(gone, 404, "BLOB_UPLOAD_UNKNOWN").await;
    assert!(case.served.files(".tmp-") <= 64);
    case.upload("a", b"pushed all the same").await;
}

#[tokio::test]
async fn ranges_are_served() {
    let case = Case::new().await;
    let digest = case.upload("a", b"0123456789").await;
    let path = format!("a/blobs/{digest}");
    let response = case.send("GET", &path, &[("range", "bytes=2-5")], b"").await;
    assert_eq!(response.status(), 206);
    assert_eq!(header(&response, CONTENT_RANGE.as_str()), "bytes 2-5/10");
    assert_eq!(header(&response, CONTENT_LENGTH.as_str()), "4");
    assert_eq!(response.text().await.expect("a body"), "2345");
    let response = case.send("GET", &path, &[("range", "bytes=-3")], b"").await;
    assert_eq!(response.text().await.expect("a body"), "789");
    let response = case.send("GET", &path, &[("range", "bytes=10-")], b"").await;
    assert_eq!(header(&response, CONTENT_RANGE.as_str()), "bytes */10");
    assert_eq!(response.status(), 416);
    let response = case.send("GET", &path, &[("range", "bytes=0-1,3-4")], b"").await;
    assert_eq!(response.text().await.expect("a body"), "0123456789");
}

#[tokio::test]
async fn blobs_are_mounted_from_other_repositories() {
    let case = Case::new().await;
    let digest = case.upload("a", b"shared").await;
    let mount = |from: &str, digest: Digest| format!("b/blobs/uploads/?mount={digest}&from={from}");
    let response = case.send("POST", &mount("a", digest), &[], b"").await;
    assert_eq!(response.status(), 201);
    assert_eq!(header(&response, "location"), format!("/v2/b/blobs/{digest}"));
    assert_eq!(case.send("HEAD", &format!("b/blobs/{digest}"), &[], b"").await.status(), 200);
    for (from, digest) in [("a", Digest::of(b"absent")), ("c", digest), ("../a", digest)] {
        assert_eq!(case.send("POST", &mount(from, digest), &[], b"").await.status(), 202);
    }
}

#[tokio::test]
async fn a_blob_is_deleted_unless_a_manifest_needs_it() {
    let case = Case::new().await;
    let digest = case.upload("a", b"blob").await;
    case.upload("b", b"blob").await;
    let path = format!("a/blobs/{digest}");
    assert_eq!(case.send("DELETE", &path, &[], b"").await.status(), 202);
    assert_error(case.send("DELETE", &path, &[], b"").await, 404, "BLOB_UNKNOWN").await;
    assert_eq!(case.send("HEAD", &format!("b/blobs/{digest}"), &[], b"").await.status(), 200);
    let manifest = serde_json::json!({"schemaVersion": 2, "config": {"digest": digest}});
    let body = manifest.to_string();
    let response = case.send("PUT", "b/manifests/1", &[], body.as_bytes()).await;
    assert_eq!(response.status(), 201);
    let response = case.send("DELETE", &format!("b/blobs/{digest}"), &[], b"").await;
    assert_error(response, 405, "UNSUPPORTED").await;
}

#[tokio::test]
async fn concurrent_uploads_of_one_blob_all_succeed() {
    let case = Case::new().await;
    let content = vec![7; 300_000];
    let uploads = (0..8).map(|_| case.upload("a", &content));
    let digests = futures_util::future::join_all(uploads).await;
    assert!(digests.iter().all(|digest| *digest == digests[0]));
    assert_eq!(case.served.files("blobs/sha256"), 1);
}
