//! Blobs: download, in parts if asked for, and deletion.

use std::io::{Seek as _, SeekFrom};

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, StatusCode, header};
use tokio::io::AsyncReadExt as _;
use tokio_util::io::ReaderStream;

use super::failure::Failure;
use super::range::{self, Asked};
use super::{Server, collect};
use crate::clock;
use crate::digest::Digest;

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
    let (status, length, content_range) = match asked {
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
    let reader = tokio::fs::File::from_std(file).take(length);
    let body = Body::from_stream(ReaderStream::with_capacity(reader, READ_CHUNK_BYTES));
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
                        return Err(Failure::new(status, "UNSUPPORTED", message));
                    }
                }
                storage.unlink_blob(&repository, &digest)?;
            }
            Ok(collect::collect(storage, clock::now())?)
        })
        .await?;
    Ok(StatusCode::ACCEPTED.into_response())
}
