//! Blobs by digest in a folder, within a size bound.
//!
//! The folder holds `sha256/<hex>` files and nothing that cannot be rebuilt: what is stored is
//! the file tree alone. A blob gets its name only after its digest was verified and its bytes
//! were flushed, so a crash at any moment leaves whole blobs and temporary files, and the
//! latter are removed when the folder is next opened. Everything here blocks on the disk: from
//! async code, call it on a blocking thread.
//!
//! *Invariant:* a file named by a digest has held exactly the content of that digest when it
//! got its name; [`ContentStore::read`] and [`ContentStore::check`] look whether it still does,
//! and remove it if not. Writing it again replaces it, damaged or not.
//!
//! *Invariant:* a pinned blob is never evicted.
//!
//! *Invariant:* the sizes of all blobs together never exceed the bound once a write returns.
//!
//! Start reading at [`ContentStore::writer`].

mod error;
pub(crate) mod feed;
mod index;
mod writer;

use std::fmt;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::clock;
use crate::digest::{Digest, Hasher};
use index::Index;

pub use error::Error;
pub use writer::{Stored, Writer};

/// What an operation on the store returns.
pub type Result<T> = std::result::Result<T, Error>;

/// Temporary files carry this prefix, which no digest has.
const TEMPORARY_PREFIX: &str = ".tmp-";

/// The folder is for the service's own user only: images may be private.
const FOLDER_MODE: u32 = 0o700;

/// The largest blob that [`ContentStore::read`] takes into memory, in bytes: as large as the
/// largest component that a pull accepts (`artifact::DECOMPRESSED_MAX_BYTES`).
pub const READ_MAX_BYTES: u64 = 256 << 20;

/// How much is read at a time to verify a blob, in bytes.
const HASH_CHUNK_BYTES: usize = 64 << 10;

/// A bounded store of blobs; a cheap handle, clones share one store.
#[derive(Clone)]
pub struct ContentStore {
    shared: Arc<Shared>,
}

struct Shared {
    /// The folder that holds the blobs, `<dir>/sha256`.
    folder: PathBuf,
    max_bytes: u64,
    index: Mutex<Index>,
}

/// What a store holds at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// How many blobs there are.
    pub blobs: usize,
    /// Their sizes together, in bytes.
    pub used_bytes: u64,
    /// The sizes of the pinned ones together, in bytes.
    pub pinned_bytes: u64,
    /// The bound, in bytes.
    pub max_bytes: u64,
}

impl ContentStore {
    /// Opens the store in `dir`, which is created if it is missing, and removes what a crash
    /// left behind. Blobs beyond `max_bytes` are evicted, the least recently used first.
    ///
    /// One handle should serve the whole process: another store on the same folder is safe
    /// for the content, but neither sees the other's pins.
    pub fn open(dir: impl AsRef<Path>, max_bytes: u64) -> Result<Self> {
        let folder = dir.as_ref().join("sha256");
        fs::DirBuilder::new()
            .recursive(true)
            .mode(FOLDER_MODE)
            .create(&folder)
            .map_err(|source| Error::at(&folder, source))?;
        remove_leftovers(&folder)?;
        let index = Index::scan(&folder)?;
        let store = Self { shared: Arc::new(Shared { folder, max_bytes, index: index.into() }) };
        store.evict(&mut store.index(), 0)?;
        Ok(store)
    }

