//! Components on this node: where their bytes are, by the manifest that names them.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use registry::{Client, ContentStore, Digest, Pin, Progress, Reference};
use serde::{Deserialize, Serialize};

use crate::model::TaskDefinition;
use crate::runtime::{AotCache, Compiler};

/// The registry host that stands for the registry that this node itself serves.
pub const OWN_REGISTRY: &str = "wharf.internal";

/// Where a reference can be fetched from: [`OWN_REGISTRY`] becomes the node's own address.
pub fn reachable(reference: &Reference, own: SocketAddr) -> Reference {
    match reference.registry() {
        OWN_REGISTRY => {
            reference.with_registry(&own.to_string()).unwrap_or_else(|_| reference.clone())
        }
        _ => reference.clone(),
    }
}

/// Why a component cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ImagesError {
    /// The registry did not give it.
    #[error("the image cannot be pulled")]
    Pull(#[from] registry::client::Error),
    /// The bytes cannot be read from the content store.
    #[error("the component cannot be read")]
    Read(#[from] registry::content::Error),
    /// What is known about the image cannot be written.
    #[error("the image cannot be recorded")]
    Record(#[source] io::Error),
}

impl ImagesError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Pull(error) => error.code(),
            Self::Read(_) => "content-unreadable",
            Self::Record(error) if error.kind() == io::ErrorKind::StorageFull => "disk-full",
            Self::Record(_) => "cache-unwritable",
        }
    }

    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Pull(error) => error.is_retryable(),
            Self::Read(_) | Self::Record(_) => true,
        }
    }
}

/// What is remembered of a pulled image, so that a restart needs no registry.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Record {
    component: Digest,
}

/// The images of this node. Cheap to clone.
#[derive(Clone)]
pub struct Images(Arc<Inner>);

struct Inner {
    dir: PathBuf,
    content: ContentStore,
    client: Client,
    own: SocketAddr,
    known: Mutex<HashMap<Digest, Known>>,
}

struct Known {
    component: Digest,
    /// Keeps the bytes in the content store.
    _pin: Pin,
}

impl Images {
    /// Opens the folder of records.
    pub fn open(
        dir: &Path,
        content: ContentStore,
        client: Client,
        own: SocketAddr,
    ) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let known = Mutex::new(HashMap::new());
        Ok(Self(Arc::new(Inner { dir: dir.to_owned(), content, client, own, known })))
    }

    /// The component's digest, if the image was pulled before.
    pub fn component(&self, manifest: &Digest) -> Option<Digest> {
        if let Some(known) = self.0.known.lock().get(manifest) {
            return Some(known.component);
        }
        let text = fs::read(self.path(manifest)).ok()?;
        let record: Record = serde_json::from_slice(&text).ok()?;
        self.remember(*manifest, record.component);
        Some(record.component)
    }

    /// Pulls the image and remembers its component.
    pub async fn pull(
        &self,
        definition: &TaskDefinition,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Digest, ImagesError> {
        let reference = reachable(&definition.pinned_image(), self.0.own);
        let artifact = self.0.client.pull(&reference, &self.0.content, progress).await?;
        let record = Record { component: artifact.component };
        let (images, manifest) = (self.clone(), definition.manifest);
        let written = off_the_workers(move || images.write(&manifest, record)).await;
        written.and_then(|result| result).map_err(ImagesError::Record)?;
        self.remember(definition.manifest, artifact.component);
        Ok(artifact.component)
    }

    /// Whether the component's bytes are here.
    pub fn has(&self, component: &Digest) -> bool {
        self.0.content.contains(component)
    }

    /// The component's bytes, verified; `None` when they are not here any more.
    pub async fn read(&self, component: Digest) -> Result<Option<Bytes>, ImagesError> {
        let content = self.0.content.clone();
        Ok(off_the_workers(move || content.read(&component))
            .await
            .map_err(ImagesError::Record)??)
    }

    /// Remembers every image that an earlier process recorded. Waits for the disk.
    pub(super) fn recall(&self) {
        let files = fs::read_dir(&self.0.dir).into_iter().flatten().flatten();
        for file in files {
            let stem = file.path().file_stem().map(|stem| stem.to_string_lossy().into_owned());
            if let Some(Ok(manifest)) = stem.map(|stem| Digest::from_hex(&stem)) {
                self.component(&manifest);
            }
        }
    }

    /// Forgets every image but these. Compiled code goes with the last image that has its
    /// component. Waits for the disk.
    pub(super) fn retain(&self, in_use: &HashSet<Digest>, compiler: &Compiler, cache: &AotCache) {
        let mut known = self.0.known.lock();
        let is_unused = |manifest: &Digest, _: &mut Known| !in_use.contains(manifest);
        let unused: Vec<(Digest, Known)> = known.extract_if(is_unused).collect();
        let kept: HashSet<Digest> = known.values().map(|known| known.component).collect();
        drop(known);
        for (manifest, Known { component, .. }) in unused {
            let _ = fs::remove_file(self.path(&manifest));
            if !kept.contains(&component) {
                cache.remove(&compiler.key(&component));
            }
        }
    }

    fn remember(&self, manifest: Digest, component: Digest) {
        let pin = self.0.content.pin(&component);
        self.0.known.lock().insert(manifest, Known { component, _pin: pin });
    }

    fn path(&self, manifest: &Digest) -> PathBuf {
        self.0.dir.join(format!("{}.json", manifest.hex()))
    }

    fn write(&self, manifest: &Digest, record: Record) -> io::Result<()> {
        let mut temp = tempfile::NamedTempFile::new_in(&self.0.dir)?;
        temp.write_all(&serde_json::to_vec(&record).map_err(io::Error::other)?)?;
        temp.as_file().sync_all()?;
        temp.persist(self.path(manifest)).map(drop).map_err(|error| error.error)
    }
}

/// Runs what waits for the disk where no connection and no guest waits for it.
async fn off_the_workers<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}
