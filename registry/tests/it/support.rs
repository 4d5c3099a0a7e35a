//! What the tests share. Every wait is bounded, every port is free, and only processes that a
//! test started itself are ended.

pub(crate) mod programs;
pub(crate) mod scripted;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use registry::{Client, ClientConfig, ContentStore, Digest, Progress, Reference, Server};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The longest that any single step may take; a bound, not an expectation.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A server of ours on a free port; it ends with this value.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    pub(crate) dir: Arc<TempDir>,
    task: JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Served {
    /// A fresh registry.
    pub(crate) async fn new() -> Self {
        Self::on(Arc::new(scratch())).await
    }

    /// A registry on a folder that may hold something already.
    pub(crate) async fn on(dir: Arc<TempDir>) -> Self {
        let server = Server::open(dir.path()).expect("the registry opens");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let router = server.router();
        let task = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("the listener works");
        });
        Self { address, dir, task }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}/v2/{path}", self.address)
    }

    pub(crate) fn reference(&self, name: &str) -> Reference {
        reference(&format!("{}/{name}", self.address))
    }

    /// How many files are below the folder, by a part of their path.
    pub(crate) fn files(&self, part: &str) -> usize {
        fn count(folder: &Path, part: &str) -> usize {
            let entries = std::fs::read_dir(folder).expect("readable");
            entries
                .map(|entry| {
                    let path = entry.expect("readable").path();
                    if path.is_dir() {
                        count(&path, part)
                    } else {
                        path.to_string_lossy().contains(part).into()
                    }
                })
                .sum()
        }
        count(self.dir.path(), part)
    }
}

pub(crate) fn scratch() -> TempDir {
    tempfile::tempdir().expect("a scratch folder")
}

pub(crate) fn reference(text: &str) -> Reference {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// A plain HTTP client.
pub(crate) fn http() -> reqwest::Client {
    // Each test may be a process of its own.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().timeout(PATIENCE).build().expect("a client")
}

/// A client without any credentials of whoever runs the tests.
pub(crate) fn client() -> Client {
    client_with(ClientConfig::default())
}

/// A client that logs in with this Docker configuration.
pub(crate) fn client_with_login(config: &Path) -> Client {
    let docker_config = Some(config.to_owned());
    client_with(ClientConfig { docker_config, ..ClientConfig::default() })
}

pub(crate) fn client_with(mut config: ClientConfig) -> Client {
    config.docker_config.get_or_insert("/nonexistent/docker/config.json".into());
    Client::new(config).expect("a client")
}

/// A content store with plenty of room.
pub(crate) fn store() -> (ContentStore, TempDir) {
    let dir = scratch();
    (ContentStore::open(dir.path(), 1 << 30).expect("the store opens"), dir)
}

/// A core module with a custom section of `length` bytes that do not compress.
pub(crate) fn wasm(seed: u64, length: usize) -> Bytes {
    let mut content = vec![1, b'x'];
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for _ in 0..length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        content.push(state as u8);
    }
    let mut module = b"\0asm\x01\0\0\0\0".to_vec();
    let mut rest = content.len();
    while rest >= 0x80 {
        module.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    module.push(rest as u8);
    module.extend_from_slice(&content);
    module.into()
}

/// Collects the progress of a transfer.
#[derive(Default)]
pub(crate) struct Reports(Mutex<Vec<Progress>>);

impl Reports {
    pub(crate) fn add(&self, progress: Progress) {
        self.0.lock().expect("no test panics here").push(progress);
    }

    /// How many blobs were transferred to their end.
    pub(crate) fn transferred(&self) -> usize {
        let reports = self.0.lock().expect("no test panics here");
        let is_end = |report: &&Progress| {
            matches!(report, Progress::Blob { done_bytes, total_bytes, .. }
                if done_bytes == total_bytes)
        };
        reports.iter().filter(is_end).count()
    }
}

/// Pulls, within the patience of the tests.
pub(crate) async fn pull(
    client: &Client,
    reference: &Reference,
    store: &ContentStore,
) -> registry::client::Result<registry::Artifact> {
    tokio::time::timeout(PATIENCE, client.pull(reference, store, &|_| ()))
        .await
        .expect("the pull ends")
}

/// Pushes, within the patience of the tests.
pub(crate) async fn push(
    client: &Client,
    reference: &Reference,
    wasm: Bytes,
) -> registry::client::Result<Digest> {
    tokio::time::timeout(PATIENCE, client.push(reference, wasm, &|_| ()))
        .await
        .expect("the push ends")
}

/// A Docker configuration with one login.
pub(crate) fn login(registry: &str, username: &str, password: &str) -> TempDir {
    let dir = scratch();
    let entry = serde_json::json!({"username": username, "password": password});
    let config = serde_json::json!({"auths": {registry: entry}});
    std::fs::write(dir.path().join("config.json"), config.to_string()).expect("written");
    dir
}

/// A tar archive with these regular files.
pub(crate) fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append_data(&mut header, name, *content).expect("memory takes it");
    }
    builder.into_inner().expect("memory takes it")
}

pub(crate) fn gzip(content: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(content).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}
