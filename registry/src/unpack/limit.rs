//! A reader that stops a decompression bomb.

use std::io::{self, Read};

use super::{DECOMPRESSED_MAX_BYTES, DECOMPRESSION_RATIO_MAX};

/// The ratio is looked at only beyond this many unpacked bytes: an archive of one small file
/// is mostly padding, which compresses without limit and harms nobody.
const RATIO_FLOOR_BYTES: u64 = 1 << 20;

/// How much may be read, and why not more.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    pub(super) max_bytes: u64,
    pub(super) reason: &'static str,
}

impl Limit {
    /// What is left for the whole image.
    pub(super) fn total(budget: u64) -> Self {
        if budget == DECOMPRESSED_MAX_BYTES {
            return Self { max_bytes: budget, reason: "that is the most for an image" };
        }
        Self { max_bytes: budget, reason: "its layers together exceed the most for an image" }
    }

    /// The same, and not too many times the compressed size.
    pub(super) fn of_layer(compressed_bytes: u64, budget: u64) -> Self {
        let by_ratio =
            compressed_bytes.saturating_mul(DECOMPRESSION_RATIO_MAX).max(RATIO_FLOOR_BYTES);
        if by_ratio < budget {
            let reason = "that is 100 times the size of the layer, as in a decompression bomb";
            return Self { max_bytes: by_ratio, reason };
        }
        Self::total(budget)
    }
}

/// Fails as soon as more than the limit would be read.
pub(super) struct Limited<R> {
    inner: R,
    limit: Limit,
    read_bytes: u64,
    exceeded: bool,
}

impl<R: Read> Limited<R> {
    pub(super) fn new(inner: R, limit: Limit) -> Self {
        Self { inner, limit, read_bytes: 0, exceeded: false }
    }

    pub(super) fn read_bytes(&self) -> u64 {
        self.read_bytes
    }

    /// The limit, if it was met.
    pub(super) fn exceeded(&self) -> Option<Limit> {
        self.exceeded.then_some(self.limit)
    }
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.read_bytes += n as u64;
        if self.read_bytes > self.limit.max_bytes {
            self.exceeded = true;
            return Err(io::Error::other("too much content"));
        }
        Ok(n)
    }
}
