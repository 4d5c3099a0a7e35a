//! Uploads over HTTP: at once, in two steps, in chunks, or by mounting.
//!
//! *Invariant:* what arrives goes to a temporary file as it comes; memory holds a few chunks.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Query, Request};
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use http::{HeaderMap, HeaderName, StatusCode, header};

use super::failure::Failure;
use super::uploads::{Full, Session, UPLOADS_MAX};
use super::{BLOB_MAX_BYTES, Server, path, range};
use crate::clock;
use crate::content::feed::Feed;
use crate::digest::Digest;
use crate::reference::is_repository;

/// How long a client may be silent in the middle of a body, which holds a blocking thread.
const BODY_IDLE_MAX: Duration = Duration::from_secs(60);

/// How much of a body is read after its writer has failed: as much as the largest component.
const DISCARDED_BYTES_MAX: usize = 256 << 20;

type Parameters = HashMap<String, String>;

/// `POST /v2/<name>/blobs/uploads/`: with `mount`, with `digest`, or as a beginning.
pub(super) async fn begin(
    server: &Server,
    repository: String,
    request: Request,
) -> Result<Response, Failure> {
    let parameters = parameters(&request)?;
    if let (Some(digest), Some(from)) = (parameters.get("mount"), parameters.get("from")) {
        let digest = path::digest(digest)?;
        if mount(server, from.clone(), repository.clone(), digest).await? {
            return Ok(created(&repository, &digest));
        }
    }
    // A bad digest is refused before anything is sent.
    let whole = parameters.get("digest").map(|digest| path::digest(digest)).transpose()?;
    let owned = repository.clone();
    let id = server
        .blocking(move |shared| {
            let writer = shared.storage.blobs.writer(None, BLOB_MAX_BYTES)?;
            shared.uploads.begin(&owned, writer, clock::now()).map_err(|Full| {
                let message = format!("{UPLOADS_MAX} uploads are being written; try again later");
                let status = StatusCode::TOO_MANY_REQUESTS;
                Failure::new(status, "TOOMANYREQUESTS", message)
                    .with_header("retry-after", "5".to_owned())
            })
        })
        .await?;
    match whole {
        None => Ok(progress(StatusCode::ACCEPTED, &repository, &id, 0)),
        Some(digest) => {
            let outcome = complete(server, &repository, &id, digest, request).await;
            server.shared.uploads.remove(&id);
            outcome
        }
    }
}

/// `GET /v2/<name>/blobs/uploads/<id>`.
pub(super) fn status(server: &Server, repository: &str, id: &str) -> Result<Response, Failure> {
    let session = session(server, repository, id)?;
    let written = session.written_bytes().ok_or_else(busy)?;
    Ok(progress(StatusCode::NO_CONTENT, repository, id, written))
}

/// `PATCH /v2/<name>/blobs/uploads/<id>`.
pub(super) async fn append(
    server: &Server,
    repository: &str,
    id: &str,
    request: Request,
) -> Result<Response, Failure> {
    let session = session(server, repository, id)?;
    let written = receive(server, repository, id, &session, request).await?;
    Ok(progress(StatusCode::ACCEPTED, repository, id, written))
}

/// `PUT /v2/<name>/blobs/uploads/<id>?digest=`: the end, perhaps with a last chunk.
pub(super) async fn finish(
    server: &Server,
    repository: &str,
    id: &str,
    request: Request,
) -> Result<Response, Failure> {
    let parameters = parameters(&request)?;
    let Some(digest) = parameters.get("digest") else {
        return Err(Failure::digest_invalid("the parameter `digest` is missing"));
    };
    let digest = path::digest(digest)?;
    complete(server, repository, id, digest, request).await
}

