//! Copies of requests that go elsewhere as well.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Name, Percent};

/// Which of a service's requests are copied, and for whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mirror {
    /// Who gets the copies.
    pub to: MirrorTo,
    /// The share of the requests that are copied.
    pub percent: Percent,
}

/// Who gets copies of requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MirrorTo {
    /// A revision of the service itself.
    Revision(u64),
    /// Another service.
    Service(Name),
}

impl Mirror {
    /// The revision of the service itself that gets the copies, if one does.
    pub fn revision(&self) -> Option<u64> {
        match self.to {
            MirrorTo::Revision(number) => Some(number),
            MirrorTo::Service(_) => None,
        }
    }
}

impl fmt::Display for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.to {
            MirrorTo::Revision(number) => write!(f, "{} to revision {number}", self.percent),
            MirrorTo::Service(name) => write!(f, "{} to service {name}", self.percent),
        }
    }
}
