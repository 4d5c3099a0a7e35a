//! The API behind a listener.

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;

use crate::listener::{Peer, Serve};

use super::Api;

/// Answers calls of the API and of the embedded registry.
pub struct ApiService(TowerToHyperService<Router>);

impl From<Api> for ApiService {
    fn from(api: Api) -> Self {
        Self(TowerToHyperService::new(api.router()))
    }
}

impl Serve for ApiService {
    type Body = Body;

    async fn answer(&self, request: Request<Incoming>, _: &Peer) -> Response {
        match self.0.call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}
