//! The file tree of the registry. Everything here blocks on the disk.
//!
//! *Invariant:* whoever adds a name for a blob holds the gate for reading from before it
//! checks that the blob exists until the name is there; the collector holds it for writing.
//! So nothing is collected between the check and the name.

mod files;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::SystemTime;

use bytes::Bytes;

use super::document::{Document, Part};
use super::path::Selector;
use crate::content::{self, ContentStore, Writer};
use crate::digest::Digest;

/// Stands for the `/` of a repository name, so that all repositories lie side by side; it is
/// in no valid name.
const SLASH: &str = ",";

/// Why the registry could not use its folder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file system failed.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The blobs cannot be used.
    #[error("cannot use the registry's blobs")]
    Content {
        /// Why.
        #[source]
        source: content::Error,
    },
}

impl From<content::Error> for Error {
    fn from(source: content::Error) -> Self {
        Self::Content { source }
    }
}

pub(super) type Result<T> = std::result::Result<T, Error>;

/// The folder of the registry.
pub(super) struct Storage {
    pub(super) blobs: ContentStore,
    repositories: PathBuf,
    gate: RwLock<()>,
}

/// A manifest as it is stored.
pub(super) struct StoredManifest {
    pub(super) digest: Digest,
    pub(super) media_type: String,
    pub(super) content: Bytes,
}

/// Why a manifest was not stored: what it refers to is missing.
pub(super) enum Put {
    Done,
    Missing(Digest),
}

impl Storage {
    pub(super) fn open(dir: &Path) -> Result<Self> {
        // Without a bound: a registry collects what nobody refers to, and evicts nothing.
        let blobs = ContentStore::open(dir.join("blobs"), u64::MAX)?;
        let repositories = dir.join("repositories");
        files::create_folder(&repositories)?;
        files::remove_leftovers(&repositories)?;
        Ok(Self { blobs, repositories, gate: RwLock::default() })
    }

