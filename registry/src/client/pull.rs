//! From a reference to verified Wasm in the content store.

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::transport::{self, Action, Call, Transport};
use super::{Artifact, Error, Progress, Result};
use crate::artifact::{
    self, Blob, INDEX_DEPTH_MAX, Layer, Layout, MANIFEST_MAX_BYTES, MANIFEST_MEDIA_TYPES, Manifest,
};
use crate::content::feed::{self, Feed, joined};
use crate::content::{self, ContentStore, Pin, Stored, Writer};
use crate::digest::Digest;
use crate::reference::Reference;
use crate::unpack;

/// What every Wasm binary, component or core module, begins with.
pub(super) const WASM_MAGIC: &[u8; 4] = b"\0asm";

type Report<'a> = &'a (dyn Fn(Progress) + Send + Sync);

/// See [`super::Client::resolve`].
pub(super) async fn resolve(transport: &Transport, reference: &Reference) -> Result<Digest> {
    let pulling = Pulling { transport, reference, store: None };
    if reference.digest().is_none()
        && let Some(digest) = pulling.digest_by_head().await?
    {
        return Ok(digest);
    }
    Ok(pulling.image_manifest().await?.0)
}

/// See [`super::Client::pull`].
pub(super) async fn pull(
    transport: &Transport,
    reference: &Reference,
    store: &ContentStore,
    progress: Report<'_>,
) -> Result<Artifact> {
    let pulling = Pulling { transport, reference, store: Some(store) };
    let (manifest, content, _pins) = pulling.image_manifest().await?;
    progress(Progress::Manifest { digest: manifest });
    let (layout, stored) = match content {
        Manifest::Wasm { layout, blob } => (layout, pulling.blob(store, blob, progress).await?),
        Manifest::Layers(layers) => {
            (Layout::Container, pulling.unpacked(store, layers, progress).await?)
        }
        // `image_manifest` never returns an index.
        Manifest::Index { .. } => return Err(pulling.nested()),
    };
    pulling.check_magic(store, &stored).await?;
    Ok(Artifact {
        manifest,
        component: stored.digest,
        size_bytes: stored.size_bytes,
        layout,
        pin: stored.pin,
    })
}

/// One pull of one reference.
struct Pulling<'a> {
    transport: &'a Transport,
    reference: &'a Reference,
    /// Where manifests are kept; a mere `resolve` keeps nothing.
    store: Option<&'a ContentStore>,
}

