//! What a task may reach outside of itself. Nothing, unless it is granted.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use http::Method;
use serde::{Deserialize, Serialize};

use super::{
    ByteSize, InvalidName, Name, Networks, OriginHost, OriginScheme, Outbound, Rate, duration,
};

/// The rights of a task, copied out of `[role.NAME]` when the task is registered.
///
/// *Invariant:* the default grants nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Role {
    /// What the manifest calls it; nothing for a task without a role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// Servers that it may send HTTP requests to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outbound: Vec<Outbound>,
    /// Private networks that `outbound` may lead to, if the node allows them as well.
    #[serde(skip_serializing_if = "Networks::is_empty")]
    pub networks: Networks,
    /// Services of its node that it may call.
    #[serde(skip_serializing_if = "Callees::is_none")]
    pub services: Callees,
    /// How much of it.
    #[serde(skip_serializing_if = "RoleLimits::is_default")]
    pub limits: RoleLimits,
}

/// Bounds of what is sent by all tasks of a service together on one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RoleLimits {
    /// Connections at once.
    pub connections: u32,
    /// Requests under way at once, calls of services included.
    pub requests: u32,
    /// How often requests may be sent; `None` for as often as they come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// Largest body of a request.
    pub request_bytes: ByteSize,
    /// Largest body of a response, as it comes over the wire.
    pub response_bytes: ByteSize,
    /// The longest that a request may take, from when it is sent to the last byte of its
    /// response. Never more than what is left to the request that it is sent for.
    #[serde(with = "duration")]
    pub timeout: Duration,
}

/// The services that a task may call. Stored as a list of names, `*` for all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub enum Callees {
    /// Every service of its node.
    All,
    /// These.
    Some(BTreeSet<Name>),
}

impl Role {
    /// Whether it grants nothing.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether this request may be sent. `host` is in lower case and without a final dot.
    pub fn permits(&self, scheme: OriginScheme, host: &str, port: u16, method: &Method) -> bool {
        self.outbound.iter().any(|outbound| outbound.covers(scheme, host, port, method))
    }

    /// Whether this host is an address that the role names itself, which is its consent to reach
    /// it though it is private.
    pub fn names_address(&self, scheme: OriginScheme, host: &str, port: u16) -> bool {
        let is_named = |outbound: &Outbound| {
            matches!(outbound.to.host, OriginHost::Address(_))
                && outbound.to.covers(scheme, host, port)
        };
        self.outbound.iter().any(is_named)
    }
}

impl RoleLimits {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for RoleLimits {
    fn default() -> Self {
        Self {
            connections: 64,
            requests: 256,
            rate: None,
            request_bytes: ByteSize::mib(32),
            response_bytes: ByteSize::mib(64),
            timeout: Duration::from_secs(30),
        }
    }
}

impl Callees {
    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        matches!(self, Self::Some(names) if names.is_empty())
    }

    /// Whether this service is one of them.
    pub fn contain(&self, service: &Name) -> bool {
        match self {
            Self::All => true,
            Self::Some(names) => names.contains(service),
        }
    }
}

impl Default for Callees {
    fn default() -> Self {
        Self::Some(BTreeSet::new())
    }
}

impl fmt::Display for Callees {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Vec::from(self.clone()).join(" "))
    }
}

impl TryFrom<Vec<String>> for Callees {
    type Error = InvalidName;

    fn try_from(texts: Vec<String>) -> Result<Self, InvalidName> {
        if texts.iter().any(|text| text == "*") {
            return Ok(Self::All);
        }
        texts.into_iter().map(Name::try_from).collect::<Result<_, _>>().map(Self::Some)
    }
}

impl From<Callees> for Vec<String> {
    fn from(callees: Callees) -> Self {
        match callees {
            Callees::All => vec!["*".to_owned()],
            Callees::Some(names) => names.into_iter().map(String::from).collect(),
        }
    }
}

impl fmt::Display for RoleLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} connections · {} requests", self.connections, self.requests)?;
        if let Some(rate) = &self.rate {
            write!(f, " · {rate}")?;
        }
        let (sent, taken) = (self.request_bytes, self.response_bytes);
        write!(f, " · {sent} out · {taken} back · {}", duration::format(self.timeout))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_role_grants_what_it_lists_and_the_default_nothing() {
        let none: Role = serde_json::from_value(json!({})).expect("a role");
        assert!(none.is_none());
        assert!(!none.permits(OriginScheme::Https, "a.example", 443, &Method::GET));
        assert!(!none.services.contain(&"users".parse().expect("a name")));
        let written = json!({
            "name": "web",
            "outbound": ["https://a.example", { "to": "http://10.0.0.5", "methods": ["GET"] }],
            "networks": ["10.0.0.0/8"],
            "services": ["carts", "users"],
            "limits": {
                "connections": 3,
                "requests": 5,
                "rate": { "requests": 100, "per": "1s", "burst": 200 },
                "request_bytes": "1MiB",
                "response_bytes": "2MiB",
                "timeout": "5s",
            },
        });
        let role: Role = serde_json::from_value(written.clone()).expect("a role");
        assert_eq!(serde_json::to_value(&role).expect("JSON"), written);
        assert!(role.permits(OriginScheme::Https, "a.example", 443, &Method::PUT));
        assert!(!role.permits(OriginScheme::Http, "10.0.0.5", 80, &Method::PUT));
        assert!(role.services.contain(&"users".parse().expect("a name")));
        assert!(!role.services.contain(&"other".parse().expect("a name")));
        assert_eq!(role.services.to_string(), "carts users");
        let said = "3 connections · 5 requests · 100 per 1s, at once 200 · 1MiB out · \
                    2MiB back · 5s";
        assert_eq!(role.limits.to_string(), said);
    }

    #[test]
    fn a_star_is_every_service() {
        let all: Callees = serde_json::from_value(json!(["*"])).expect("callees");
        assert!(all.contain(&"anything".parse().expect("a name")));
        assert_eq!(serde_json::to_value(&all).expect("JSON"), json!(["*"]));
        assert!(serde_json::from_value::<Callees>(json!(["No Name"])).is_err());
    }
}
