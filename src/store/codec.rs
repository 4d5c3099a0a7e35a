//! From types to values and back: JSON in an envelope with a format version.
//!
//! `{"v":1,"data":…}`. Fields may be added to a type without a new version, as long as they have a
//! default; `v` changes when old programs must not read the value at all.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::types::Kv;

/// The version of the envelope that this program writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

/// A value that cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The type has no form in JSON, such as a map whose keys are not strings.
    #[error("the value cannot be encoded")]
    Encode {
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// The value was written by a newer version.
    #[error("the value of {key} has format {found}, this version knows {FORMAT}")]
    Format {
        /// Where the value is.
        key: String,
        /// The version of its envelope.
        found: u32,
    },
    /// The value is not what the type expects.
    #[error("the value of {key} cannot be decoded")]
    Decode {
        /// Where the value is.
        key: String,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
}

impl From<CodecError> for super::Error {
    /// A value that cannot be written changes nothing.
    fn from(error: CodecError) -> Self {
        Self::NotApplied(super::Reason::Invalid(error.to_string()))
    }
}

/// The bytes to store for a value.
///
/// # Errors
/// `Encode`, for types without a form in JSON.
pub fn encode<T: Serialize>(data: &T) -> Result<Bytes, CodecError> {
    let bytes = serde_json::to_vec(&Envelope { v: FORMAT, data });
    bytes.map(Bytes::from).map_err(|source| CodecError::Encode { source })
}

/// The value that a key holds.
///
/// # Errors
/// `Format`, `Decode`; both say which key.
pub fn decode<T: DeserializeOwned>(kv: &Kv) -> Result<T, CodecError> {
    let key = || String::from_utf8_lossy(&kv.key).into_owned();
    match serde_json::from_slice::<Envelope<T>>(&kv.value) {
        Ok(Envelope { v: FORMAT, data }) => Ok(data),
        Ok(Envelope { v, .. }) => Err(CodecError::Format { key: key(), found: v }),
        // A newer format may well not fit the type: that it is newer is the better message.
        Err(source) => Err(match serde_json::from_slice::<Version>(&kv.value) {
            Ok(Version { v }) if v != FORMAT => CodecError::Format { key: key(), found: v },
            _ => CodecError::Decode { key: key(), source },
        }),
    }
}

#[derive(Serialize, Deserialize)]
struct Envelope<T> {
    v: u32,
    data: T,
}

#[derive(Deserialize)]
struct Version {
    v: u32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::types::Revision;

    fn kv(value: impl Into<Bytes>) -> Kv {
        Kv {
            key: Bytes::from_static(b"services/web"),
            value: value.into(),
            create_rev: Revision(1),
            mod_rev: Revision(1),
            version: 1,
            lease: None,
        }
    }

    #[test]
    fn what_was_encoded_decodes() {
        let bytes = encode(&vec![1, 2]).expect("numbers encode");
        assert_eq!(&bytes[..], br#"{"v":1,"data":[1,2]}"#);
        assert_eq!(decode::<Vec<u8>>(&kv(bytes)).expect("they decode"), [1, 2]);
    }

    #[test]
    fn errors_name_the_key() {
        let newer = decode::<u8>(&kv(r#"{"v":2,"data":{"new":true}}"#)).expect_err("newer");
        assert!(matches!(&newer, CodecError::Format { found: 2, .. }), "{newer}");
        let broken = decode::<u8>(&kv(r#"{"v":1,"data":"#)).expect_err("broken");
        assert!(matches!(&broken, CodecError::Decode { .. }), "{broken}");
        for error in [newer, broken] {
            assert!(error.to_string().contains("services/web"), "{error}");
        }
    }
}
