//! What a manifest that is pushed refers to. Pure.
//!
//! A registry stores manifests of every kind, so this reads less strictly than
//! [`crate::artifact`], which decides what can be run.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::artifact::DESCRIPTORS_MAX;
use crate::digest::{Digest, quote};

/// The media type of a manifest that says none, in itself or in its request.
const DEFAULT_MEDIA_TYPE: &str = oci_client::manifest::OCI_IMAGE_MEDIA_TYPE;

/// The longest media type that is kept; RFC 6838 allows 127 characters for each half.
const MEDIA_TYPE_MAX_BYTES: usize = 255;

/// A manifest as the registry sees it.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) media_type: String,
    /// The blobs that must be in the repository.
    pub(super) blobs: Vec<Part>,
    /// The blobs that may be in the repository, and are kept if they are.
    elsewhere: Vec<Digest>,
    /// The manifests that must be in the repository.
    pub(super) manifests: Vec<Digest>,
    /// What this manifest is about; it need not exist.
    pub(super) subject: Option<Digest>,
    /// Its own kind, or that of its config.
    pub(super) artifact_type: Option<String>,
    pub(super) annotations: BTreeMap<String, String>,
}

/// A blob of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) digest: Digest,
    /// In bytes, as the manifest says.
    pub(super) size: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: u64,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<RawDescriptor>,
    #[serde(default)]
    layers: Vec<RawDescriptor>,
    #[serde(default)]
    manifests: Vec<RawDescriptor>,
    subject: Option<RawDescriptor>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDescriptor {
    #[serde(default)]
    media_type: String,
    digest: Digest,
    size: Option<u64>,
    #[serde(default)]
    urls: Option<Vec<String>>,
}

impl Document {
    /// Reads a manifest that came with this `Content-Type`; the error is for the client.
    pub(super) fn parse(content: &[u8], content_type: Option<&str>) -> Result<Self, String> {
        let raw: Raw = serde_json::from_slice(content)
            .map_err(|error| format!("the manifest is malformed: {error}"))?;
        if raw.schema_version != 2 {
            return Err(format!("schemaVersion {} is not supported", raw.schema_version));
        }
        for (name, count) in [("layers", raw.layers.len()), ("manifests", raw.manifests.len())] {
            if count > DESCRIPTORS_MAX {
                return Err(format!("{count} {name} are more than the allowed {DESCRIPTORS_MAX}"));
            }
        }
        let media_type = media_type(raw.media_type.as_deref(), content_type)?;
        let is_index = media_type.contains("index") || media_type.contains("list");
        if raw.config.is_none() && !is_index && raw.artifact_type.is_none() {
            return Err("the manifest has no config".to_owned());
        }
        let config_type = raw.config.as_ref().map(|config| config.media_type.clone());
        let (elsewhere, blobs): (Vec<_>, Vec<_>) =
            raw.config.iter().chain(&raw.layers).partition(|d| d.is_elsewhere());
        Ok(Self {
            media_type,
            blobs: blobs.iter().map(|d| Part { digest: d.digest, size: d.size }).collect(),
            elsewhere: elsewhere.iter().map(|d| d.digest).collect(),
            manifests: raw.manifests.iter().map(|d| d.digest).collect(),
            subject: raw.subject.map(|d| d.digest),
            artifact_type: raw.artifact_type.or(config_type),
            annotations: raw.annotations.unwrap_or_default(),
        })
    }

    /// Everything that must not be collected while this manifest exists.
    pub(super) fn references(&self) -> impl Iterator<Item = Digest> + '_ {
        let blobs = self.blobs.iter().map(|part| &part.digest);
        blobs.chain(&self.elsewhere).chain(&self.manifests).copied()
    }
}

impl RawDescriptor {
    /// Layers of Windows, for one, stay at their vendor.
    fn is_elsewhere(&self) -> bool {
        self.urls.as_ref().is_some_and(|urls| !urls.is_empty())
    }
}

fn media_type(own: Option<&str>, content_type: Option<&str>) -> Result<String, String> {
    let sent = content_type.map(|text| text.split(';').next().unwrap_or_default().trim());
    let sent = sent.filter(|text| !text.is_empty() && *text != "application/json");
    let media_type = match (own, sent) {
        (Some(own), Some(sent)) if own != sent => {
            let (own, sent) = (quote(own), quote(sent));
            return Err(format!("it says mediaType `{own}`, the request says `{sent}`"));
        }
        (Some(one), _) | (None, Some(one)) => one,
        (None, None) => DEFAULT_MEDIA_TYPE,
    };
    let sound = media_type.len() <= MEDIA_TYPE_MAX_BYTES
        && media_type.bytes().all(|b| b.is_ascii_graphic());
    if sound { Ok(media_type.to_owned()) } else { Err("the media type is malformed".to_owned()) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(manifest: serde_json::Value, content_type: Option<&str>) -> Result<Document, String> {
        Document::parse(manifest.to_string().as_bytes(), content_type)
    }

    #[test]
    fn references_are_found() {
        let [a, b, c] = [b"a", b"b", b"c"].map(|x| Digest::of(x));
        let document = parse(
            json!({
                "schemaVersion": 2,
                "config": {"mediaType": "x/config", "digest": a, "size": 1},
                "layers": [
                    {"mediaType": "x/layer", "digest": b, "size": 1},
                    {"mediaType": "x/foreign", "digest": Digest::of(b"f"), "urls": ["https://x"]},
                ],
                "subject": {"digest": c},
            }),
            None,
        )
        .expect("sound");
        assert_eq!(document.blobs, [a, b].map(|digest| Part { digest, size: Some(1) }));
        assert_eq!(document.subject, Some(c));
        assert_eq!(document.artifact_type.as_deref(), Some("x/config"));
        assert_eq!(document.media_type, DEFAULT_MEDIA_TYPE);
        let index = json!({"schemaVersion": 2, "manifests": [{"digest": a}]});
        let index_type = "application/vnd.oci.image.index.v1+json";
        assert_eq!(parse(index, Some(index_type)).expect("sound").manifests, [a]);
    }

    #[test]
    fn nonsense_is_refused() {
        let config = json!({"digest": Digest::of(b"")});
        assert!(parse(json!({"schemaVersion": 1, "config": config}), None).is_err());
        assert!(parse(json!({"schemaVersion": 2}), None).is_err());
        assert!(parse(json!({"schemaVersion": 2, "config": {"digest": "x"}}), None).is_err());
        let typed = json!({"schemaVersion": 2, "mediaType": "a/b", "config": config});
        assert!(parse(typed.clone(), Some("a/c")).is_err());
        assert!(parse(typed, Some("a/b; charset=utf-8")).is_ok());
        let odd = json!({"schemaVersion": 2, "mediaType": "a/b\r\nx: y", "config": config});
        assert!(parse(odd, None).is_err());
        assert!(Document::parse(b"{", None).is_err());
    }
}
