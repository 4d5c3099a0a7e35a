//! From Wasm bytes to an image in a registry, in the CNCF layout.
//!
//! *Invariant:* the documents depend on the bytes alone, so that pushing the same component
//! from two machines gives one image. The specification wants a time of creation; it is the
//! epoch, as in other reproducible builds.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use oci_client::client::{Config, ImageLayer};
use oci_client::manifest::OciImageManifest;
use oci_wasm::{Component, ToConfig as _, WasmConfig};
use reqwest::Url;

use super::pull::WASM_MAGIC;
use super::transport::{self, Action, Call, Transport};
use super::upload::Upload;
use super::{Error, Progress, Result};
use crate::artifact::COMPRESSED_MAX_BYTES;
use crate::content::feed::joined;
use crate::digest::Digest;
use crate::reference::Reference;

/// Bytes 4 to 7 of a core module: version 1, layer 0. A component has layer 1.
const CORE_MODULE_VERSION: &[u8; 4] = &[1, 0, 0, 0];

/// How often the progress of an upload is reported.
const LOOK_AFTER: Duration = Duration::from_millis(100);

/// See [`super::Client::push`].
pub(super) async fn push(
    transport: &Transport,
    reference: &Reference,
    wasm: Bytes,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Digest> {
    check(reference, &wasm)?;
    // Reading the types of a large component takes a while.
    let documents = joined(tokio::task::spawn_blocking(move || Documents::of(wasm)).await)?;
    let manifest = Digest::of(&documents.manifest);
    if let Some(expected) = reference.digest()
        && expected != manifest
    {
        return Err(Error::DigestMismatch {
            registry: reference.registry().to_owned(),
            what: "the manifest of these bytes, not one".to_owned(),
            expected,
            actual: manifest,
        });
    }
    let pushing = Pushing { transport, reference };
    for blob in [documents.config, documents.layer] {
        pushing.blob(blob, progress).await?;
    }
    pushing.manifest(documents.manifest).await?;
    progress(Progress::Manifest { digest: manifest });
    Ok(manifest)
}

/// The three things that are pushed.
struct Documents {
    config: Bytes,
    layer: Bytes,
    manifest: Bytes,
}

impl Documents {
    fn of(wasm: Bytes) -> Result<Self> {
        let config = config_of(&wasm);
        let failed = |detail: String| Error::Config { detail };
        let config: Config = config.to_config().map_err(|e| failed(e.to_string()))?;
        let media_type = oci_wasm::WASM_LAYER_MEDIA_TYPE.to_owned();
        let layers = [ImageLayer { data: wasm, media_type, annotations: None }];
        let mut manifest = OciImageManifest::build(&layers, &config, None);
        manifest.media_type = Some(oci_wasm::WASM_MANIFEST_MEDIA_TYPE.to_owned());
        let manifest = serde_json::to_vec(&manifest).map_err(|e| failed(e.to_string()))?;
        let [layer] = layers;
        Ok(Self { config: config.data, layer: layer.data, manifest: manifest.into() })
    }
}

/// The config that the layout asks for. A component whose types cannot be read, one that is
/// newer than our reader say, is described without them: whether it runs is not ours to say.
fn config_of(wasm: &[u8]) -> WasmConfig {
    let is_module = wasm.get(4..8) == Some(CORE_MODULE_VERSION);
    let component = (!is_module).then(|| {
        let mut component = Component::from_raw_component(wasm).unwrap_or_else(|error| {
            tracing::debug!(%error, "pushing a component whose types cannot be read");
            Component { exports: Vec::new(), imports: Vec::new(), target: None }
        });
        // Some of these lists come out of a hash table.
        component.exports.sort();
        component.imports.sort();
        component
    });
    WasmConfig {
        created: Default::default(),
        author: None,
        architecture: oci_wasm::WASM_ARCHITECTURE.to_owned(),
        os: if is_module { oci_wasm::MODULE_OS } else { oci_wasm::COMPONENT_OS }.to_owned(),
        layer_digests: vec![Digest::of(wasm).to_string()],
        component,
    }
}

fn check(reference: &Reference, wasm: &[u8]) -> Result<()> {
    let what = reference.to_string();
    if wasm.len() as u64 > COMPRESSED_MAX_BYTES {
        let detail =
            format!("it has {} bytes, more than the allowed {COMPRESSED_MAX_BYTES}", wasm.len());
        return Err(Error::TooLarge { what, detail });
    }
    if !wasm.starts_with(WASM_MAGIC) || wasm.len() < 8 {
        let detail = "the file does not begin like a Wasm binary".to_owned();
        return Err(Error::NotWasm { what, detail });
    }
    Ok(())
}

/// One push to one reference.
struct Pushing<'a> {
    transport: &'a Transport,
    reference: &'a Reference,
}

