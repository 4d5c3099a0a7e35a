//! Content digests: the sha256 of some bytes, as OCI writes it.
//!
//! Only sha256 is accepted. The OCI image specification also registers sha512, which no
//! registry that serves Wasm uses; a store with one algorithm has one name for each content.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Digest as _;

/// The length of a sha256 digest in hexadecimal digits.
const HEX_LENGTH: usize = 64;

/// How much of a refused text an error quotes: enough to recognise it, never a whole body.
const QUOTED_MAX_CHARS: usize = 80;

/// The sha256 digest of some content, written `sha256:<64 lower-case hexadecimal digits>`.
///
/// Its order is that of the bytes; a `Digest` is 32 bytes and is copied freely.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// The digest with this value, which the caller got from somewhere that it trusts.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The raw 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The digest as 64 lower-case hexadecimal digits, without the algorithm; safe as a file
    /// name.
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }

    /// Reads the form that [`Digest::hex`] writes.
    pub fn from_hex(text: &str) -> Result<Self, Error> {
        if text.len() != HEX_LENGTH {
            return Err(Error::Length { value: quote(text), length: text.len() });
        }
        if text.bytes().any(|b| !matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(Error::NotHex { value: quote(text) });
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| Error::NotHex { value: quote(text) })?;
        Ok(Self(bytes))
    }
}

/// Computes a [`Digest`] of content that arrives in pieces.
#[derive(Clone, Default)]
pub struct Hasher(sha2::Sha256);

impl Hasher {
    /// A hasher that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next piece of the content.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of everything seen.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher")
    }
}

/// Why a text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no `algorithm:` in front.
    #[error("`{value}` is not a digest\nhint: a digest looks like sha256:<64 hexadecimal digits>")]
    NoAlgorithm {
        /// The text, shortened.
        value: String,
    },
    /// The algorithm is not sha256.
    #[error("digest algorithm `{algorithm}` is not supported\nhint: use a sha256 digest")]
    Algorithm {
        /// The algorithm that was asked for, shortened.
        algorithm: String,
    },
    /// The part after `sha256:` has the wrong length.
    #[error(
        "`{value}` has {length} characters where a sha256 digest has 64 hexadecimal digits\n\
         hint: copy the whole digest"
    )]
    Length {
        /// The text, shortened.
        value: String,
        /// Its length in bytes.
        length: usize,
    },
    /// The part after `sha256:` has other characters than 0-9 and a-f.
    #[error("`{value}` is not lower-case hexadecimal\nhint: a digest has only 0-9 and a-f")]
    NotHex {
        /// The text, shortened.
        value: String,
    },
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.split_once(':') {
            None => Err(Error::NoAlgorithm { value: quote(text) }),
            Some(("sha256", hex)) => Self::from_hex(hex),
            Some((algorithm, _)) => Err(Error::Algorithm { algorithm: quote(algorithm) }),
        }
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The beginning of a text that somebody else wrote, without control characters.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted: String = text
        .chars()
        .take(QUOTED_MAX_CHARS)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if text.chars().nth(QUOTED_MAX_CHARS).is_some() {
        quoted.push('…');
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn known_value_round_trips() {
        let digest = Digest::of(b"");
        assert_eq!(digest.to_string(), EMPTY);
        assert_eq!(EMPTY.parse(), Ok(digest));
        let json = serde_json::to_string(&digest).expect("a digest serialises");
        assert_eq!(json, format!("\"{EMPTY}\""));
        assert_eq!(serde_json::from_str::<Digest>(&json).expect("and back"), digest);
    }

    #[test]
    fn pieces_hash_like_the_whole() {
        let mut hasher = Hasher::new();
        hasher.update(b"ab");
        hasher.update(b"");
        hasher.update(b"c");
        assert_eq!(hasher.finish(), Digest::of(b"abc"));
    }

    #[test]
    fn other_texts_are_refused_with_a_reason() {
        assert!(matches!("".parse::<Digest>(), Err(Error::NoAlgorithm { .. })));
        assert!(matches!("sha512:00".parse::<Digest>(), Err(Error::Algorithm { .. })));
        assert!(matches!("sha256:00".parse::<Digest>(), Err(Error::Length { length: 2, .. })));
        let upper = EMPTY.to_uppercase().replace("SHA256", "sha256");
        assert!(matches!(upper.parse::<Digest>(), Err(Error::NotHex { .. })));
        let dots = format!("sha256:{}", "../".repeat(22).split_at(64).0);
        assert!(matches!(dots.parse::<Digest>(), Err(Error::NotHex { .. })));
        let unicode = format!("sha256:{}", "é".repeat(32));
        assert!(matches!(unicode.parse::<Digest>(), Err(Error::NotHex { .. })));
    }

    #[test]
    fn an_error_never_quotes_a_whole_body() {
        let error = "x".repeat(1 << 16).parse::<Digest>().expect_err("not a digest");
        assert!(error.to_string().len() < 300);
    }
}
