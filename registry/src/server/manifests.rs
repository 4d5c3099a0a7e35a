//! Manifests by tag and by digest.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::{HeaderName, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use super::document::Document;
use super::failure::Failure;
use super::path::Selector;
use super::storage::Put;
use super::{Server, collect};
use crate::artifact::MANIFEST_MAX_BYTES;
use crate::clock;
use crate::digest::Digest;

/// How long the body of a manifest may take: 4 MiB at 1 Mbit/s.
const BODY_TIMEOUT: Duration = Duration::from_secs(40);

/// `GET` and `HEAD /v2/<name>/manifests/<reference>`.
pub(super) async fn get(
    server: &Server,
    repository: String,
    reference: Selector,
) -> Result<Response, Failure> {
    let manifest = server
        .blocking(move |shared| {
            let found = shared.storage.manifest(&repository, &reference)?;
            found.ok_or_else(|| Failure::manifest_unknown(&reference))
        })
        .await?;
    let headers = [
        (header::CONTENT_TYPE, manifest.media_type),
        (header::CONTENT_LENGTH, manifest.content.len().to_string()),
        (header::ETAG, format!("\"{}\"", manifest.digest)),
        (HeaderName::from_static("docker-content-digest"), manifest.digest.to_string()),
    ];
    Ok((StatusCode::OK, headers, manifest.content).into_response())
}

/// `PUT /v2/<name>/manifests/<reference>`.
pub(super) async fn put(
    server: &Server,
    repository: String,
    reference: Selector,
    request: Request,
) -> Result<Response, Failure> {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok()).map(str::to_owned);
    let content = read(request.into_body()).await?;
    let digest = Digest::of(&content);
    let tag = match &reference {
        Selector::Tag(tag) => Some(tag.clone()),
        Selector::Digest(expected) if *expected == digest => None,
        Selector::Digest(expected) => {
            let message = format!("the manifest has digest {digest}, not {expected}");
            return Err(Failure::digest_invalid(message));
        }
    };
    let document =
        Document::parse(&content, content_type.as_deref()).map_err(Failure::manifest_invalid)?;
    let location = format!("/v2/{repository}/manifests/{digest}");
    let subject = document.subject;
    server
        .blocking(move |shared| {
            match shared.storage.put_manifest(&repository, tag.as_deref(), &document, &content)? {
                Put::Done => Ok(()),
                Put::Missing(missing) => {
                    let message = format!("the repository does not have {missing}; push it first");
                    let status = StatusCode::BAD_REQUEST;
                    Err(Failure::new(status, "MANIFEST_BLOB_UNKNOWN", message))
                }
            }
        })
        .await?;
    let headers = [
        (header::LOCATION, location),
        (HeaderName::from_static("docker-content-digest"), digest.to_string()),
    ];
    let subject =
        subject.map(|subject| [(HeaderName::from_static("oci-subject"), subject.to_string())]);
    Ok((StatusCode::CREATED, headers, subject, Body::empty()).into_response())
}

/// `DELETE /v2/<name>/manifests/<reference>`: a tag alone, or a manifest with all its tags.
pub(super) async fn delete(
    server: &Server,
    repository: String,
    reference: Selector,
) -> Result<Response, Failure> {
    server
        .blocking(move |shared| {
            let storage = &shared.storage;
            let existed = {
                let _gate = storage.collecting();
                match &reference {
                    Selector::Tag(tag) => storage.delete_tag(&repository, tag)?,
                    Selector::Digest(digest) => storage.delete_manifest(&repository, digest)?,
                }
            };
            if !existed {
                return Err(Failure::manifest_unknown(&reference));
            }
            Ok(collect::collect(storage, clock::now())?)
        })
        .await?;
    Ok(StatusCode::ACCEPTED.into_response())
}

async fn read(body: Body) -> Result<Bytes, Failure> {
    let limited = Limited::new(body, MANIFEST_MAX_BYTES as usize);
    match tokio::time::timeout(BODY_TIMEOUT, limited.collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(Failure::too_large("manifest", MANIFEST_MAX_BYTES))
        }
        Ok(Err(_)) => Err(Failure::manifest_invalid("the body ended early")),
        Err(_) => Err(Failure::manifest_invalid("the body took too long")),
    }
}
