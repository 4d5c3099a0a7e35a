//! How a service is asked whether it is well: probes, as Kubernetes has them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use http::uri::PathAndQuery;
use serde::{Deserialize, Serialize};

use super::duration;

/// The longest path of a probe, as of a route.
const MAX_PATH_LEN: usize = 2_048;

/// The probes of a service. Without any, nothing is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// Must pass before a revision takes requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup: Option<Probe>,
    /// When it fails, the tasks of the revision are replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liveness: Option<Probe>,
    /// While it fails, other revisions take the requests, if there are any that are ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness: Option<Probe>,
}

impl Health {
    /// Whether nothing is ever asked.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// One question that is asked again and again: GET of a path, passed by a status of 200 to 399.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// What is asked for.
    pub path: ProbePath,
    /// Time between two probes.
    #[serde(with = "duration")]
    pub interval: Duration,
    /// Time that an answer may take.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// Probes in a row that must fail before the revision counts as ill.
    pub failures: u32,
    /// Probes in a row that must pass before it counts as well.
    pub successes: u32,
    /// Time before the first probe.
    #[serde(with = "duration")]
    pub delay: Duration,
}

impl Probe {
    /// A probe of this path with the defaults of Kubernetes.
    pub fn new(path: ProbePath) -> Self {
        Self {
            path,
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(1),
            failures: 3,
            successes: 1,
            delay: Duration::ZERO,
        }
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, interval, timeout, failures, successes, delay } = self;
        let [interval, timeout, delay] = [interval, timeout, delay].map(|it| duration::format(*it));
        write!(f, "GET {path} · interval {interval} · timeout {timeout} · failures {failures}")?;
        write!(f, " · successes {successes} · delay {delay}")
    }
}

/// A path, and perhaps a query, that a request can ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProbePath(PathAndQuery);

/// Why a text is not a [`ProbePath`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProbePath {
    /// It begins with something else.
    #[error("a path begins with `/`")]
    NoSlash,
    /// More than 2048 bytes.
    #[error("a path has at most 2048 characters, this one has {0}")]
    TooLong(usize),
    /// It has characters that no request can have there.
    #[error("a path has no spaces, no `#` and no other characters than those of a URL")]
    Characters,
}

impl FromStr for ProbePath {
    type Err = InvalidProbePath;

    fn from_str(text: &str) -> Result<Self, InvalidProbePath> {
        if !text.starts_with('/') {
            return Err(InvalidProbePath::NoSlash);
        }
        if text.len() > MAX_PATH_LEN {
            return Err(InvalidProbePath::TooLong(text.len()));
        }
        // What comes after a `#` would be dropped without a word.
        if !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
            return Err(InvalidProbePath::Characters);
        }
        text.parse().map(Self).map_err(|_| InvalidProbePath::Characters)
    }
}

impl TryFrom<String> for ProbePath {
    type Error = InvalidProbePath;

    fn try_from(text: String) -> Result<Self, InvalidProbePath> {
        text.parse()
    }
}

impl From<ProbePath> for String {
    fn from(path: ProbePath) -> Self {
        path.0.as_str().to_owned()
    }
}

impl From<ProbePath> for PathAndQuery {
    fn from(path: ProbePath) -> Self {
        path.0
    }
}

impl fmt::Display for ProbePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0.as_str())
    }
}

/// What the last probes of a revision said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HealthState {
    /// Nothing was asked, or not often enough yet.
    #[default]
    Unknown,
    /// Every probe passes.
    Healthy,
    /// A probe fails.
    Unhealthy,
}

impl fmt::Display for HealthState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        })
    }
}

impl HealthState {
    /// Whether nothing is known.
    pub fn is_unknown(&self) -> bool {
        *self == Self::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_that_a_request_can_have() {
        for good in ["/", "/healthz", "/a/b?name=READY&x=%20"] {
            assert_eq!(good.parse::<ProbePath>().expect(good).to_string(), good);
        }
        for bad in ["", "healthz", "http://a/b", "/a b", "/a#b", "/ü", "/a\n"] {
            assert!(bad.parse::<ProbePath>().is_err(), "{bad}");
        }
        let long = format!("/{}", "x".repeat(MAX_PATH_LEN));
        assert_eq!(long.parse::<ProbePath>(), Err(InvalidProbePath::TooLong(2_049)));
    }
}
