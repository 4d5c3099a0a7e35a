//! Bodies that say how much of them was sent.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use futures_util::stream;
use http::header;
use reqwest::{Body, RequestBuilder};

/// What is handed to the connection at once. Smaller bodies are sent as they are.
const CHUNK: usize = 64 << 10;

/// The body of a request, and how much of it the connection has taken.
#[derive(Clone)]
pub(super) struct Upload {
    content: Bytes,
    taken_bytes: Arc<AtomicU64>,
}

impl Upload {
    pub(super) fn new(content: Bytes) -> Self {
        Self { content, taken_bytes: Arc::default() }
    }

    /// Bytes that the connection has taken.
    pub(super) fn taken_bytes(&self) -> u64 {
        self.taken_bytes.load(Relaxed)
    }

    /// Puts the body on a request. A request that is sent again begins to count again.
    pub(super) fn put_on(&self, request: RequestBuilder) -> RequestBuilder {
        if self.content.len() <= CHUNK {
            return request.body(self.content.clone());
        }
        self.taken_bytes.store(0, Relaxed);
        let begin = (self.content.clone(), Arc::clone(&self.taken_bytes));
        let chunks = stream::unfold(begin, |(mut rest, taken)| async move {
            let chunk = rest.split_to(rest.len().min(CHUNK));
            taken.fetch_add(chunk.len() as u64, Relaxed);
            (!chunk.is_empty()).then_some((Ok::<_, Infallible>(chunk), (rest, taken)))
        });
        // Registries want to know the length of a blob that is sent as a whole.
        let request = request.header(header::CONTENT_LENGTH, self.content.len());
        request.body(Body::wrap_stream(chunks))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn every_byte_is_sent_and_counted_each_time() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let content: Bytes = (0..CHUNK * 2 + 7).map(|n| n as u8).collect::<Vec<_>>().into();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        let upload = Upload::new(content.clone());
        for _ in 0..2 {
            let http = reqwest::Client::builder().no_proxy().build().expect("a client");
            let sending = tokio::spawn(upload.put_on(http.put(&url)).send());
            let (mut connection, _) = listener.accept().await.expect("a connection");
            let mut received = Vec::new();
            while !received.ends_with(&content) {
                assert_ne!(connection.read_buf(&mut received).await.expect("bytes"), 0);
            }
            let head = String::from_utf8_lossy(&received[..received.len() - content.len()]);
            assert!(head.contains(&format!("content-length: {}\r\n", content.len())), "{head}");
            assert_eq!(upload.taken_bytes(), content.len() as u64);
            let answer = b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n";
            connection.write_all(answer).await.expect("sent");
            assert_eq!(sending.await.expect("no panic").expect("an answer").status(), 201);
        }
    }
}
