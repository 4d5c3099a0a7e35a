//! Why a database file cannot be opened.

use std::io;
use std::path::PathBuf;

/// Why a [`SqliteStore`](super::SqliteStore) could not be opened. The file was not changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or another store of this one, has the database open.
    #[error(
        "the store {} is in use by {}\n\
         hint: stop that process, or choose another data folder",
        .path.display(), holder(.pid)
    )]
    Locked {
        /// The database file.
        path: PathBuf,
        /// The process that holds it, when it could be read.
        pid: Option<u32>,
    },
    /// The file is damaged: it is not what was written.
    #[error(
        "the store {} is damaged: {detail}\n\
         hint: nothing was changed; restore the file from a backup, or move it and its -wal file \
         away to start with an empty store", .path.display()
    )]
    Corrupt {
        /// The database file.
        path: PathBuf,
        /// What does not fit.
        detail: String,
    },
    /// The file is a good SQLite database, but not one of a store.
    #[error(
        "{} is not a store of Wharf\n\
         hint: nothing was changed; choose another data folder", .path.display()
    )]
    NotAStore {
        /// The database file.
        path: PathBuf,
    },
    /// The file was written by a newer version.
    #[error(
        "the store {} has schema {found}, this version knows {supported}\n\
         hint: start the version of Wharf that wrote it, or a newer one", .path.display()
    )]
    NewerSchema {
        /// The database file.
        path: PathBuf,
        /// The version of its schema.
        found: u32,
        /// The version that this program knows.
        supported: u32,
    },
    /// The file cannot be read or written at the moment.
    #[error(
        "the store {} cannot be opened\n\
         hint: check the permissions of its folder, and that the disk is not full",
        .path.display()
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
}

fn holder(pid: &Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}
