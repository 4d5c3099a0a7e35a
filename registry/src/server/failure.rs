//! Errors on the wire: the one place where they become HTTP responses.
//!
//! Codes and shape: OCI distribution specification 1.1, "Error Codes".

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode};
use serde_json::json;

use super::storage;
use crate::content;
use crate::digest::Digest;

/// What a client is told instead of what it wanted.
#[derive(Debug)]
pub(super) struct Failure {
    status: StatusCode,
    code: &'static str,
    message: String,
    headers: Vec<(&'static str, String)>,
}

impl Failure {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), headers: Vec::new() }
    }

    pub(super) fn with_header(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    /// `allow` are the methods that are supported (RFC 9110 §15.5.6).
    pub(super) fn unsupported(method: &Method, allow: &str) -> Self {
        let message = format!("{method} is not supported here");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", message)
            .with_header("allow", allow.to_owned())
    }

    pub(super) fn name_unknown(repository: &str) -> Self {
        let message = format!("there is no repository {repository}");
        Self::new(StatusCode::NOT_FOUND, "NAME_UNKNOWN", message)
    }

    pub(super) fn blob_unknown(digest: &Digest) -> Self {
        let message = format!("the repository has no blob {digest}");
        Self::new(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", message)
    }

    pub(super) fn manifest_unknown(reference: &impl std::fmt::Display) -> Self {
        let message = format!("the repository has no manifest {reference}");
        Self::new(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", message)
    }

    pub(super) fn upload_unknown() -> Self {
        let message = "there is no such upload; begin it again";
        Self::new(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", message)
    }

    pub(super) fn upload_invalid(message: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BLOB_UPLOAD_INVALID", message)
    }

    pub(super) fn digest_invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "DIGEST_INVALID", message)
    }

    pub(super) fn manifest_invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "MANIFEST_INVALID", message)
    }

    pub(super) fn too_large(what: &str, max_bytes: u64) -> Self {
        let message = format!("the {what} has more than the allowed {max_bytes} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID", message)
    }
}

impl From<content::Error> for Failure {
    fn from(error: content::Error) -> Self {
        match error {
            content::Error::DigestMismatch { .. } => Self::digest_invalid(error.to_string()),
            content::Error::TooLarge { max_bytes } => Self::too_large("blob", max_bytes),
            content::Error::NoSpace { .. } => {
                tracing::error!(%error, "the registry's disk is full");
                let message = "the registry has no space left";
                Self::new(StatusCode::INSUFFICIENT_STORAGE, "UNKNOWN", message)
            }
            _ => internal(&error),
        }
    }
}

impl From<storage::Error> for Failure {
    fn from(error: storage::Error) -> Self {
        match error {
            storage::Error::Content { source } => source.into(),
            _ => internal(&error),
        }
    }
}

/// The client learns nothing of our file system.
fn internal(error: &dyn std::error::Error) -> Failure {
    let cause = error.source().map(ToString::to_string);
    tracing::error!(%error, cause, "the registry failed");
    let message = "the registry failed; its log says why";
    Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", message)
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = json!({"errors": [{"code": self.code, "message": self.message}]});
        let mut response = (self.status, Json(body)).into_response();
        for (name, value) in self.headers {
            if let Ok(value) = value.parse() {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}
