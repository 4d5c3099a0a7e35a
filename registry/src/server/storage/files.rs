//! Small files that appear whole or not at all.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::time::SystemTime;

use super::{Error, Result};
use crate::digest::Digest;

/// Temporary files carry this prefix; no repository, tag or digest starts with a dot.
const TEMPORARY_PREFIX: &str = ".tmp-";

/// The most of a small file that is read, in bytes: media types and digests are far shorter.
const SMALL_FILE_MAX_BYTES: u64 = 1024;

const FOLDER_MODE: u32 = 0o700;

pub(super) fn create_folder(path: &Path) -> Result<()> {
    let created = fs::DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path);
    created.map_err(|source| at(path, source))
}

/// Writes the file at `path` by way of a temporary one in `scratch`, on the same disk.
pub(super) fn write(scratch: &Path, path: &Path, content: &[u8]) -> Result<()> {
    let parent = path.parent().unwrap_or(scratch);
    create_folder(parent)?;
    let mut file = tempfile::Builder::new()
        .prefix(TEMPORARY_PREFIX)
        .tempfile_in(scratch)
        .map_err(|source| at(scratch, source))?;
    file.write_all(content).map_err(|source| at(path, source))?;
    file.as_file().sync_all().map_err(|source| at(path, source))?;
    file.persist(path).map_err(|error| at(path, error.error))?;
    // Folders that were just created need their own names flushed too.
    for folder in parent.ancestors().take_while(|folder| folder.starts_with(scratch)) {
        sync_folder(folder)?;
    }
    Ok(())
}

/// The content of a small file, if there is one.
pub(super) fn read(path: &Path) -> Result<Option<String>> {
    let mut text = String::new();
    match File::open(path)
        .and_then(|file| file.take(SMALL_FILE_MAX_BYTES).read_to_string(&mut text))
    {
        Ok(_) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(at(path, source)),
    }
}

/// Removes a file; returns whether there was one.
pub(super) fn remove(path: &Path) -> Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => {
            if let Some(parent) = path.parent() {
                sync_folder(parent)?;
            }
            Ok(true)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(source) => Err(at(path, source)),
    }
}

/// The names in a folder, apart from temporary ones; a missing folder has none.
pub(super) fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(at(folder, source)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|source| at(folder, source))?;
        if let Ok(name) = entry.file_name().into_string()
            && !name.starts_with('.')
        {
            names.push(name);
        }
    }
    Ok(names)
}

/// The names in a folder that are digests, sorted.
pub(super) fn digests(folder: &Path) -> Result<Vec<Digest>> {
    let names = names(folder)?;
    let mut digests: Vec<_> = names.iter().filter_map(|n| Digest::from_hex(n).ok()).collect();
    digests.sort();
    Ok(digests)
}

pub(super) fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

/// Sets the time of a file; if that fails, the file is merely collected earlier.
pub(super) fn touch(path: &Path, now: SystemTime) {
    let _ = File::open(path).and_then(|file| file.set_modified(now));
}

pub(super) fn remove_leftovers(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(|source| at(folder, source))? {
        let entry = entry.map_err(|source| at(folder, source))?;
        if entry.file_name().to_string_lossy().starts_with(TEMPORARY_PREFIX) {
            fs::remove_file(entry.path()).map_err(|source| at(&entry.path(), source))?;
        }
    }
    Ok(())
}

/// Removes the folder and those in it, two levels deep, as far as they are empty.
pub(super) fn remove_empty_folders(folder: &Path) {
    for name in names(folder).unwrap_or_default() {
        let inner = folder.join(name);
        for name in names(&inner).unwrap_or_default() {
            let _ = fs::remove_dir(inner.join(name));
        }
        let _ = fs::remove_dir(inner);
    }
    let _ = fs::remove_dir(folder);
}

fn sync_folder(folder: &Path) -> Result<()> {
    match File::open(folder).and_then(|file| file.sync_all()) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(at(folder, error)),
        _ => Ok(()),
    }
}

fn at(path: &Path, source: io::Error) -> Error {
    // A full disk has its own error there.
    match crate::content::Error::at(path, source) {
        crate::content::Error::Io { path, source } => Error::Io { path, source },
        source => Error::Content { source },
    }
}
