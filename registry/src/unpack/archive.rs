//! Walks over a tar archive and refuses what an image of a Wasm file does not need.
//!
//! The entries are taken raw, without the `tar` crate's own handling of long names, which
//! reads a name of any length into memory.

use std::io::{self, Read};

use tar::{Archive, EntryType};

use super::Error;
use crate::digest::quote;

/// The longest header extension (a long name, or the attributes of a PAX header) in bytes.
/// Linux has no longer path than 4 KiB; attributes of a file are a few hundred bytes.
const EXTENSION_MAX_BYTES: u64 = 64 << 10;

/// The most entries that are looked at: an image of one file has a handful.
const ENTRIES_MAX: usize = 10_000;

/// An entry that was accepted.
pub(super) enum Entry {
    /// A regular file whose name ends in `.wasm`.
    Wasm {
        /// Its name, shortened, for messages only.
        name: String,
    },
    /// A folder, or a regular file with another name.
    Other,
}

/// Calls `visit` for every entry, with its content.
pub(super) fn walk<R: Read>(
    reader: R,
    mut visit: impl FnMut(Entry, &mut dyn Read) -> Result<(), Error>,
) -> Result<(), Error> {
    let sound = |source| Error::Archive { source };
    let mut archive = Archive::new(reader);
    let mut long_name: Option<Vec<u8>> = None;
    for (count, entry) in archive.entries().map_err(sound)?.raw(true).enumerate() {
        let mut entry = entry.map_err(sound)?;
        let header_name = entry.path_bytes().into_owned();
        if count >= ENTRIES_MAX {
            return Err(refuse(&header_name, "beyond the most entries that are looked at"));
        }
        let kind = entry.header().entry_type();
        match kind {
            EntryType::GNULongName => long_name = Some(gnu_name(&mut entry, &header_name)?),
            EntryType::XHeader => {
                if let Some(path) = pax_path(&mut entry, &header_name)? {
                    long_name = Some(path);
                }
            }
            EntryType::XGlobalHeader => {}
            _ => {
                let name = long_name.take().unwrap_or(header_name);
                check_name(&name)?;
                visit(classify(kind, &name)?, &mut entry)?;
            }
        }
    }
    Ok(())
}

fn classify(kind: EntryType, name: &[u8]) -> Result<Entry, Error> {
    let refused = match kind {
        EntryType::Regular if name.ends_with(b".wasm") => {
            return Ok(Entry::Wasm { name: shown(name) });
        }
        EntryType::Regular | EntryType::Directory => return Ok(Entry::Other),
        EntryType::Symlink => "a symbolic link",
        EntryType::Link | EntryType::GNULongLink => "a hard link",
        EntryType::Char | EntryType::Block => "a device",
        EntryType::Fifo => "a named pipe",
        _ => "neither a file nor a folder",
    };
    Err(refuse(name, refused))
}

fn check_name(name: &[u8]) -> Result<(), Error> {
    if name.starts_with(b"/") {
        return Err(refuse(name, "an absolute path"));
    }
    if name.split(|b| *b == b'/').any(|component| component == b"..") {
        return Err(refuse(name, "a path that leaves the image"));
    }
    Ok(())
}

/// The content of a GNU `L` entry: the name of the next entry, with a NUL at its end.
fn gnu_name(entry: &mut impl Read, header_name: &[u8]) -> Result<Vec<u8>, Error> {
    let mut name = extension(entry, header_name)?;
    if name.last() == Some(&0) {
        name.pop();
    }
    Ok(name)
}

/// The `path` of a PAX header: records `<length> <key>=<value>\n`.
fn pax_path(entry: &mut impl Read, header_name: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    let malformed = || refuse(header_name, "a malformed PAX header");
    let content = extension(entry, header_name)?;
    let mut rest = content.as_slice();
    let mut path = None;
    while !rest.is_empty() {
        let space = rest.iter().position(|b| *b == b' ').ok_or_else(malformed)?;
        let length = std::str::from_utf8(&rest[..space])
            .ok()
            .and_then(|digits| digits.parse::<usize>().ok())
            .filter(|length| (space + 2..=rest.len()).contains(length))
            .ok_or_else(malformed)?;
        let record = rest[space + 1..length].strip_suffix(b"\n").ok_or_else(malformed)?;
        if let Some(value) = record.strip_prefix(b"path=") {
            path = Some(value.to_vec());
        }
        if record.starts_with(b"size=") {
            // It would change where the next entry starts, and only matters beyond 8 GiB.
            return Err(refuse(header_name, "a PAX header that changes a size"));
        }
        rest = &rest[length..];
    }
    Ok(path)
}

fn extension(entry: &mut impl Read, header_name: &[u8]) -> Result<Vec<u8>, Error> {
    let mut content = Vec::new();
    entry
        .take(EXTENSION_MAX_BYTES + 1)
        .read_to_end(&mut content)
        .map_err(|source: io::Error| Error::Archive { source })?;
    if content.len() as u64 > EXTENSION_MAX_BYTES {
        return Err(refuse(header_name, "a header extension that is too long"));
    }
    Ok(content)
}

fn refuse(name: &[u8], reason: &'static str) -> Error {
    Error::Entry { name: shown(name), reason }
}

fn shown(name: &[u8]) -> String {
    quote(&String::from_utf8_lossy(name))
}