    /// Held while names are added.
    pub(super) fn adding(&self) -> RwLockReadGuard<'_, ()> {
        self.gate.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Held while blobs are collected.
    pub(super) fn collecting(&self) -> RwLockWriteGuard<'_, ()> {
        self.gate.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The names of the repositories that have manifests, sorted.
    pub(super) fn repositories(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for name in self.all_repositories()? {
            if !self.manifests(&name)?.is_empty() {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// The names of all repositories, those without a manifest among them, sorted.
    pub(super) fn all_repositories(&self) -> Result<Vec<String>> {
        let names = files::names(&self.repositories)?.into_iter();
        let mut names: Vec<_> = names.map(|name| name.replace(SLASH, "/")).collect();
        names.sort();
        Ok(names)
    }

    pub(super) fn has_repository(&self, repository: &str) -> bool {
        self.folder(repository).is_dir()
    }

    /// Whether the repository has the blob, and it is on the disk with the size that it had.
    pub(super) fn has_blob(&self, repository: &str, digest: &Digest) -> bool {
        let Some(size) = self.blobs.size(digest) else { return false };
        let found = std::fs::metadata(self.blobs.path(digest));
        self.blob_link(repository, digest).is_file() && found.is_ok_and(|file| file.len() == size)
    }

    /// Whether the repository has the blob, with the size that a manifest gives it. If that is
    /// another, one of them is wrong, and the blob is verified: a damaged one goes, so that the
    /// client uploads it again.
    fn has_part(&self, repository: &str, part: &Part) -> Result<bool> {
        let digest = &part.digest;
        let has = self.has_blob(repository, digest);
        match part.size == self.blobs.size(digest) || part.size.is_none() {
            true => Ok(has),
            false => Ok(self.blobs.check(digest)? && has),
        }
    }

    /// Notes that a client was told of the blob, which protects it for a while.
    pub(super) fn touch_blob(&self, repository: &str, digest: &Digest, now: SystemTime) {
        files::touch(&self.blob_link(repository, digest), now);
    }

    /// Verifies what was uploaded and gives it to the repository.
    pub(super) fn commit_blob(&self, repository: &str, writer: Writer) -> Result<Digest> {
        let _gate = self.adding();
        let stored = writer.commit()?;
        files::write(&self.repositories, &self.blob_link(repository, &stored.digest), b"")?;
        Ok(stored.digest)
    }

    /// Gives a blob of one repository to another; returns whether there was one to give.
    pub(super) fn mount_blob(&self, from: &str, to: &str, digest: &Digest) -> Result<bool> {
        let _gate = self.adding();
        if !self.has_blob(from, digest) {
            return Ok(false);
        }
        files::write(&self.repositories, &self.blob_link(to, digest), b"")?;
        Ok(true)
    }

    pub(super) fn unlink_blob(&self, repository: &str, digest: &Digest) -> Result<bool> {
        files::remove(&self.blob_link(repository, digest))
    }

    /// The blobs that the repository has, with the time that a client was last told of each.
    pub(super) fn blob_links(&self, repository: &str) -> Result<BTreeMap<Digest, SystemTime>> {
        let folder = self.folder(repository).join("blobs");
        let mut links = BTreeMap::new();
        for digest in files::digests(&folder)? {
            if let Some(time) = files::modified(&folder.join(digest.hex())) {
                links.insert(digest, time);
            }
        }
        Ok(links)
    }

    /// Stores a manifest whose parts are all there.
    pub(super) fn put_manifest(
        &self,
        repository: &str,
        tag: Option<&str>,
        document: &Document,
        content: &[u8],
    ) -> Result<Put> {
        let _gate = self.adding();
        for part in &document.blobs {
            if !self.has_part(repository, part)? {
                return Ok(Put::Missing(part.digest));
            }
        }
        let missing = document.manifests.iter().find(|d| !self.has_manifest(repository, d));
        if let Some(missing) = missing {
            return Ok(Put::Missing(*missing));
        }
        let digest = self.blobs.put(content)?.digest;
        let write =
            |path: &Path, text: &str| files::write(&self.repositories, path, text.as_bytes());
        write(&self.manifest_link(repository, &digest), &document.media_type)?;
        if let Some(subject) = document.subject {
            write(&self.referrer_link(repository, &subject, &digest), "")?;
        }
        if let Some(tag) = tag {
            write(&self.tag_link(repository, tag), &digest.to_string())?;
        }
        Ok(Put::Done)
    }

    pub(super) fn has_manifest(&self, repository: &str, digest: &Digest) -> bool {
        self.manifest_link(repository, digest).is_file() && self.blobs.contains(digest)
    }

    pub(super) fn manifest(
        &self,
        repository: &str,
        selector: &Selector,
    ) -> Result<Option<StoredManifest>> {
        let digest = match selector {
            Selector::Digest(digest) => Some(*digest),
            Selector::Tag(tag) => self.tag(repository, tag)?,
        };
        let Some(digest) = digest else {
            return Ok(None);
        };
        let Some(media_type) = files::read(&self.manifest_link(repository, &digest))? else {
            return Ok(None);
        };
        let content = self.blobs.read(&digest)?;
        Ok(content.map(|content| StoredManifest { digest, media_type, content }))
    }

    /// The manifest with this digest, read for what it refers to. A damaged one refers to
    /// nothing: nobody can pull it either.
    pub(super) fn document(&self, repository: &str, digest: &Digest) -> Result<Option<Document>> {
        match self.manifest(repository, &Selector::Digest(*digest)) {
            Ok(stored) => {
                Ok(stored.and_then(|m| Document::parse(&m.content, Some(&m.media_type)).ok()))
            }
            Err(Error::Content { source: source @ content::Error::Corrupt { .. } }) => {
                tracing::error!(repository, error = %source, "a manifest is damaged");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn manifests(&self, repository: &str) -> Result<Vec<Digest>> {
        files::digests(&self.folder(repository).join("manifests"))
    }

    /// The manifests about `subject`, sorted.
    pub(super) fn referrers(&self, repository: &str, subject: &Digest) -> Result<Vec<Digest>> {
        files::digests(&self.folder(repository).join("referrers").join(subject.hex()))
    }

    pub(super) fn tag(&self, repository: &str, tag: &str) -> Result<Option<Digest>> {
        let text = files::read(&self.tag_link(repository, tag))?;
        Ok(text.and_then(|text| text.parse().ok()))
    }

    /// The tags, sorted.
    pub(super) fn tags(&self, repository: &str) -> Result<Vec<String>> {
        let mut tags = files::names(&self.folder(repository).join("tags"))?;
        tags.sort();
        Ok(tags)
    }

    pub(super) fn delete_tag(&self, repository: &str, tag: &str) -> Result<bool> {
        files::remove(&self.tag_link(repository, tag))
    }

    /// Removes the manifest, the tags that point to it, and its mention as a referrer.
    pub(super) fn delete_manifest(&self, repository: &str, digest: &Digest) -> Result<bool> {
        let document = self.document(repository, digest)?;
        for tag in self.tags(repository)? {
            if self.tag(repository, &tag)? == Some(*digest) {
                self.delete_tag(repository, &tag)?;
            }
        }
        if let Some(subject) = document.and_then(|document| document.subject) {
            files::remove(&self.referrer_link(repository, &subject, digest))?;
        }
        files::remove(&self.manifest_link(repository, digest))
    }

    /// Removes what is left of a repository that has nothing any more.
    pub(super) fn remove_if_empty(&self, repository: &str) {
        files::remove_empty_folders(&self.folder(repository));
    }

    fn folder(&self, repository: &str) -> PathBuf {
        self.repositories.join(repository.replace('/', SLASH))
    }

    fn blob_link(&self, repository: &str, digest: &Digest) -> PathBuf {
        self.folder(repository).join("blobs").join(digest.hex())
    }

    fn manifest_link(&self, repository: &str, digest: &Digest) -> PathBuf {
        self.folder(repository).join("manifests").join(digest.hex())
    }

    fn tag_link(&self, repository: &str, tag: &str) -> PathBuf {
        self.folder(repository).join("tags").join(tag)
    }

    fn referrer_link(&self, repository: &str, subject: &Digest, digest: &Digest) -> PathBuf {
        let folder = self.folder(repository).join("referrers");
        folder.join(subject.hex()).join(digest.hex())
    }
}
