//! What is in the store: sizes, the order of use, and pins. Pure bookkeeping but for the scan.
//!
//! *Invariant:* `order` holds exactly the entries of `blobs`, and `used_bytes` is the sum of
//! their sizes.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use super::{Error, Result};
use crate::digest::Digest;

#[derive(Default)]
pub(super) struct Index {
    blobs: HashMap<Digest, Entry>,
    /// From the least to the most recently used. Bounded by the number of blobs.
    order: BTreeMap<u64, Digest>,
    pins: HashMap<Digest, usize>,
    next_use: u64,
    used_bytes: u64,
}

struct Entry {
    size_bytes: u64,
    last_use: u64,
}

impl Index {
    /// Reads the folder; the times of the files give the order of use.
    pub(super) fn scan(folder: &Path) -> Result<Self> {
        let at_folder = |source| Error::at(folder, source);
        let mut found = Vec::new();
        for entry in fs::read_dir(folder).map_err(at_folder)? {
            let entry = entry.map_err(at_folder)?;
            let name = entry.file_name();
            let Some(digest) = name.to_str().and_then(|name| Digest::from_hex(name).ok()) else {
                continue;
            };
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            if metadata.is_file() {
                let modified = metadata.modified().map_err(at_folder)?;
                found.push((modified, digest, metadata.len()));
            }
        }
        found.sort();
        let mut index = Self::default();
        for (_, digest, size_bytes) in found {
            index.insert(digest, size_bytes);
        }
        Ok(index)
    }

    pub(super) fn contains(&self, digest: &Digest) -> bool {
        self.blobs.contains_key(digest)
    }

    pub(super) fn size(&self, digest: &Digest) -> Option<u64> {
        self.blobs.get(digest).map(|entry| entry.size_bytes)
    }

    pub(super) fn len(&self) -> usize {
        self.blobs.len()
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.used_bytes
    }

    pub(super) fn pinned_bytes(&self) -> u64 {
        self.pins.keys().filter_map(|digest| self.size(digest)).sum()
    }

    pub(super) fn digests(&self) -> Vec<Digest> {
        let mut digests: Vec<_> = self.blobs.keys().copied().collect();
        digests.sort();
        digests
    }

    pub(super) fn insert(&mut self, digest: Digest, size_bytes: u64) {
        self.forget(&digest);
        let last_use = self.next_use;
        self.next_use += 1;
        self.blobs.insert(digest, Entry { size_bytes, last_use });
        self.order.insert(last_use, digest);
        self.used_bytes += size_bytes;
    }

    pub(super) fn touch(&mut self, digest: &Digest) {
        if let Some(size_bytes) = self.size(digest) {
            self.insert(*digest, size_bytes);
        }
    }

    pub(super) fn forget(&mut self, digest: &Digest) {
        if let Some(entry) = self.blobs.remove(digest) {
            self.order.remove(&entry.last_use);
            self.used_bytes -= entry.size_bytes;
        }
    }

    pub(super) fn pin(&mut self, digest: &Digest) {
        *self.pins.entry(*digest).or_default() += 1;
    }

    pub(super) fn unpin(&mut self, digest: &Digest) {
        if let Some(count) = self.pins.get_mut(digest) {
            *count -= 1;
            if *count == 0 {
                self.pins.remove(digest);
            }
        }
    }

    /// Which blobs must go so that `extra` bytes fit, the least recently used first; `None` if
    /// they would not fit even then.
    pub(super) fn victims(&self, extra: u64, max_bytes: u64) -> Option<Vec<Digest>> {
        let mut remaining = self.used_bytes.checked_add(extra)?;
        let mut victims = Vec::new();
        let mut candidates = self.order.values().filter(|d| !self.pins.contains_key(*d));
        while remaining > max_bytes {
            let victim = candidates.next()?;
            remaining -= self.size(victim)?;
            victims.push(*victim);
        }
        Some(victims)
    }
}