impl Pulling<'_> {
    /// The manifest of the image itself, through an index if need be, and the pins of all
    /// manifests that were read.
    async fn image_manifest(&self) -> Result<(Digest, Manifest, Vec<Pin>)> {
        let mut pins = Vec::new();
        let mut target = self.reference.digest();
        let mut promised = None;
        for _ in 0..=INDEX_DEPTH_MAX {
            let content = self.manifest_bytes(target, &mut pins).await?;
            if let Some(size) = promised
                && content.len() as u64 != size
            {
                return Err(self.wrong_size("the manifest", size, content.len() as u64));
            }
            let parsed = artifact::layout_of(&content).map_err(|source| {
                Error::of_artifact(self.registry(), &self.reference.to_string(), source)
            })?;
            match parsed {
                Manifest::Index { manifest } => {
                    target = Some(manifest.digest);
                    promised = Some(manifest.size_bytes);
                }
                image => return Ok((Digest::of(&content), image, pins)),
            }
        }
        Err(self.nested())
    }

    /// The manifest with this digest from the store or the registry, else the one of the tag.
    async fn manifest_bytes(
        &self,
        digest: Option<Digest>,
        pins: &mut Vec<Pin>,
    ) -> Result<bytes::Bytes> {
        if let (Some(store), Some(digest)) = (self.store, digest) {
            pins.push(store.pin(&digest));
            if let Some(content) = self.stored(store, digest).await? {
                return Ok(content);
            }
        }
        let content = self.fetch_manifest(digest).await?;
        if let Some(store) = self.store {
            let (owned, kept) = (store.clone(), content.clone());
            let stored = joined(tokio::task::spawn_blocking(move || owned.put(&kept)).await);
            pins.push(stored.map_err(|source| Error::store("a manifest", source))?.pin);
        }
        Ok(content)
    }

    async fn stored(&self, store: &ContentStore, digest: Digest) -> Result<Option<bytes::Bytes>> {
        let owned = store.clone();
        match joined(tokio::task::spawn_blocking(move || owned.read(&digest)).await) {
            // It was removed; the registry has a good one.
            Err(content::Error::Corrupt { .. }) => Ok(None),
            other => other.map_err(|source| Error::store("a manifest", source)),
        }
    }

    async fn fetch_manifest(&self, digest: Option<Digest>) -> Result<bytes::Bytes> {
        let call = self.manifest_call(Method::GET, digest).await?;
        let what = call.what.clone();
        let response = self.transport.send(call).await?;
        let response =
            transport::expect(response, &[StatusCode::OK], self.reference, &what).await?;
        let promised = digest.or_else(|| header_digest(response.headers()));
        let content = transport::body(response, MANIFEST_MAX_BYTES, self.registry(), &what).await?;
        let actual = Digest::of(&content);
        match promised {
            Some(expected) if expected != actual => Err(Error::DigestMismatch {
                registry: self.registry().to_owned(),
                what,
                expected,
                actual,
            }),
            _ => Ok(content),
        }
    }

    /// What a `HEAD` says the digest is, unless it is that of an index or nothing is said. It
    /// is a claim: whoever uses it will pull by it, and verify.
    async fn digest_by_head(&self) -> Result<Option<Digest>> {
        let call = self.manifest_call(Method::HEAD, None).await?;
        let what = call.what.clone();
        let response = self.transport.send(call).await?;
        if matches!(response.status().as_u16(), 405 | 501) {
            return Ok(None);
        }
        let response =
            transport::expect(response, &[StatusCode::OK], self.reference, &what).await?;
        let kind = response.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
        let is_image = matches!(
            kind,
            Some(
                oci_client::manifest::OCI_IMAGE_MEDIA_TYPE
                    | oci_client::manifest::IMAGE_MANIFEST_MEDIA_TYPE
            )
        );
        Ok(header_digest(response.headers()).filter(|_| is_image))
    }

    async fn manifest_call(&self, method: Method, digest: Option<Digest>) -> Result<Call<'_>> {
        let target = digest.map_or_else(|| self.reference.target(), |d| d.to_string());
        let url = self.transport.url(self.reference, &format!("manifests/{target}")).await?;
        let mut headers = HeaderMap::new();
        for media_type in MANIFEST_MEDIA_TYPES {
            headers.append(header::ACCEPT, HeaderValue::from_static(media_type));
        }
        let what = self.reference.to_string();
        let (reference, action) = (self.reference, Action::Pull);
        Ok(Call { reference, action, method, url, headers, body: None, what })
    }

    async fn unpacked(
        &self,
        store: &ContentStore,
        layers: Vec<Layer>,
        progress: Report<'_>,
    ) -> Result<Stored> {
        let mut pins = Vec::new();
        for layer in &layers {
            pins.push(self.blob(store, layer.blob, progress).await?.pin);
        }
        progress(Progress::Unpacking);
        let owned = store.clone();
        let unpacked =
            tokio::task::spawn_blocking(move || unpack::wasm_of_layers(&layers, &owned)).await;
        joined(unpacked).map_err(|source| {
            Error::of_unpack(self.registry(), &self.reference.to_string(), source)
        })
    }

    /// Brings one blob into the store, unless it is there.
    async fn blob(&self, store: &ContentStore, blob: Blob, progress: Report<'_>) -> Result<Stored> {
        let Blob { digest, size_bytes } = blob;
        let pin = store.pin(&digest);
        if let Some(present) = self.present(store, digest).await? {
            if present != size_bytes {
                return Err(self.wrong_size(&format!("the blob {digest}"), size_bytes, present));
            }
            progress(Progress::Present { digest, total_bytes: size_bytes });
            return Ok(Stored { digest, size_bytes, pin });
        }
        let what = format!("the blob {digest} of {}", self.reference);
        let url = self.transport.url(self.reference, &format!("blobs/{digest}")).await?;
        let (reference, headers) = (self.reference, HeaderMap::new());
        let (action, method) = (Action::Pull, Method::GET);
        let call = Call { reference, action, method, url, headers, body: None, what: what.clone() };
        let response = self.transport.send(call).await?;
        let response =
            transport::expect(response, &[StatusCode::OK], self.reference, &what).await?;
        self.stream(store, blob, response, &what, progress).await
    }

    /// The size of the blob, if it is in the store; the look counts as a use of it.
    async fn present(&self, store: &ContentStore, digest: Digest) -> Result<Option<u64>> {
        let owned = store.clone();
        let look = move || Ok(owned.get(&digest)?.and_then(|_| owned.size(&digest)));
        joined(tokio::task::spawn_blocking(look).await)
            .map_err(|source| Error::store(format!("the blob {digest}"), source))
    }

    async fn stream(
        &self,
        store: &ContentStore,
        blob: Blob,
        response: reqwest::Response,
        what: &str,
        progress: Report<'_>,
    ) -> Result<Stored> {
        let Blob { digest, size_bytes } = blob;
        if let Some(announced) = response.content_length()
            && announced != size_bytes
        {
            return Err(self.wrong_size(what, size_bytes, announced));
        }
        let failed = |source| self.store_failed(what, size_bytes, source);
        let writer = store.writer(Some(digest), size_bytes).map_err(failed)?;
        let feed = Feed::start(writer, |writer| writer);
        let received = self.receive(&feed, blob, response, progress).await;
        // Awaited in any case: when this returns, nothing is left of a failed download.
        let writer = feed.finish().await.map_err(failed)?;
        let received = received?;
        if received != size_bytes {
            return Err(self.wrong_size(what, size_bytes, received));
        }
        feed::commit(writer).await.map_err(failed)
    }

    /// Hands the body over to the disk, until there is more than was promised; returns how
    /// much there was.
    async fn receive(
        &self,
        feed: &Feed<Writer>,
        blob: Blob,
        mut response: reqwest::Response,
        progress: Report<'_>,
    ) -> Result<u64> {
        let Blob { digest, size_bytes: total_bytes } = blob;
        let mut received = 0;
        while received <= total_bytes
            && let Some(chunk) =
                response.chunk().await.map_err(|e| Error::unreachable(self.registry(), e))?
        {
            received += chunk.len() as u64;
            if received > total_bytes || !feed.send(chunk).await {
                break;
            }
            progress(Progress::Blob { digest, done_bytes: received, total_bytes });
        }
        Ok(received)
    }

    /// What passed as Wasm by its media type or name must also begin like it.
    async fn check_magic(&self, store: &ContentStore, stored: &Stored) -> Result<()> {
        let (owned, digest) = (store.clone(), stored.digest);
        let begins = joined(
            tokio::task::spawn_blocking(move || {
                use std::io::Read as _;
                let mut begins = Vec::new();
                if let Some(file) = owned.get(&digest)? {
                    file.take(WASM_MAGIC.len() as u64)
                        .read_to_end(&mut begins)
                        .map_err(|source| content::Error::at(&owned.path(&digest), source))?;
                }
                Ok(begins)
            })
            .await,
        )
        .map_err(|source| Error::store("the Wasm file", source))?;
        if begins == WASM_MAGIC {
            return Ok(());
        }
        let detail = "its file does not begin like a Wasm binary".to_owned();
        Err(Error::NotWasm { what: self.reference.to_string(), detail })
    }

    /// A failure of the content store, or what it found wrong with the content.
    fn store_failed(&self, what: &str, size_bytes: u64, source: content::Error) -> Error {
        match source {
            content::Error::DigestMismatch { expected, actual } => Error::DigestMismatch {
                registry: self.registry().to_owned(),
                what: what.to_owned(),
                expected,
                actual,
            },
            content::Error::TooLarge { max_bytes } => {
                self.wrong_size(what, size_bytes, max_bytes.saturating_add(1))
            }
            source => Error::store(what, source),
        }
    }

    fn wrong_size(&self, what: &str, expected_bytes: u64, actual_bytes: u64) -> Error {
        let (registry, what) = (self.registry().to_owned(), what.to_owned());
        Error::SizeMismatch { registry, what, expected_bytes, actual_bytes }
    }

    fn nested(&self) -> Error {
        Error::Malformed {
            registry: self.registry().to_owned(),
            what: self.reference.to_string(),
            detail: "an index points to another index".to_owned(),
        }
    }

    fn registry(&self) -> &str {
        self.reference.registry()
    }
}

fn header_digest(headers: &HeaderMap) -> Option<Digest> {
    headers.get("docker-content-digest")?.to_str().ok()?.parse().ok()
}
