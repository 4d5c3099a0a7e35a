//! A small OCI registry, by the OCI distribution specification 1.1.
//!
//! It serves standard clients (`docker`, `skopeo`, `oras`, our own) under `/v2/`. Who may do
//! what is not decided here: whoever mounts the router puts its authentication before it.
//!
//! The folder of a server is all of its state:
//!
//! ```text
//! blobs/sha256/<hex>                        content, see `content`
//! repositories/<name>/blobs/<hex>           the repository has this blob
//! repositories/<name>/manifests/<hex>       … this manifest; the file holds its media type
//! repositories/<name>/tags/<tag>            … this tag; the file holds a digest
//! repositories/<name>/referrers/<hex>/<hex> … a manifest (second) about a subject (first)
//! ```
//!
//! Uploads in progress are not part of it: after a restart a client begins them again.
//!
//! *Invariant:* every name that becomes part of a path was checked against its grammar first,
//! see `path`; no text from a request is ever used as it came.
//!
//! *Invariant:* a file under `repositories` appears whole or not at all, and only after the
//! blobs that it speaks of are on the disk.
//!
//! Start reading at `dispatch`.

mod blobs;
mod collect;
mod document;
mod failure;
mod listing;
mod manifests;
mod path;
mod range;
mod storage;
mod upload_routes;
mod uploads;

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use http::{HeaderValue, Method, StatusCode, header};

use crate::clock;
use crate::content::feed::joined;
use failure::Failure;
use path::Target;
use storage::Storage;
use uploads::Uploads;

pub use storage::Error;

/// The answer to a request that whoever mounts the router refuses, as clients of registries read
/// it: the code `DENIED` of the distribution specification.
pub fn denied(status: StatusCode, message: impl Into<String>) -> Response {
    Failure::new(status, "DENIED", message).into_response()
}

/// The largest blob that is accepted, in bytes: the largest that our client would pull.
pub const BLOB_MAX_BYTES: u64 = crate::artifact::COMPRESSED_MAX_BYTES;

/// A registry; a cheap handle, clones share one registry.
#[derive(Clone)]
pub struct Server {
    shared: Arc<Shared>,
}

struct Shared {
    storage: Storage,
    uploads: Uploads,
}

impl Server {
    /// Opens the registry in `dir`, which is created if it is missing, and removes what a
    /// crash left behind. Blocks on the disk. One process serves a folder at a time.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, Error> {
        let storage = Storage::open(dir.as_ref())?;
        // A file that cannot be read stops the collection before it removes anything that the
        // file may speak of. It concerns one image; the others are served.
        if let Err(error) = collect::collect(&storage, clock::now()) {
            tracing::warn!(%error, "the registry's garbage stays: a file is damaged");
        }
        Ok(Self { shared: Arc::new(Shared { storage, uploads: Uploads::default() }) })
    }

    /// The routes, all of them under `/v2/`.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/v2", any(dispatch))
            .route("/v2/", any(dispatch))
            .route("/v2/{*path}", any(dispatch))
            .with_state(self.clone())
    }

    /// Removes abandoned uploads and blobs that nothing refers to. Deleting a manifest does the
    /// latter too; a server that runs for months may call this every hour. Blocks on the disk.
    pub fn collect(&self) -> Result<(), Error> {
        let now = clock::now();
        self.shared.uploads.expire(now);
        collect::collect(&self.shared.storage, now)
    }

    /// Runs `job`, which blocks on the disk, off the async threads.
    async fn blocking<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Shared) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let shared = self.shared.clone();
        joined(tokio::task::spawn_blocking(move || job(&shared)).await)
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Server")
    }
}

async fn dispatch(State(server): State<Server>, request: Request) -> Response {
    let is_head = request.method() == Method::HEAD;
    let mut response = match route(&server, request).await {
        Ok(response) => response,
        Err(failure) => failure.into_response(),
    };
    let version = HeaderValue::from_static("registry/2.0");
    response.headers_mut().insert("docker-distribution-api-version", version);
    if is_head {
        // The headers, Content-Length among them, are those of the GET.
        *response.body_mut() = Body::empty();
    }
    response
}

async fn route(server: &Server, request: Request) -> Result<Response, Failure> {
    let target = path::parse(request.uri().path())?;
    let method = request.method().clone();
    let uri = request.uri().clone();
    match (target, method.as_str()) {
        (Target::Root, "GET" | "HEAD") => Ok(empty_object()),
        (Target::Catalog, "GET") => listing::catalog(server, &uri).await,
        (Target::Tags { repository }, "GET") => listing::tags(server, repository, &uri).await,
        (Target::Referrers { repository, subject }, "GET") => {
            listing::referrers(server, repository, subject, &uri).await
        }
        (Target::Manifest { repository, reference }, "GET" | "HEAD") => {
            manifests::get(server, repository, reference).await
        }
        (Target::Manifest { repository, reference }, "PUT") => {
            manifests::put(server, repository, reference, request).await
        }
        (Target::Manifest { repository, reference }, "DELETE") => {
            manifests::delete(server, repository, reference).await
        }
        (Target::Blob { repository, digest }, "GET" | "HEAD") => {
            blobs::get(server, repository, digest, request.headers().get(header::RANGE).cloned())
                .await
        }
        (Target::Blob { repository, digest }, "DELETE") => {
            blobs::delete(server, repository, digest).await
        }
        (Target::Uploads { repository }, "POST") => {
            upload_routes::begin(server, repository, request).await
        }
        (Target::Upload { repository, id }, "GET") => {
            upload_routes::status(server, &repository, &id)
        }
        (Target::Upload { repository, id }, "PATCH") => {
            upload_routes::append(server, &repository, &id, request).await
        }
        (Target::Upload { repository, id }, "PUT") => {
            upload_routes::finish(server, &repository, &id, request).await
        }
        (Target::Upload { repository, id }, "DELETE") => {
            upload_routes::cancel(server, &repository, &id)
        }
        (target, _) => Err(Failure::unsupported(&method, target.methods())),
    }
}

fn empty_object() -> Response {
    let json = (header::CONTENT_TYPE, "application/json");
    let length = (header::CONTENT_LENGTH, "2");
    (StatusCode::OK, [json, length], "{}").into_response()
}
