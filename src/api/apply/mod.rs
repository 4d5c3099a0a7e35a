//! From a manifest to records in the store.
//!
//! Three steps: `images` resolves tags to digests (once, here, and never again), `decide` compares
//! the manifest with what is registered and says what has to change, and `commit` writes it under
//! the condition that nobody else changed the same things meanwhile.
//!
//! *Invariant:* deciding is pure; a dry run is everything but the last step.
//!
//! *Invariant:* a manifest that cannot be applied as a whole changes nothing. One that is too large
//! for one transaction is written in several, each service as a whole.
//!
//! Start reading at [`apply`].

mod commit;
mod decide;
mod images;
mod mirrors;
mod registered;
mod upstreams;

#[cfg(test)]
mod tests;

pub(super) use decide::describe_scale;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, header};
use registry::Digest;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::clock;
use crate::model::{Name, TaskDefinitionId};
use crate::spec::{self, Format, Manifest};
use crate::store::{self, Store};

use super::Shared;
use super::dto::{Applied, Change};
use super::failure::Failure;
use super::problem::Problem;
use commit::Committed;
use decide::Decision;
use registered::Registered;

/// How often an apply starts again because others changed the same records. Each round is some
/// milliseconds: whoever loses that often has an endless rival.
const ROUNDS: usize = 5;

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ApplyQuery {
    /// Whether to say what would change, and to change nothing.
    dry_run: bool,
}

/// Applies a manifest.
///
/// Every task of it is registered as a task definition, unless the latest of its family is the
/// same; every service is created or changed. Tags are resolved to digests now.
#[utoipa::path(
    post,
    path = "/v1/apply",
    tag = "services",
    params(ApplyQuery),
    request_body(
        description = "A manifest in TOML, YAML or JSON. Without a content type its first line \
                       tells which.",
        content((String = "application/toml"), (String = "application/yaml"),
                (serde_json::Value = "application/json")),
    ),
    responses(
        (status = 200, description = "What changed, or would change", body = Applied),
        (status = 409, description = "`route-conflict`, `conflict`", body = Problem),
        (status = 422, description = "`manifest-invalid`, `image-…`", body = Problem),
        (status = 502, description = "A registry does not answer", body = Problem),
        (status = 503, description = "`state-unavailable`", body = Problem),
        (status = 507, description = "`no-space`", body = Problem),
    ),
)]
pub(super) async fn post(
    State(state): Shared,
    query: Result<Query<ApplyQuery>, QueryRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Applied>, Failure> {
    let Query(query) = query.map_err(|error| Failure::Query(error.body_text()))?;
    let body = body.map_err(|error| too_large_or_broken(&error))?;
    let text = std::str::from_utf8(&body).map_err(|error| {
        let why = format!("it is not UTF-8 at byte {}", error.valid_up_to());
        Failure::Body { what: "manifest", why }
    })?;
    let format = format_of(&headers).unwrap_or_else(|| Format::sniff(text));
    let manifest = spec::parse(text, format).map_err(Failure::Manifest)?;
    let digests = images::resolve(&state.parts.images, &manifest, state.parts.api_address).await?;
    let work = Work { manifest, digests, dry_run: query.dry_run, now_ms: clock::unix_ms() };
    // A caller that goes away does not leave half a manifest behind.
    let work = tokio::spawn(async move {
        let _turn = state.applying.lock().await;
        apply(&state.parts.store, &work).await
    });
    let applied = work.await.map_err(|panic| store::Error::Unknown(panic.to_string()))?;
    applied.map(Json)
}

/// Why a body could not be had.
pub(super) fn too_large_or_broken(error: &BytesRejection) -> Failure {
    match error.status() {
        axum::http::StatusCode::PAYLOAD_TOO_LARGE => Failure::BodyTooLarge,
        _ => Failure::Body { what: "request body", why: error.body_text() },
    }
}

fn format_of(headers: &HeaderMap) -> Option<Format> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    match value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "application/toml" | "text/x-toml" => Some(Format::Toml),
        "application/yaml" | "application/x-yaml" | "text/yaml" => Some(Format::Yaml),
        "application/json" => Some(Format::Json),
        _ => None,
    }
}

/// What is to be applied.
struct Work {
    manifest: Manifest,
    /// What the image of each task stands for.
    digests: BTreeMap<Name, Digest>,
    dry_run: bool,
    now_ms: u64,
}

/// Reads, decides and writes, and starts again when others were faster.
async fn apply(store: &Arc<dyn Store>, work: &Work) -> Result<Applied, Failure> {
    let mut mine = Mine::default();
    for _ in 0..ROUNDS {
        let registered = Registered::read(&**store, &work.manifest).await?;
        let decision = decide::decide(&work.manifest, &work.digests, &registered, work.now_ms)?;
        if work.dry_run {
            return Ok(mine.report(&decision, registered.revision.0, true));
        }
        mine.note(&decision);
        match commit::commit(&**store, &decision, registered.revision).await? {
            Committed::At(revision) => return Ok(mine.report(&decision, revision.0, false)),
            Committed::Lost => {}
        }
    }
    Err(Failure::Conflict)
}

/// What earlier rounds of this apply tried to write. A round whose outcome was unknown may have
/// succeeded; the next one finds everything unchanged, and the caller should still read what its
/// call has done.
#[derive(Default)]
struct Mine {
    definitions: BTreeSet<TaskDefinitionId>,
    services: BTreeMap<(Name, u64), (Change, Vec<String>)>,
    upstreams: BTreeMap<(Name, u64), (Change, Vec<String>)>,
}

impl Mine {
    fn note(&mut self, decision: &Decision) {
        let created = decision.definitions.iter().filter(|d| d.change == Change::Created);
        self.definitions.extend(created.map(|d| d.definition.id.clone()));
        for s in decision.services.iter().filter(|s| s.change != Change::Unchanged) {
            let key = (s.service.name.clone(), s.service.generation);
            self.services.entry(key).or_insert((s.change, s.changes.clone()));
        }
        for u in decision.upstreams.iter().filter(|u| u.change != Change::Unchanged) {
            let key = (u.upstream.name.clone(), u.upstream.generation);
            self.upstreams.entry(key).or_insert((u.change, u.changes.clone()));
        }
    }

    fn report(&self, decision: &Decision, revision: u64, dry_run: bool) -> Applied {
        let mut applied = decision.report(revision, dry_run);
        for (task, decided) in applied.tasks.iter_mut().zip(&decision.definitions) {
            if self.definitions.contains(&decided.definition.id) {
                task.change = Change::Created;
            }
        }
        for (service, decided) in applied.services.iter_mut().zip(&decision.services) {
            let key = (decided.service.name.clone(), decided.service.generation);
            if let Some((change, changes)) = self.services.get(&key) {
                (service.change, service.changes) = (*change, changes.clone());
            }
        }
        for (upstream, decided) in applied.upstreams.iter_mut().zip(&decision.upstreams) {
            let key = (decided.upstream.name.clone(), decided.upstream.generation);
            if let Some((change, changes)) = self.upstreams.get(&key) {
                (upstream.change, upstream.changes) = (*change, changes.clone());
            }
        }
        applied
    }
}
