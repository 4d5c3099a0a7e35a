//! One verified write into the store.
//!
//! *Invariant:* a writer that is dropped, for whatever reason, leaves nothing behind.

use std::fs::File;
use std::io::Write as _;

use tempfile::NamedTempFile;

use super::{ContentStore, Error, Pin, Result, TEMPORARY_PREFIX};
use crate::digest::{Digest, Hasher};

/// A blob that is being written: a temporary file until [`Writer::commit`].
#[derive(Debug)]
pub struct Writer {
    store: ContentStore,
    file: NamedTempFile,
    hasher: Hasher,
    expected: Option<Digest>,
    max_bytes: u64,
    written_bytes: u64,
}

/// A blob that has arrived. It is pinned, because until the caller has pinned what it needs,
/// another write could evict it.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The digest of the content.
    pub digest: Digest,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Keeps the blob until it is dropped.
    pub pin: Pin,
}

impl Writer {
    pub(super) fn create(
        store: ContentStore,
        expected: Option<Digest>,
        max_bytes: u64,
    ) -> Result<Self> {
        let file = tempfile::Builder::new()
            .prefix(TEMPORARY_PREFIX)
            .tempfile_in(store.folder())
            .map_err(|source| Error::at(store.folder(), source))?;
        // The lock tells a later `open` that this file is not a leftover.
        file.as_file().lock().map_err(|source| Error::at(file.path(), source))?;
        Ok(Self { store, file, hasher: Hasher::new(), expected, max_bytes, written_bytes: 0 })
    }

    /// Appends the next piece of the content.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let total_bytes = self.written_bytes.saturating_add(bytes.len() as u64);
        if total_bytes > self.max_bytes {
            return Err(Error::TooLarge { max_bytes: self.max_bytes });
        }
        if total_bytes > self.store.max_bytes() {
            return Err(Error::LargerThanStore { max_bytes: self.store.max_bytes() });
        }
        self.file.write_all(bytes).map_err(|source| Error::at(self.file.path(), source))?;
        self.hasher.update(bytes);
        self.written_bytes = total_bytes;
        Ok(())
    }

    /// How many bytes have been written.
    pub fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// Sets the digest that the content must have, for callers that learn it last.
    pub fn expect(&mut self, digest: Digest) {
        self.expected = Some(digest);
    }

    /// Verifies the content, flushes it and gives it its name, in place of what has it: that may
    /// have been damaged since. Blobs that were not used for the longest time are evicted if the
    /// bound asks for it.
    pub fn commit(self) -> Result<Stored> {
        let Self { store, file, hasher, expected, written_bytes, .. } = self;
        let digest = hasher.finish();
        if let Some(expected) = expected
            && expected != digest
        {
            return Err(Error::DigestMismatch { expected, actual: digest });
        }
        file.as_file().sync_all().map_err(|source| Error::at(file.path(), source))?;
        let pin = store.pin(&digest);
        let mut index = store.index();
        // The pin keeps what has the name now from being evicted for its own successor.
        let present = index.size(&digest).unwrap_or(0);
        store.evict(&mut index, written_bytes.saturating_sub(present))?;
        let path = store.path(&digest);
        file.persist(&path).map_err(|error| Error::at(&path, error.error))?;
        index.insert(digest, written_bytes);
        drop(index);
        sync_folder(&store)?;
        Ok(Stored { digest, size_bytes: written_bytes, pin })
    }
}

/// A name is durable only once its folder is flushed.
fn sync_folder(store: &ContentStore) -> Result<()> {
    File::open(store.folder())
        .and_then(|folder| folder.sync_all())
        .map_err(|source| Error::at(store.folder(), source))
}