    /// Where the blob is, or would be. The file may go away unless the digest is pinned.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.shared.folder.join(digest.hex())
    }

    /// Whether the blob is here.
    pub fn contains(&self, digest: &Digest) -> bool {
        self.index().contains(digest)
    }

    /// The size of the blob in bytes, if it is here.
    pub fn size(&self, digest: &Digest) -> Option<u64> {
        self.index().size(digest)
    }

    /// Opens the blob and counts that as a use. The content is not verified again; an open
    /// file stays readable even if the blob is evicted.
    pub fn get(&self, digest: &Digest) -> Result<Option<File>> {
        let path = self.path(digest);
        let mut index = self.index();
        match File::open(&path) {
            Ok(file) => {
                index.touch(digest);
                // Only the order after a restart depends on this, so a failure costs nothing.
                let _ = file.set_modified(clock::now());
                Ok(Some(file))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                index.forget(digest);
                Ok(None)
            }
            Err(source) => Err(Error::at(&path, source)),
        }
    }

    /// Reads the whole blob and verifies it. A blob that no longer has its digest is removed,
    /// so that the next pull brings a good one, and reported as [`Error::Corrupt`].
    pub fn read(&self, digest: &Digest) -> Result<Option<Bytes>> {
        let Some(file) = self.get(digest)? else {
            return Ok(None);
        };
        let path = self.path(digest);
        let mut content = Vec::new();
        file.take(READ_MAX_BYTES + 1)
            .read_to_end(&mut content)
            .map_err(|source| Error::at(&path, source))?;
        if content.len() as u64 > READ_MAX_BYTES {
            return Err(Error::TooLarge { max_bytes: READ_MAX_BYTES });
        }
        let actual = Digest::of(&content);
        if actual != *digest {
            self.remove(digest)?;
            return Err(Error::Corrupt { expected: *digest, actual });
        }
        Ok(Some(content.into()))
    }

    /// Verifies the blob that is here, and removes it if it is damaged. Returns whether it is still
    /// here. Nothing is written meanwhile, so that no blob that has just replaced a damaged one
    /// is removed in its place.
    pub fn check(&self, digest: &Digest) -> Result<bool> {
        let path = self.path(digest);
        let mut index = self.index();
        let actual = match File::open(&path).and_then(hash) {
            Ok(actual) => actual,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                index.forget(digest);
                return Ok(false);
            }
            Err(source) => return Err(Error::at(&path, source)),
        };
        if actual == *digest {
            return Ok(true);
        }
        tracing::error!(%digest, %actual, "a stored blob was damaged and is removed");
        self.remove_locked(&mut index, digest)?;
        Ok(false)
    }

    /// Starts a write. If `expected` is given, only content with that digest is accepted; the
    /// write stops as soon as it exceeds `max_bytes` or the bound of the store.
    pub fn writer(&self, expected: Option<Digest>, max_bytes: u64) -> Result<Writer> {
        Writer::create(self.clone(), expected, max_bytes)
    }

    /// Writes a blob that is in memory.
    pub fn put(&self, content: &[u8]) -> Result<Stored> {
        let mut writer = self.writer(None, content.len() as u64)?;
        writer.write(content)?;
        writer.commit()
    }

    /// Keeps the blob from being evicted for as long as the guard lives. The blob need not be
    /// here yet: the pin then holds from the moment that it arrives.
    pub fn pin(&self, digest: &Digest) -> Pin {
        self.index().pin(digest);
        Pin { store: self.clone(), digest: *digest }
    }

    /// Removes the blob, pinned or not: that is the caller's word against its own. Returns
    /// whether it was here.
    pub fn remove(&self, digest: &Digest) -> Result<bool> {
        self.remove_locked(&mut self.index(), digest)
    }

    /// What the store holds.
    pub fn usage(&self) -> Usage {
        let index = self.index();
        Usage {
            blobs: index.len(),
            used_bytes: index.used_bytes(),
            pinned_bytes: index.pinned_bytes(),
            max_bytes: self.shared.max_bytes,
        }
    }

    /// Every blob that is here, in the order of their digests.
    pub fn digests(&self) -> Vec<Digest> {
        self.index().digests()
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        // Every change of the index is a single step, so a panic elsewhere leaves it whole.
        self.shared.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn folder(&self) -> &Path {
        &self.shared.folder
    }

    fn max_bytes(&self) -> u64 {
        self.shared.max_bytes
    }

    /// Makes room for `extra` bytes, or changes nothing.
    fn evict(&self, index: &mut Index, extra: u64) -> Result<()> {
        let max_bytes = self.max_bytes();
        let Some(victims) = index.victims(extra, max_bytes) else {
            let pinned_bytes = index.pinned_bytes();
            // At open there are no pins, so this can only concern a write.
            return Err(Error::Full { needed_bytes: extra, pinned_bytes, max_bytes });
        };
        for digest in victims {
            tracing::debug!(%digest, "evicting the least recently used blob");
            self.remove_locked(index, &digest)?;
        }
        Ok(())
    }

    fn remove_locked(&self, index: &mut Index, digest: &Digest) -> Result<bool> {
        let path = self.path(digest);
        let known = index.contains(digest);
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(Error::at(&path, source)),
        }
        index.forget(digest);
        Ok(known)
    }
}

impl fmt::Debug for ContentStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContentStore").field("folder", &self.shared.folder).finish_non_exhaustive()
    }
}

/// Keeps one blob from being evicted while it lives; clones count.
pub struct Pin {
    store: ContentStore,
    digest: Digest,
}

impl Pin {
    /// The digest that is pinned.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

impl Clone for Pin {
    fn clone(&self) -> Self {
        self.store.pin(&self.digest)
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.store.index().unpin(&self.digest);
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pin").field(&self.digest).finish()
    }
}

fn hash(mut file: File) -> std::io::Result<Digest> {
    let (mut hasher, mut buffer) = (Hasher::new(), vec![0; HASH_CHUNK_BYTES]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            read => hasher.update(&buffer[..read]),
        }
    }
}

/// Removes temporary files that no writer holds any more. A live writer, of this process or
/// another, keeps its file locked; locks die with their process.
fn remove_leftovers(folder: &Path) -> Result<()> {
    let at_folder = |source| Error::at(folder, source);
    for entry in fs::read_dir(folder).map_err(at_folder)? {
        let entry = entry.map_err(at_folder)?;
        if !entry.file_name().to_string_lossy().starts_with(TEMPORARY_PREFIX) {
            continue;
        }
        let abandoned = File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok());
        if abandoned {
            fs::remove_file(entry.path()).map_err(|source| Error::at(&entry.path(), source))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
