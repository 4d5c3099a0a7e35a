//! Ids for requests that come without one.

use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderValue;

const DIGITS: &[u8; 16] = b"0123456789abcdef";
/// Digits of a number, without leading zeros at most so many.
const MOST_DIGITS: usize = 16;

/// Ids that no two requests share: a random number of this process and a count, such as
/// `00c0ffee00c0ffee-1f`.
pub(super) struct RequestIds {
    process: [u8; MOST_DIGITS],
    count: AtomicU64,
}

impl RequestIds {
    pub(super) fn new() -> Self {
        let mut process = [b'0'; MOST_DIGITS];
        write_hex(rand::random(), &mut process);
        Self { process, count: AtomicU64::new(0) }
    }

    pub(super) fn next(&self) -> HeaderValue {
        let mut id = [b'-'; 2 * MOST_DIGITS + 1];
        id[..MOST_DIGITS].copy_from_slice(&self.process);
        let mut digits = [b'0'; MOST_DIGITS];
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let first = write_hex(count, &mut digits).min(MOST_DIGITS - 1);
        let count = &digits[first..];
        let end = MOST_DIGITS + 1 + count.len();
        id[MOST_DIGITS + 1..end].copy_from_slice(count);
        HeaderValue::from_bytes(&id[..end]).unwrap_or(HeaderValue::from_static("0"))
    }
}

/// Writes a number at the end of the digits, and returns where it begins.
fn write_hex(mut number: u64, digits: &mut [u8; MOST_DIGITS]) -> usize {
    let mut first = MOST_DIGITS;
    while number > 0 {
        first -= 1;
        digits[first] = DIGITS[(number & 0xf) as usize];
        number >>= 4;
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_this_process_and_a_count() {
        let mut ids = RequestIds::new();
        ids.process = *b"00c0ffee00c0ffee";
        assert_eq!(ids.next(), "00c0ffee00c0ffee-0");
        assert_eq!(ids.next(), "00c0ffee00c0ffee-1");
        ids.count = AtomicU64::new(u64::MAX);
        assert_eq!(ids.next(), "00c0ffee00c0ffee-ffffffffffffffff");
        ids.count = AtomicU64::new(0x1f0);
        assert_eq!(ids.next(), "00c0ffee00c0ffee-1f0");
    }
}
