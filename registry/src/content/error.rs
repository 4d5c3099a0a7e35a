//! What can go wrong in the content store.

use std::io;
use std::path::{Path, PathBuf};

use crate::digest::Digest;

/// Why the content store could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The disk, or the user's quota on it, is full.
    #[error(
        "no space is left for {}\n\
         hint: free space on that disk, or lower the size of the store",
        path.display()
    )]
    NoSpace {
        /// The file that was being written.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Any other failure of the file system.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The content does not have the digest that was promised.
    #[error("the content has digest {actual}, not the expected {expected}")]
    DigestMismatch {
        /// What was promised.
        expected: Digest,
        /// What arrived.
        actual: Digest,
    },
    /// A stored blob no longer has its digest; it was removed.
    #[error(
        "the stored blob {expected} was damaged and has been removed: it had digest {actual}\n\
         hint: pull it again; if this repeats, check the disk"
    )]
    Corrupt {
        /// The blob.
        expected: Digest,
        /// What its bytes hash to.
        actual: Digest,
    },
    /// The content exceeds what the caller allowed for it.
    #[error("the content has more than the allowed {max_bytes} bytes")]
    TooLarge {
        /// The most that was allowed, in bytes.
        max_bytes: u64,
    },
    /// The content exceeds the bound of the whole store.
    #[error(
        "the content has more than {max_bytes} bytes, the bound of the whole content store\n\
         hint: raise the size of the store"
    )]
    LargerThanStore {
        /// The bound of the store, in bytes.
        max_bytes: u64,
    },
    /// The content would fit only if pinned blobs were evicted.
    #[error(
        "{needed_bytes} bytes do not fit: {pinned_bytes} of the content store's {max_bytes} bytes \
         are in use\n\
         hint: raise the size of the store, or stop using other images"
    )]
    Full {
        /// What was to be stored, in bytes.
        needed_bytes: u64,
        /// What is pinned, in bytes.
        pinned_bytes: u64,
        /// The bound of the store, in bytes.
        max_bytes: u64,
    },
}

impl Error {
    /// Whether the same call may succeed later without a change by the caller.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::NoSpace { .. } | Self::Full { .. } | Self::Corrupt { .. })
    }

    /// The error of the file system at `path`; a full disk is told apart from the rest.
    pub(crate) fn at(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::NoSpace { path, source }
            }
            _ => Self::Io { path, source },
        }
    }
}
