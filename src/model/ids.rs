//! Names and numbers that identify things.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The name of a service, a task family or a node: a DNS label (RFC 1123 §2.1), because service
/// names become host names.
///
/// 1 to 63 characters out of `a-z`, `0-9` and `-`, starting and ending with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Box<str>);

/// A node's name. One node has the name `local` until it joins a cluster.
pub type NodeId = Name;

/// Why a text is not a [`Name`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// The text is empty.
    #[error("a name cannot be empty")]
    Empty,
    /// The text has more than [`Name::MAX_LEN`] bytes.
    #[error("a name has at most 63 characters, this one has {0}")]
    TooLong(usize),
    /// A character that host names do not have.
    #[error("`{0}` cannot stand in a name: use a-z, 0-9 and -")]
    Character(char),
    /// A `-` at the start or the end.
    #[error("a name starts and ends with a letter or a digit")]
    Edge,
}

impl Name {
    /// The longest name, in bytes: the longest DNS label.
    pub const MAX_LEN: usize = 63;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn check(text: &str) -> Result<(), InvalidName> {
        if text.is_empty() {
            return Err(InvalidName::Empty);
        }
        if text.len() > Self::MAX_LEN {
            return Err(InvalidName::TooLong(text.chars().count()));
        }
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if let Some(bad) = text.chars().find(|c| !allowed(*c)) {
            return Err(InvalidName::Character(bad));
        }
        if text.starts_with('-') || text.ends_with('-') {
            return Err(InvalidName::Edge);
        }
        Ok(())
    }
}

impl FromStr for Name {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Self::check(text)?;
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for Name {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        Self::check(&text)?;
        Ok(Self(text.into_boxed_str()))
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0.into()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// `family:revision`, as in ECS. Revision numbers start at 1 and are never used again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TaskDefinitionId {
    /// What the manifest calls the task.
    pub family: Name,
    /// Which registration of it.
    pub revision: u32,
}

impl fmt::Display for TaskDefinitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}:{}", self.family, self.revision))
    }
}

impl FromStr for TaskDefinitionId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let (family, revision) = text.split_once(':').ok_or(InvalidName::Edge)?;
        let digit = |_| InvalidName::Character(revision.chars().next().unwrap_or(':'));
        Ok(Self { family: family.parse()?, revision: revision.parse().map_err(digit)? })
    }
}

impl TryFrom<String> for TaskDefinitionId {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<TaskDefinitionId> for String {
    fn from(id: TaskDefinitionId) -> Self {
        id.to_string()
    }
}

/// One running copy of a task definition on a node: `service/number`. Numbers count up from 1
/// for the life of the node's process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId {
    /// The service that the task runs for.
    pub service: Name,
    /// Its number within the service.
    pub number: u64,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}", self.service, self.number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_labels() {
        for good in ["a", "hello", "hello-2", "0", &"x".repeat(63)] {
            assert_eq!(good.parse::<Name>().expect(good).as_str(), good);
        }
        for (bad, why) in [
            ("", InvalidName::Empty),
            ("Hello", InvalidName::Character('H')),
            ("héllo", InvalidName::Character('é')),
            ("a_b", InvalidName::Character('_')),
            ("-a", InvalidName::Edge),
            ("a-", InvalidName::Edge),
            (&"x".repeat(65_536), InvalidName::TooLong(65_536)),
        ] {
            assert_eq!(bad.parse::<Name>(), Err(why));
        }
    }

    #[test]
    fn task_definition_ids_round_trip() {
        let id: TaskDefinitionId = "hello:12".parse().expect("valid");
        assert_eq!((id.family.as_str(), id.revision), ("hello", 12));
        assert_eq!(id.to_string(), "hello:12");
        for bad in ["hello", "hello:", "hello:x", ":1", "Hello:1", "hello:-1"] {
            assert!(bad.parse::<TaskDefinitionId>().is_err(), "{bad}");
        }
    }
}
