//! What can go wrong between this machine and a registry.

use crate::digest::Digest;
use crate::{artifact, content, unpack};

/// Why an image could not be resolved, pulled or pushed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The registry does not have the image, or a part of it.
    #[error(
        "{what} was not found at {registry}\nhint: check the name and the tag, or push it first"
    )]
    NotFound {
        /// The registry that was asked.
        registry: String,
        /// The image or blob.
        what: String,
    },
    /// The registry wants other credentials, or none that it was given suffice.
    #[error(
        "{registry} refuses access to {what}: {detail}\n\
         hint: log in with `docker login {registry}` or `skopeo login {registry}`"
    )]
    Unauthorized {
        /// The registry that was asked.
        registry: String,
        /// The image or blob.
        what: String,
        /// What the registry said.
        detail: String,
    },
    /// The credentials of this machine cannot be read.
    #[error(
        "the credentials for {registry} cannot be read\n\
         hint: repair that file, or remove its entry for the registry and log in again"
    )]
    Credentials {
        /// The registry that they are for.
        registry: String,
        /// Why.
        #[source]
        source: Box<super::credentials::Error>,
    },
    /// Content does not have the digest that it should have.
    #[error(
        "{what} from {registry} has digest {actual}, not the expected {expected}\n\
         hint: the registry or something before it is faulty or hostile"
    )]
    DigestMismatch {
        /// The registry that sent it.
        registry: String,
        /// The manifest or blob.
        what: String,
        /// The digest that was promised.
        expected: Digest,
        /// The digest of what arrived.
        actual: Digest,
    },
    /// Content does not have the size that its manifest gives.
    #[error(
        "{what} from {registry} has {actual_bytes} bytes or more, not the expected {expected_bytes}"
    )]
    SizeMismatch {
        /// The registry that sent it.
        registry: String,
        /// The blob.
        what: String,
        /// The size that was promised, in bytes.
        expected_bytes: u64,
        /// How many bytes were announced, or had arrived when it was clear.
        actual_bytes: u64,
    },
    /// Content exceeds a limit.
    #[error("{what} is too large: {detail}")]
    TooLarge {
        /// The manifest, blob or image.
        what: String,
        /// Which limit.
        detail: String,
    },
    /// The image is sound but holds no Wasm, or not exactly one.
    #[error(
        "{what} cannot be run: {detail}\n\
         hint: push the .wasm file itself, or build an image with exactly one"
    )]
    NotWasm {
        /// The image.
        what: String,
        /// What it holds.
        detail: String,
    },
    /// What the registry sent makes no sense.
    #[error("{what} from {registry} is malformed: {detail}")]
    Malformed {
        /// The registry that sent it.
        registry: String,
        /// The answer, manifest or blob.
        what: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The registry cannot be reached, or the connection broke.
    #[error(
        "cannot reach the registry {registry}\nhint: check its name, and that it runs; one that \
         speaks plain HTTP has to be named as insecure, and a reference without a registry host \
         means docker.io"
    )]
    Unreachable {
        /// The registry.
        registry: String,
        /// What the connection said.
        #[source]
        source: reqwest::Error,
    },
    /// The registry answered with a failure of its own.
    #[error("the registry {registry} answered {status} for {what}: {detail}")]
    Status {
        /// The registry.
        registry: String,
        /// What was asked for.
        what: String,
        /// The HTTP status.
        status: u16,
        /// What the registry said.
        detail: String,
    },
    /// The registry wants to send this client somewhere it must not go.
    #[error("the registry {registry} points to {target}, which is refused: {reason}")]
    Forbidden {
        /// The registry.
        registry: String,
        /// Where it points, without the query.
        target: String,
        /// Why that is refused.
        reason: String,
    },
    /// The content store failed.
    #[error("the content store cannot take {what}")]
    Store {
        /// The blob.
        what: String,
        /// Why.
        #[source]
        source: content::Error,
    },
    /// The configuration of the client cannot be used.
    #[error("the registry client cannot be set up: {detail}")]
    Config {
        /// What is wrong.
        detail: String,
    },
}

impl Error {
    /// A stable name for programs, with a page of its own for people.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "image-not-found",
            Self::Unauthorized { .. } => "image-unauthorized",
            Self::Credentials { .. } => "registry-credentials-unusable",
            Self::DigestMismatch { .. } | Self::SizeMismatch { .. } => "image-digest-mismatch",
            Self::TooLarge { .. } => "image-too-large",
            Self::NotWasm { .. } => "image-not-wasm",
            Self::Malformed { .. } => "image-malformed",
            Self::Unreachable { .. } => "registry-unreachable",
            Self::Status { .. } => "registry-failed",
            Self::Forbidden { .. } => "registry-redirect-refused",
            Self::Store { .. } => "image-store-failed",
            Self::Config { .. } => "registry-config-invalid",
        }
    }

    /// Whether the same call may succeed later without a change by the caller.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Status { status, .. } => matches!(status, 408 | 429 | 500..),
            Self::Store { source, .. } => source.is_retryable(),
            _ => false,
        }
    }

    /// The connection's failure; its URL is left out, because it may carry a signature.
    pub(super) fn unreachable(registry: &str, source: reqwest::Error) -> Self {
        Self::Unreachable { registry: registry.to_owned(), source: source.without_url() }
    }

    pub(super) fn store(what: impl ToString, source: content::Error) -> Self {
        Self::Store { what: what.to_string(), source }
    }

    pub(super) fn of_artifact(registry: &str, what: &str, source: artifact::Error) -> Self {
        let (registry, what, detail) = (registry.to_owned(), what.to_owned(), chain(&source));
        match source {
            artifact::Error::TooLarge { .. } => Self::TooLarge { what, detail },
            artifact::Error::NotWasm { .. } => Self::NotWasm { what, detail },
            _ => Self::Malformed { registry, what, detail },
        }
    }

    pub(super) fn of_unpack(registry: &str, what: &str, source: unpack::Error) -> Self {
        let (registry, what, detail) = (registry.to_owned(), what.to_owned(), chain(&source));
        match source {
            unpack::Error::TooLarge { .. } => Self::TooLarge { what, detail },
            unpack::Error::NoWasm | unpack::Error::SeveralWasm { .. } => {
                Self::NotWasm { what, detail }
            }
            unpack::Error::DigestMismatch { expected, actual } => {
                Self::DigestMismatch { registry, what, expected, actual }
            }
            unpack::Error::Store { source } => Self::Store { what, source },
            _ => Self::Malformed { registry, what, detail },
        }
    }
}

/// An error and its sources as one text, for errors that are folded into a detail.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