impl Pushing<'_> {
    /// Uploads the blob as a whole, unless the registry has it.
    async fn blob(
        &self,
        content: Bytes,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<()> {
        let digest = Digest::of(&content);
        let total_bytes = content.len() as u64;
        let what = format!("the blob {digest} of {}", self.reference);
        let url = self.transport.url(self.reference, &format!("blobs/{digest}")).await?;
        let head = self.transport.send(self.call(Method::HEAD, url, None, &what)).await?;
        if head.status() == StatusCode::OK {
            progress(Progress::Present { digest, total_bytes });
            return Ok(());
        }
        let so_far = |done_bytes| progress(Progress::Blob { digest, done_bytes, total_bytes });
        so_far(0);
        let mut location = self.begin(&what).await?;
        location.query_pairs_mut().append_pair("digest", &digest.to_string());
        let upload = Upload::new(content);
        let mut call = self.call(Method::PUT, location, Some(upload.clone()), &what);
        let octets = HeaderValue::from_static("application/octet-stream");
        call.headers.insert(header::CONTENT_TYPE, octets);
        let sending = self.transport.send(call);
        // What the connection has taken is not yet what the registry has: all of it is the last
        // report, made when the registry says so.
        let response = watched(sending, || so_far(upload.taken_bytes().min(total_bytes - 1)));
        let response = response.await?;
        transport::expect(response, &[StatusCode::CREATED], self.reference, &what).await?;
        so_far(total_bytes);
        Ok(())
    }

    /// Where the registry wants the upload to go. Only places at the registry itself are
    /// accepted: the next request carries its credentials.
    async fn begin(&self, what: &str) -> Result<Url> {
        let url = self.transport.url(self.reference, "blobs/uploads/").await?;
        let call = self.call(Method::POST, url.clone(), Some(Upload::new(Bytes::new())), what);
        let response = self.transport.send(call).await?;
        let accepted = [StatusCode::ACCEPTED];
        let response = transport::expect(response, &accepted, self.reference, what).await?;
        let location = response.headers().get(header::LOCATION).and_then(|v| v.to_str().ok());
        let Some(location) = location.and_then(|l| response.url().join(l).ok()) else {
            return Err(Error::Malformed {
                registry: self.reference.registry().to_owned(),
                what: what.to_owned(),
                detail: "it gives no Location to upload to".to_owned(),
            });
        };
        if transport::same_origin(&location, &url) {
            return Ok(location);
        }
        let reason = "an upload must stay at the registry";
        Err(self.transport.forbidden(self.reference.registry(), &location, reason))
    }

    async fn manifest(&self, content: Bytes) -> Result<()> {
        let target = match self.reference.tag() {
            Some(tag) => tag.to_owned(),
            None => self.reference.target(),
        };
        let url = self.transport.url(self.reference, &format!("manifests/{target}")).await?;
        let what = self.reference.to_string();
        let mut call = self.call(Method::PUT, url, Some(Upload::new(content)), &what);
        let media_type = HeaderValue::from_static(oci_wasm::WASM_MANIFEST_MEDIA_TYPE);
        call.headers.insert(header::CONTENT_TYPE, media_type);
        let response = self.transport.send(call).await?;
        let accepted = [StatusCode::CREATED, StatusCode::ACCEPTED, StatusCode::OK];
        transport::expect(response, &accepted, self.reference, &what).await?;
        Ok(())
    }

    fn call(&self, method: Method, url: Url, body: Option<Upload>, what: &str) -> Call<'_> {
        let (reference, action) = (self.reference, Action::Push);
        let (headers, what) = (HeaderMap::new(), what.to_owned());
        Call { reference, action, method, url, headers, body, what }
    }
}

/// Waits for `work`, and looks how far it is from time to time.
async fn watched<F: Future>(work: F, mut look: impl FnMut()) -> F::Output {
    let mut work = std::pin::pin!(work);
    loop {
        match tokio::time::timeout(LOOK_AFTER, &mut work).await {
            Ok(output) => return output,
            Err(_) => look(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::{self, Layout, Manifest};

    const MODULE: &[u8] = b"\0asm\x01\0\0\0";
    const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

    #[test]
    fn the_documents_depend_on_the_bytes_alone() {
        for wasm in [MODULE, COMPONENT] {
            let documents = || Documents::of(Bytes::from_static(wasm)).expect("built");
            let (first, second) = (documents(), documents());
            assert_eq!(first.manifest, second.manifest);
            assert_eq!(first.config, second.config);
            match artifact::layout_of(&first.manifest).expect("our own reader takes it") {
                Manifest::Wasm { layout: Layout::Cncf, blob } => {
                    assert_eq!(blob.digest, Digest::of(wasm));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn modules_and_components_are_told_apart() {
        assert_eq!(config_of(MODULE).os, "wasip1");
        assert!(config_of(MODULE).component.is_none());
        assert_eq!(config_of(COMPONENT).os, "wasip2");
        assert!(config_of(COMPONENT).component.is_some());
        let unreadable = config_of(b"\0asm\x0d\0\x01\0garbage");
        assert!(unreadable.component.is_some());
    }

    #[test]
    fn what_is_not_wasm_is_not_pushed() {
        let reference: Reference = "localhost/x".parse().expect("valid");
        for bad in [&b""[..], b"\0asm", b"#!/bin/sh\n"] {
            assert!(matches!(check(&reference, bad), Err(Error::NotWasm { .. })));
        }
    }
}
