//! Takes the one `.wasm` file out of the layers of a container image.
//!
//! The layers are read once, as a stream; nothing is ever written under a name from an
//! archive, so a hostile name cannot reach the file system. It is refused all the same: an
//! archive that tries is not one to take code from.
//!
//! *Invariant:* at most [`DECOMPRESSED_MAX_BYTES`] are unpacked for one image, and at most
//! [`DECOMPRESSION_RATIO_MAX`] times the size of a layer for that layer.
//!
//! *Invariant:* the layer is verified against its digest before its content is accepted, even
//! when it comes from the content store.

mod archive;
mod limit;

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;

use crate::artifact::{DECOMPRESSED_MAX_BYTES, DECOMPRESSION_RATIO_MAX, Layer};
use crate::content::{self, ContentStore, Stored, Writer};
use crate::digest::{Digest, Hasher};
use archive::Entry;
use limit::Limited;

/// How much is read at a time, in bytes.
const CHUNK_BYTES: usize = 64 << 10;

/// Why no Wasm came out of the layers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The archive or its compression is damaged.
    #[error("a layer is not a sound archive")]
    Archive {
        /// What the decoder said.
        #[source]
        source: io::Error,
    },
    /// An entry is something that no image of a Wasm file needs.
    #[error(
        "the layer has the entry `{name}`, {reason}\n\
         hint: build the image FROM scratch with nothing but the .wasm file"
    )]
    Entry {
        /// The name of the entry, shortened.
        name: String,
        /// Why it is refused.
        reason: &'static str,
    },
    /// No file ends in `.wasm`.
    #[error("no file in the image ends in .wasm\nhint: the image must hold exactly one")]
    NoWasm,
    /// More than one file ends in `.wasm`.
    #[error(
        "the image holds more than one Wasm file: `{first}` and `{second}`\n\
         hint: it must hold exactly one"
    )]
    SeveralWasm {
        /// The first, shortened.
        first: String,
        /// The second, shortened.
        second: String,
    },
    /// The unpacked content exceeds a limit.
    #[error("the image unpacks to more than {max_bytes} bytes: {reason}")]
    TooLarge {
        /// The limit that was met, in bytes.
        max_bytes: u64,
        /// Where the limit comes from.
        reason: &'static str,
    },
    /// A layer does not have its digest, or is not in the store.
    #[error("a layer has digest {actual}, not the expected {expected}")]
    DigestMismatch {
        /// What the manifest promises.
        expected: Digest,
        /// What the bytes hash to.
        actual: Digest,
    },
    /// A layer went away between its download and now.
    #[error("the layer {digest} is no longer in the content store")]
    LayerGone {
        /// The layer.
        digest: Digest,
    },
    /// The content store failed.
    #[error("the unpacked file cannot be stored")]
    Store {
        /// Why.
        #[source]
        source: content::Error,
    },
}

/// Unpacks the Wasm file of `layers`, which are in `store`, into `store`. Blocks on the disk.
pub fn wasm_of_layers(layers: &[Layer], store: &ContentStore) -> Result<Stored, Error> {
    let mut found: Option<(String, Writer)> = None;
    let mut budget = DECOMPRESSED_MAX_BYTES;
    for layer in layers {
        budget -= unpack_layer(layer, budget, store, &mut found)?;
    }
    let (_, writer) = found.ok_or(Error::NoWasm)?;
    writer.commit().map_err(|source| Error::Store { source })
}

/// Reads one layer to its end; returns how much it unpacked to.
fn unpack_layer(
    layer: &Layer,
    budget: u64,
    store: &ContentStore,
    found: &mut Option<(String, Writer)>,
) -> Result<u64, Error> {
    let expected = layer.blob.digest;
    let file = store
        .get(&expected)
        .map_err(|source| Error::Store { source })?
        .ok_or(Error::LayerGone { digest: expected })?;
    let mut verified = Verified { inner: file, hasher: Hasher::new() };
    let unpacked = if layer.gzip {
        let limit = limit::Limit::of_layer(layer.blob.size_bytes, budget);
        scan(Limited::new(MultiGzDecoder::new(&mut verified), limit), store, found)
    } else {
        let limit = limit::Limit::total(budget);
        scan(Limited::new(&mut verified, limit), store, found)
    };
    // Damage shows as nonsense in the archive first; the digest is the better explanation.
    io::copy(&mut verified, &mut io::sink()).map_err(|source| Error::Archive { source })?;
    let actual = verified.hasher.finish();
    if actual != expected {
        let _ = store.remove(&expected);
        return Err(Error::DigestMismatch { expected, actual });
    }
    unpacked
}

/// Walks over the entries; returns how many bytes were read.
fn scan<R: Read>(
    mut reader: Limited<R>,
    store: &ContentStore,
    found: &mut Option<(String, Writer)>,
) -> Result<u64, Error> {
    let outcome = archive::walk(&mut reader, |entry, content| match entry {
        Entry::Wasm { name } => take(name, content, store, found),
        Entry::Other => Ok(()),
    })
    .and_then(|()| {
        // What follows the end of the archive counts as well: it is decompressed all the same.
        io::copy(&mut reader, &mut io::sink()).map_err(|source| Error::Archive { source })
    });
    match (outcome, reader.exceeded()) {
        (_, Some(limit)) => {
            Err(Error::TooLarge { max_bytes: limit.max_bytes, reason: limit.reason })
        }
        (outcome, None) => outcome.map(|_| reader.read_bytes()),
    }
}

fn take(
    name: String,
    content: &mut dyn Read,
    store: &ContentStore,
    found: &mut Option<(String, Writer)>,
) -> Result<(), Error> {
    if let Some((first, _)) = found {
        return Err(Error::SeveralWasm { first: first.clone(), second: name });
    }
    let failed = |source| Error::Store { source };
    let mut writer = store.writer(None, DECOMPRESSED_MAX_BYTES).map_err(failed)?;
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match content.read(&mut chunk).map_err(|source| Error::Archive { source })? {
            0 => break,
            n => writer.write(&chunk[..n]).map_err(failed)?,
        }
    }
    *found = Some((name, writer));
    Ok(())
}

/// Hashes what passes through.
struct Verified<R> {
    inner: R,
    hasher: Hasher,
}

impl<R: Read> Read for Verified<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..n]);
        Ok(n)
    }
}

#[cfg(test)]
mod tests;
