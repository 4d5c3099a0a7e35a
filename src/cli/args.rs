//! Readers of argument values that several commands share.

use std::time::Duration;

use crate::model::{Name, duration};

/// A duration such as `30s` or `5m`.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    duration::parse(text).map_err(|error| format!("{error}, such as 30s or 5m"))
}

/// The name of a service or a node.
pub(super) fn name(text: &str) -> Result<Name, String> {
    text.parse().map_err(|error: crate::model::InvalidName| error.to_string())
}
