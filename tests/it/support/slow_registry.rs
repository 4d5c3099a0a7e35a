//! A registry that has one image, and gives half of it until it is told to give the rest.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

use registry::Digest;
use serde_json::json;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// What the registry has, and whether it gives all of it.
struct Image {
    wasm: Vec<u8>,
    manifest: Vec<u8>,
    may_finish: Mutex<bool>,
    told: Condvar,
}

/// A running registry, until the test process ends.
pub struct SlowRegistry {
    pub address: SocketAddr,
    image: Arc<Image>,
}

impl SlowRegistry {
    pub fn start(wasm: &[u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let layer = json!({
            "mediaType": "application/wasm", "digest": Digest::of(wasm), "size": wasm.len()
        });
        let kind = "application/vnd.wasm.config.v0+json";
        let config = json!({ "mediaType": kind, "digest": Digest::of(b"{}"), "size": 2 });
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]
        });
        let manifest = manifest.to_string().into_bytes();
        let (may_finish, told) = Default::default();
        let image = Arc::new(Image { wasm: wasm.to_vec(), manifest, may_finish, told });
        let shared = Arc::clone(&image);
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let image = Arc::clone(&shared);
                std::thread::spawn(move || image.answer(connection));
            }
        });
        Self { address, image }
    }

    pub fn give_the_rest(&self) {
        *self.image.may_finish.lock().expect("no panic") = true;
        self.image.told.notify_all();
    }
}

impl Image {
    /// Answers one request. What a client does that goes away does not matter here.
    fn answer(&self, mut connection: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(connection.try_clone()?).lines();
        let first = lines.next().transpose()?.unwrap_or_default();
        while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
        let (kind, body) = match first.split(' ').nth(1).unwrap_or_default() {
            path if path.contains("/manifests/") => (MANIFEST, self.manifest.as_slice()),
            path if path.contains("/blobs/") => ("application/octet-stream", &*self.wasm),
            _ => ("application/json", b"{}".as_slice()),
        };
        let (length, digest) = (body.len(), Digest::of(body));
        write!(
            connection,
            "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\
             docker-content-digest: {digest}\r\nconnection: close\r\n\r\n"
        )?;
        if first.starts_with("HEAD ") {
            return Ok(());
        }
        let (half, rest) = body.split_at(length / 2);
        connection.write_all(half)?;
        if first.contains("/blobs/") {
            let waits = |may_finish: &mut bool| !*may_finish;
            let may_finish = self.may_finish.lock().expect("no panic");
            drop(self.told.wait_while(may_finish, waits).expect("no panic"));
        }
        connection.write_all(rest)
    }
}
