//! The REST API of a node, its OpenAPI document, and the embedded registry beside it.
//!
//! Everything here reads and writes the store, and looks at what runs on this node; nothing runs
//! or places anything. The document under `/openapi.json` is made from the handlers themselves.
//!
//! *Invariant:* no handler decides what the cluster should look like: it writes what its caller
//! wants, and the control plane decides.
//!
//! *Invariant:* every answer of `/v1` that is not a success is made in `problem.rs`.
//!
//! Start reading at [`Api::router`], then `apply/mod.rs`.

mod apply;
mod dto;
mod failure;
mod guard;
mod health;
mod logs;
mod metrics;
mod nodes;
mod overview;
mod problem;
mod segment;
mod service;
mod services;
mod rollouts;
mod scaling;
mod tasks;
mod top;
mod upstreams;

#[cfg(test)]
mod tests;

pub use dto::*;
pub use failure::CODES;
pub use problem::Problem;
pub use service::ApiService;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, Uri};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::agent::Pulls;
use crate::clock::SteadyClock;
use crate::listener::Connections;
use crate::model::{ByteSize, NodeId};
use crate::runtime::{Compiler, Loader, Runtime, TaskTable};
use crate::shutdown::{Draining, Shutdown};
use crate::store::Store;
use crate::telemetry::Unparsed;
use crate::upstream::UpstreamTable;

use failure::Failure;
use guard::Hosts;

/// The largest request body of `/v1`: the largest manifest.
const BODY_BYTES: ByteSize = ByteSize::mib(1);

/// What the API needs of the node that it belongs to.
pub struct ApiParts {
    /// The state of the cluster.
    pub store: Arc<dyn Store>,
    /// What runs on this node.
    pub table: TaskTable,
    /// Servers that this node forwards to.
    pub upstreams: UpstreamTable,
    /// The engine, for what it holds.
    pub runtime: Runtime,
    /// Components in memory.
    pub loader: Loader,
    /// Compilations.
    pub compiler: Compiler,
    /// Resolves tags to digests.
    pub images: registry::Client,
    /// How far the images are that the agent pulls.
    pub pulls: Pulls,
    /// The embedded registry.
    pub registry: registry::Server,
    /// This node.
    pub node: NodeId,
    /// Where the API itself listens: the reserved registry host stands for it.
    pub api_address: SocketAddr,
    /// Whether the node serves.
    pub ready: Arc<AtomicBool>,
    /// Counters of what came to the load balancer and was no request.
    pub unparsed: Arc<Unparsed>,
    /// Whether clients of the load balancer are told to go elsewhere.
    pub draining: Draining,
    /// Connections of the load balancer.
    pub open: Connections,
}

/// The API of one node.
pub struct Api {
    parts: ApiParts,
    hosts: Hosts,
    shutdown: Shutdown,
}

/// What every handler is given.
pub(crate) struct State {
    parts: ApiParts,
    shutdown: Shutdown,
    /// What intervals are measured with.
    clock: SteadyClock,
    /// One apply at a time on this node: two that ask for the same route must see each other.
    applying: tokio::sync::Mutex<()>,
}

type Shared = axum::extract::State<Arc<State>>;

impl Api {
    /// An API for this node.
    pub fn new(parts: ApiParts) -> Self {
        Self { parts, hosts: Hosts::default(), shutdown: Shutdown::new() }
    }

    /// Answers to these host names as well. Without them only IP addresses, `localhost` and names
    /// below it are answered, so that no web page can reach the API or the embedded registry by a
    /// name of its own.
    #[must_use]
    pub fn allow_hosts(mut self, hosts: impl IntoIterator<Item = String>) -> Self {
        self.hosts.allow(hosts);
        self
    }

    /// Ends responses that would never end, such as a followed log, when the signal is given.
    #[must_use]
    pub fn until(mut self, shutdown: Shutdown) -> Self {
        self.shutdown = shutdown;
        self
    }

    /// All routes: `/v1`, `/v2` (the embedded registry), `/healthz`, `/readyz`, `/metrics` and
    /// `/openapi.json`.
    pub fn router(self) -> Router {
        let hosts = Arc::new(self.hosts);
        let registry = self.parts.registry.router();
        let (parts, shutdown) = (self.parts, self.shutdown);
        let (clock, applying) = (SteadyClock::start(0), tokio::sync::Mutex::default());
        let state = Arc::new(State { parts, shutdown, clock, applying });
        let (routes, document) = documented().split_for_parts();
        let text = document.to_json().unwrap_or_default();
        let json = [(axum::http::header::CONTENT_TYPE, "application/json")];
        let serve_document = move || async move { (json, text) };
        routes
            .with_state(state)
            .route("/openapi.json", get(serve_document))
            .method_not_allowed_fallback(method_not_allowed)
            .fallback(not_found)
            .layer(DefaultBodyLimit::max(BODY_BYTES.as_usize()))
            .layer(from_fn(guard::in_time))
            .merge(registry)
            .layer(from_fn_with_state(hosts, guard::only_own_callers))
    }
}

/// The OpenAPI document of this version.
pub fn openapi() -> utoipa::openapi::OpenApi {
    documented().into_openapi()
}

/// The routes with their documentation; there is no other list of either.
fn documented() -> OpenApiRouter<Arc<State>> {
    #[derive(OpenApi)]
    #[openapi(
        info(
            title = "Wharf",
            description = "Amazon ECS and Cloud Run for WebAssembly. Errors are problem details \
                           (RFC 9457) with a stable `code`."
        ),
        components(schemas(Problem, LogEntry))
    )]
    struct Document;

    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(apply::post))
        .routes(routes!(services::list))
        .routes(routes!(services::describe, services::delete))
        .routes(routes!(services::scale))
        .routes(routes!(rollouts::revisions))
        .routes(routes!(rollouts::all_revisions))
        .routes(routes!(rollouts::status, rollouts::order))
        .routes(routes!(upstreams::list))
        .routes(routes!(upstreams::describe, upstreams::delete))
        .routes(routes!(logs::read))
        .routes(routes!(tasks::list))
        .routes(routes!(tasks::definitions))
        .routes(routes!(tasks::definition))
        .routes(routes!(nodes::list))
        .routes(routes!(nodes::drain))
        .routes(routes!(nodes::undrain))
        .routes(routes!(nodes::version))
        .routes(routes!(top::read))
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(metrics::scrape))
}

/// The paths that exist, for whoever asks for one that does not.
fn paths() -> Vec<String> {
    let mut paths: Vec<String> = openapi().paths.paths.into_keys().collect();
    paths.extend(["/openapi.json".to_owned(), "/v2/".to_owned()]);
    paths
}

async fn not_found(uri: Uri) -> Response {
    nothing_at(&uri).into_response()
}

fn nothing_at(uri: &Uri) -> Failure {
    let path = crate::telemetry::sanitise(uri.path().as_bytes());
    Failure::NotFound { path, known: paths() }
}

async fn method_not_allowed(method: Method, uri: Uri) -> Response {
    let path = crate::telemetry::sanitise(uri.path().as_bytes());
    Failure::MethodNotAllowed { method, path }.into_response()
}