/// `DELETE /v2/<name>/blobs/uploads/<id>`.
pub(super) fn cancel(server: &Server, repository: &str, id: &str) -> Result<Response, Failure> {
    session(server, repository, id)?;
    server.shared.uploads.remove(id);
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn mount(server: &Server, from: String, to: String, digest: Digest) -> Result<bool, Failure> {
    if !is_repository(&from) {
        return Ok(false);
    }
    server.blocking(move |shared| Ok(shared.storage.mount_blob(&from, &to, &digest)?)).await
}

async fn complete(
    server: &Server,
    repository: &str,
    id: &str,
    digest: Digest,
    request: Request,
) -> Result<Response, Failure> {
    let session = session(server, repository, id)?;
    receive(server, repository, id, &session, request).await?;
    // From here on the upload either becomes the blob or is gone.
    let mut writer = session.take().ok_or_else(busy)?;
    server.shared.uploads.remove(id);
    writer.expect(digest);
    let owned = repository.to_owned();
    server.blocking(move |shared| Ok(shared.storage.commit_blob(&owned, writer)?)).await?;
    Ok(created(repository, &digest))
}

/// Takes the body of the request; returns how much has arrived in all.
async fn receive(
    server: &Server,
    repository: &str,
    id: &str,
    session: &Arc<Session>,
    request: Request,
) -> Result<u64, Failure> {
    let written = session.written_bytes().ok_or_else(busy)?;
    check_chunk(request.headers(), repository, id, written)?;
    let (writer, owner) = (session.take().ok_or_else(busy)?, session.clone());
    let feed = Feed::start(writer, move |writer| owner.put_back(writer, clock::now()));
    let sent = send(&feed, request.into_body()).await;
    if let Err(error) = feed.finish().await {
        // Too large, or a disk that failed: nothing that the client can continue.
        server.shared.uploads.remove(id);
        return Err(error.into());
    }
    sent?;
    session.written_bytes().ok_or_else(busy)
}

/// Hands the body over, as far as it comes. What came before a failure stays, so that the
/// client can ask for the status and continue. What nobody takes any more is thrown away up to a
/// bound: a client that still sends would meet a closed connection instead of the answer.
async fn send(feed: &Feed<()>, body: Body) -> Result<(), Failure> {
    let mut chunks = body.into_data_stream();
    let mut discarded_bytes = 0;
    loop {
        match tokio::time::timeout(BODY_IDLE_MAX, chunks.next()).await {
            Ok(None) => return Ok(()),
            Ok(Some(Ok(chunk))) => {
                let bytes = chunk.len();
                if discarded_bytes > 0 || !feed.send(chunk).await {
                    discarded_bytes += bytes;
                }
                if discarded_bytes > DISCARDED_BYTES_MAX {
                    return Ok(());
                }
            }
            Ok(Some(Err(_))) => return Err(Failure::upload_invalid("the body ended early")),
            Err(_) => return Err(Failure::upload_invalid("the body stopped coming")),
        }
    }
}

/// Chunks come in order, and are as long as they say.
fn check_chunk(
    headers: &HeaderMap,
    repository: &str,
    id: &str,
    written: u64,
) -> Result<(), Failure> {
    let text = |name| headers.get(name).map(|v: &http::HeaderValue| v.to_str().unwrap_or("?"));
    let length = text(header::CONTENT_LENGTH).and_then(|text| text.parse::<u64>().ok());
    if length.is_some_and(|length| length.saturating_add(written) > BLOB_MAX_BYTES) {
        return Err(Failure::too_large("blob", BLOB_MAX_BYTES));
    }
    let Some(content_range) = text(header::CONTENT_RANGE) else {
        return Ok(());
    };
    let malformed = || Failure::upload_invalid("Content-Range is not <first>-<last>");
    let chunk = range::chunk(content_range).ok_or_else(malformed)?;
    if *chunk.start() != written {
        let message = format!("{written} bytes have arrived; the chunk starts elsewhere");
        let status = StatusCode::RANGE_NOT_SATISFIABLE;
        return Err(Failure::new(status, "BLOB_UPLOAD_INVALID", message)
            .with_header("range", arrived(written))
            .with_header("location", location(repository, id)));
    }
    if length.is_some_and(|length| length != chunk.end() - chunk.start() + 1) {
        let message = "Content-Range and Content-Length do not agree";
        return Err(Failure::new(StatusCode::BAD_REQUEST, "SIZE_INVALID", message));
    }
    Ok(())
}

fn session(server: &Server, repository: &str, id: &str) -> Result<Arc<Session>, Failure> {
    server.shared.uploads.get(repository, id, clock::now()).ok_or_else(Failure::upload_unknown)
}

fn parameters(request: &Request) -> Result<Parameters, Failure> {
    Query::<Parameters>::try_from_uri(request.uri())
        .map(|Query(parameters)| parameters)
        .map_err(|_| Failure::upload_invalid("the query is malformed"))
}

fn busy() -> Failure {
    let message = "another request is writing to this upload";
    Failure::new(StatusCode::CONFLICT, "BLOB_UPLOAD_INVALID", message)
}

fn location(repository: &str, id: &str) -> String {
    format!("/v2/{repository}/blobs/uploads/{id}")
}

/// The range that has arrived, as the specification writes it; nothing is `0-0` as well.
fn arrived(written: u64) -> String {
    format!("0-{}", written.saturating_sub(1))
}

fn progress(status: StatusCode, repository: &str, id: &str, written: u64) -> Response {
    let headers = [
        (header::LOCATION, location(repository, id)),
        (header::RANGE, arrived(written)),
        (header::CONTENT_LENGTH, "0".to_owned()),
        (HeaderName::from_static("docker-upload-uuid"), id.to_owned()),
    ];
    (status, headers).into_response()
}

fn created(repository: &str, digest: &Digest) -> Response {
    let headers = [
        (header::LOCATION, format!("/v2/{repository}/blobs/{digest}")),
        (HeaderName::from_static("docker-content-digest"), digest.to_string()),
    ];
    (StatusCode::CREATED, headers).into_response()
}
