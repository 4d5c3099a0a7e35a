//! Lists: repositories, tags, and the manifests about a manifest.
//!
//! Pages: `n` is the most that the client wants, `last` what it saw last; a `Link` header
//! leads to the next page.

use std::collections::HashMap;

use axum::Json;
use axum::extract::Query;
use axum::response::{IntoResponse as _, Response};
use http::{StatusCode, Uri, header};
use serde_json::{Value, json};

use super::failure::Failure;
use super::path::Selector;
use super::storage::StoredManifest;
use super::{Server, Shared};
use crate::artifact::MANIFEST_MAX_BYTES;
use crate::digest::Digest;

/// The longest page: as long as Docker's registry allows.
const PAGE_MAX: usize = 1000;

/// Where a list continues.
struct Page {
    max: usize,
    last: Option<String>,
}

/// `GET /v2/_catalog`.
pub(super) async fn catalog(server: &Server, uri: &Uri) -> Result<Response, Failure> {
    let page = page(uri)?;
    let names = server.blocking(|shared| Ok(shared.storage.repositories()?)).await?;
    let (names, more) = cut(names, &page);
    let link = more.map(|last| link(&format!("/v2/_catalog?n={}&last={last}", page.max)));
    Ok((link, Json(json!({"repositories": names}))).into_response())
}

/// `GET /v2/<name>/tags/list`.
pub(super) async fn tags(
    server: &Server,
    repository: String,
    uri: &Uri,
) -> Result<Response, Failure> {
    let page = page(uri)?;
    let name = repository.clone();
    let tags = server
        .blocking(move |shared| {
            if !shared.storage.has_repository(&repository) {
                return Err(Failure::name_unknown(&repository));
            }
            Ok(shared.storage.tags(&repository)?)
        })
        .await?;
    let (tags, more) = cut(tags, &page);
    let link = more.map(|last| link(&format!("/v2/{name}/tags/list?n={}&last={last}", page.max)));
    Ok((link, Json(json!({"name": name, "tags": tags}))).into_response())
}

/// `GET /v2/<name>/referrers/<digest>`: an index, empty if there are none. A page ends before
/// it outgrows what clients accept as a manifest.
pub(super) async fn referrers(
    server: &Server,
    repository: String,
    subject: Digest,
    uri: &Uri,
) -> Result<Response, Failure> {
    let parameters = parameters(uri)?;
    let wanted = parameters.get("artifactType").cloned();
    let last = parameters.get("last").and_then(|text| text.parse::<Digest>().ok());
    let (name, kind) = (repository.clone(), wanted.clone());
    let (manifests, more) = server
        .blocking(move |shared| referrer_page(shared, &name, &subject, kind.as_deref(), last))
        .await?;
    let media_type = oci_client::manifest::OCI_IMAGE_INDEX_MEDIA_TYPE;
    let index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests});
    let link = more.map(|last| {
        let filter = wanted
            .as_deref()
            .map_or_else(String::new, |kind| format!("&artifactType={}", escape(kind)));
        link(&format!("/v2/{repository}/referrers/{subject}?last={last}{filter}"))
    });
    let filters = wanted.map(|_| [("oci-filters-applied", "artifactType")]);
    let content_type = [(header::CONTENT_TYPE, media_type)];
    Ok((StatusCode::OK, link, filters, content_type, index.to_string()).into_response())
}

/// The descriptors of one page, and where the next begins, if there is one.
fn referrer_page(
    shared: &Shared,
    repository: &str,
    subject: &Digest,
    wanted: Option<&str>,
    last: Option<Digest>,
) -> Result<(Vec<Value>, Option<Digest>), Failure> {
    let mut descriptors = Vec::new();
    let mut size = 0;
    let mut previous = None;
    let referrers = shared.storage.referrers(repository, subject)?;
    for digest in referrers.into_iter().filter(|digest| last.is_none_or(|last| *digest > last)) {
        let selector = Selector::Digest(digest);
        let Some(manifest) = shared.storage.manifest(repository, &selector)? else {
            continue;
        };
        let Some(descriptor) = descriptor(&manifest, wanted) else {
            continue;
        };
        size += descriptor.to_string().len();
        let full = descriptors.len() >= PAGE_MAX || size as u64 > MANIFEST_MAX_BYTES / 2;
        if full && previous.is_some() {
            return Ok((descriptors, previous));
        }
        descriptors.push(descriptor);
        previous = Some(digest);
    }
    Ok((descriptors, None))
}

fn descriptor(manifest: &StoredManifest, wanted: Option<&str>) -> Option<Value> {
    let document =
        super::document::Document::parse(&manifest.content, Some(&manifest.media_type)).ok()?;
    if wanted.is_some() && wanted != document.artifact_type.as_deref() {
        return None;
    }
    let mut descriptor = json!({
        "mediaType": manifest.media_type,
        "digest": manifest.digest,
        "size": manifest.content.len(),
    });
    if let Some(artifact_type) = document.artifact_type {
        descriptor["artifactType"] = artifact_type.into();
    }
    if !document.annotations.is_empty() {
        descriptor["annotations"] = json!(document.annotations);
    }
    Some(descriptor)
}

/// The part of a sorted list that the page wants, and its last item if there is more.
fn cut(sorted: Vec<String>, page: &Page) -> (Vec<String>, Option<String>) {
    let after = |item: &String| page.last.as_ref().is_none_or(|last| item > last);
    let mut rest = sorted.into_iter().filter(after);
    let items: Vec<_> = rest.by_ref().take(page.max).collect();
    let more = rest.next().and_then(|_| items.last().cloned());
    (items, more)
}

fn page(uri: &Uri) -> Result<Page, Failure> {
    let parameters = parameters(uri)?;
    let max = match parameters.get("n").map(|text| text.parse::<usize>()) {
        None => PAGE_MAX,
        Some(Ok(n)) => n.min(PAGE_MAX),
        Some(Err(_)) => return Err(invalid("`n` is not a number")),
    };
    Ok(Page { max, last: parameters.get("last").cloned() })
}

fn parameters(uri: &Uri) -> Result<HashMap<String, String>, Failure> {
    Query::try_from_uri(uri)
        .map(|Query(parameters)| parameters)
        .map_err(|_| invalid("the query is malformed"))
}

fn invalid(message: &str) -> Failure {
    Failure::new(StatusCode::BAD_REQUEST, "PAGINATION_NUMBER_INVALID", message)
}

fn link(target: &str) -> [(header::HeaderName, String); 1] {
    [(header::LINK, format!("<{target}>; rel=\"next\""))]
}

/// Escapes a media type for a query: what is not plainly safe becomes `%xx`.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'/' => {
                escaped.push(byte.into());
            }
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_join_to_the_whole() {
        let all: Vec<String> = ["a", "b", "c"].map(str::to_owned).to_vec();
        let cut = |max, last: Option<&str>| {
            cut(all.clone(), &Page { max, last: last.map(str::to_owned) })
        };
        assert_eq!(cut(2, None), (all[..2].to_vec(), Some("b".to_owned())));
        assert_eq!(cut(2, Some("b")), (all[2..].to_vec(), None));
        assert_eq!(cut(3, None), (all.clone(), None));
        assert_eq!(cut(0, None), (vec![], None));
        assert_eq!(cut(9, Some("bb")), (all[2..].to_vec(), None));
    }

    #[test]
    fn a_filter_survives_its_way_through_a_link() {
        assert_eq!(escape("application/vnd.x+json&a=b"), "application/vnd.x%2Bjson%26a%3Db");
    }
}
