//! Whether a request fits into what a task takes, before a guest runs for it.

use http::HeaderMap;
use http::header::CONTENT_LENGTH;

use crate::model::{Code, Limits};

/// Bytes of all names and values.
pub fn header_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

/// Refuses by the declared length what would be refused by the actual one.
pub fn check_size(headers: &HeaderMap, limits: &Limits) -> Result<(), Code> {
    if header_bytes(headers) as u64 > limits.headers.0 {
        return Err(Code::HeadersTooLarge);
    }
    let declared = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    match declared.and_then(|value| value.parse::<u64>().ok()) {
        Some(bytes) if bytes > limits.request_body.0 => Err(Code::BodyTooLarge),
        _ => Ok(()),
    }
}
