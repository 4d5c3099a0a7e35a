//! Which revision a request goes to, beyond the shares: by who sent it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Mirror, duration};

/// Everything that a service says about where its requests go, besides shares and tags.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steering {
    /// What keeps the requests of one client together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// Requests that go to one revision; the first that fits decides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marked: Vec<Marked>,
    /// Copies of requests that go elsewhere as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<Mirror>,
}

impl Steering {
    /// Whether only the shares decide.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// Requests that go to one revision because of what they carry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marked {
    /// The number of the revision.
    pub revision: u64,
    /// A header field that sends a request there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<Mark>,
    /// A cookie that does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<Mark>,
}

/// A header field or cookie that a request may carry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Its name. Case matters in cookies only.
    pub name: Token,
    /// Its value, where not any will do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Box<str>>,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{}={value}", self.name),
            None => write!(f, "{}", self.name),
        }
    }
}

/// What keeps the requests of one client together. Each client has a point on a circle that the
/// shares divide, so that it stays where it is while shares change as little as that allows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Affinity {
    /// A cookie that holds the point, drawn at random.
    Cookie {
        /// Its name.
        name: Token,
        /// How long it lasts from when it was given. It is given again when half of that is over.
        #[serde(with = "duration")]
        ttl: Duration,
    },
    /// The value of a header field.
    Header(Token),
    /// The address: an IPv4 address, or a /64 of IPv6.
    Client,
}

impl Affinity {
    /// How long a cookie lasts, when nobody says it: as in Cloud Run.
    pub const DEFAULT_TTL: Duration = Duration::from_secs(30 * 24 * 3_600);
}

impl fmt::Display for Affinity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cookie { name, ttl } => write!(f, "cookie {name} for {}", duration::format(*ttl)),
            Self::Header(name) => write!(f, "header {name}"),
            Self::Client => f.write_str("client address"),
        }
    }
}

/// The name of a header field or cookie (RFC 9110 §5.6.2, RFC 6265 §4.1.1).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Token(Box<str>);

/// Why text is no [`Token`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name of a field or cookie has 1 to 64 letters, digits or -_.~!#$&'*+^`|%")]
pub struct InvalidToken;

impl Token {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Token {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        const MOST_BYTES: usize = 64;
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.~!#$&'*+^`|%".contains(&b);
        let is_token = (1..=MOST_BYTES).contains(&text.len()) && text.bytes().all(allowed);
        if is_token { Ok(Self(text.into())) } else { Err(InvalidToken) }
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<String> for Token {
    type Error = InvalidToken;

    fn try_from(text: String) -> Result<Self, InvalidToken> {
        text.parse()
    }
}

impl From<Token> for String {
    fn from(token: Token) -> Self {
        token.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_break_out_of_a_field() {
        for good in ["wharf-affinity", "X-User", "__Host-a", &"a".repeat(64)] {
            assert_eq!(good.parse::<Token>().expect(good).as_str(), good);
        }
        for bad in ["", "a b", "a;b", "a=b", "a\"", "a,b", "a\r\nb", "ü", &"a".repeat(65)] {
            assert_eq!(bad.parse::<Token>(), Err(InvalidToken), "{bad:?}");
        }
    }
}
