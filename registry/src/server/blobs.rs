//! Blobs: download, in parts if asked for, and deletion.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt as _};
use http::{HeaderValue, StatusCode, header};
use tokio::io::{AsyncReadExt as _, Take};
use tokio_util::io::ReaderStream;

use super::failure::Failure;
use super::range::{self, Asked};
use super::{Server, collect};
use crate::clock;
use crate::digest::{Digest, Hasher};

/// How much of a blob is read at a time, in bytes.
const READ_CHUNK_BYTES: usize = 64 << 10;

/// `GET` and `HEAD /v2/<name>/blobs/<digest>`.
pub(super) async fn get(
    server: &Server,
    repository: String,
    digest: Digest,
    range: Option<HeaderValue>,
) -> Result<Response, Failure> {
    let (file, size, asked) = server
        .blocking(move |shared| {
            let unknown = || Failure::blob_unknown(&digest);
            let storage = &shared.storage;
            let _gate = storage.adding();
            if !storage.has_blob(&repository, &digest) {
                return Err(unknown());
            }
            // A client that is told so may rely on it in a push.
            storage.touch_blob(&repository, &digest, clock::now());
            let mut file = storage.blobs.get(&digest)?.ok_or_else(unknown)?;
            let size = storage.blobs.size(&digest).ok_or_else(unknown)?;
            let asked = range::asked(range.as_ref().and_then(|value| value.to_str().ok()), size);
            if let Asked::Part(part) = &asked {
                file.seek(SeekFrom::Start(*part.start())).map_err(|source| {
                    crate::content::Error::at(&storage.blobs.path(&digest), source)
                })?;
            }
            Ok((file, size, asked))
        })
        .await?;
    let (status, length, content_range) = match &asked {
        Asked::Whole => (StatusCode::OK, size, None),
        Asked::Part(part) => {
            let (first, last) = (*part.start(), *part.end());
            let content_range = format!("bytes {first}-{last}/{size}");
            (StatusCode::PARTIAL_CONTENT, last - first + 1, Some(content_range))
        }
        Asked::Unsatisfiable => {
            let message = format!("the blob has {size} bytes");
            let failure = Failure::new(StatusCode::RANGE_NOT_SATISFIABLE, "SIZE_INVALID", message);
            return Err(failure.with_header("content-range", format!("bytes */{size}")));
        }
    };
    let body = match asked {
        Asked::Whole => Body::from_stream(verified(server.clone(), digest, file, length)),
        _ => Body::from_stream(chunks(file, length)),
    };
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        (header::ETAG, format!("\"{digest}\"")),
        (header::HeaderName::from_static("docker-content-digest"), digest.to_string()),
    ];
    let content_range = content_range.map(|value| [(header::CONTENT_RANGE, value)]);
    Ok((status, headers, content_range, body).into_response())
}

fn chunks(file: File, length: u64) -> ReaderStream<Take<tokio::fs::File>> {
    let reader = tokio::fs::File::from_std(file).take(length);
    ReaderStream::with_capacity(reader, READ_CHUNK_BYTES)
}

/// A whole blob, which is verified on its way. A damaged one breaks off before its last bytes and
/// goes, so that whoever pushes it again is told that it is missing.
fn verified(
    server: Server,
    digest: Digest,
    file: File,
    length: u64,
) -> impl Stream<Item = io::Result<Bytes>> {
    let start = (chunks(file, length), Hasher::new(), length);
    stream::try_unfold(start, move |(mut chunks, mut hasher, left)| {
        let server = server.clone();
        async move {
            let chunk = chunks.next().await.transpose()?.unwrap_or_default();
            hasher.update(&chunk);
            let left = left - chunk.len() as u64;
            let is_last = left == 0 || chunk.is_empty();
            if is_last && (left > 0 || hasher.clone().finish() != digest) {
                let _ =
                    server.blocking(move |shared| Ok(shared.storage.blobs.check(&digest)?)).await;
                return Err(io::Error::other("the stored blob was damaged"));
            }
            Ok((!chunk.is_empty()).then_some((chunk, (chunks, hasher, left))))
        }
    })
}

/// `DELETE /v2/<name>/blobs/<digest>`. A blob that a manifest of the repository needs is not
/// deleted: the specification leaves that to the registry, and the image would be broken.
pub(super) async fn delete(
    server: &Server,
    repository: String,
    digest: Digest,
) -> Result<Response, Failure> {
    server
        .blocking(move |shared| {
            let storage = &shared.storage;
            {
                let _gate = storage.collecting();
                if !storage.has_blob(&repository, &digest) {
                    return Err(Failure::blob_unknown(&digest));
                }
                for manifest in storage.manifests(&repository)? {
                    let document = storage.document(&repository, &manifest)?;
                    if document.is_some_and(|d| d.references().any(|blob| blob == digest)) {
                        let message = format!("the manifest {manifest} needs this blob");
                        let status = StatusCode::METHOD_NOT_ALLOWED;
                        return Err(Failure::new(status, "UNSUPPORTED", message)
                            .with_header("allow", "GET, HEAD".to_owned()));
                    }
                }
                storage.unlink_blob(&repository, &digest)?;
            }
            Ok(collect::collect(storage, clock::now())?)
        })
        .await?;
    Ok(StatusCode::ACCEPTED.into_response())
}
