//! What a route asks of the requests that it takes, before a service sees them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use http::Method;
use serde::{Deserialize, Serialize};

use super::{ByteSize, InvalidRoute, Networks, RoutePattern, duration};

/// A route with its rules. Stored as the text of its pattern when it has none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct Route {
    /// Which requests it takes.
    pub pattern: RoutePattern,
    /// What it asks of them.
    pub rules: RouteRules,
}

/// The two forms of a stored route.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Plain(RoutePattern),
    Ruled {
        #[serde(rename = "match")]
        pattern: RoutePattern,
        #[serde(flatten)]
        rules: RouteRules,
    },
}

/// What a route asks of its requests. By default nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteRules {
    /// The methods that it answers to.
    #[serde(default, skip_serializing_if = "Methods::is_any")]
    pub methods: Methods,
    /// The clients that it answers to; empty for all.
    #[serde(default, skip_serializing_if = "Networks::is_empty")]
    pub allow: Networks,
    /// The clients that it does not answer to. Wins over `allow`.
    #[serde(default, skip_serializing_if = "Networks::is_empty")]
    pub deny: Networks,
    /// How many requests it takes; all of the limits hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rate: Vec<RateLimit>,
    /// The largest request body, where that is less than the task takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_body: Option<ByteSize>,
    /// Whether its responses are compressed for clients that take it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub compress: bool,
}

impl RouteRules {
    /// Whether it asks for nothing.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// Requests in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// How many requests there may be in `per`, in the long run.
    pub requests: u32,
    /// The time that they are counted in.
    #[serde(with = "duration")]
    pub per: Duration,
    /// How many there may be at once, after a pause.
    pub burst: u32,
}

/// A rate, and whose requests count for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLimit {
    /// How many requests.
    #[serde(flatten)]
    pub rate: Rate,
    /// Whose requests are counted together.
    pub by: RateKey,
}

/// Whose requests a rate limit counts together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RateKey {
    /// All requests to the route.
    Route,
    /// Those of one client: an IPv4 address, or a /64 of IPv6.
    Client,
}

impl RateKey {
    /// The word in manifests and header fields.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Route => "route",
            Self::Client => "client",
        }
    }
}

/// The methods that a route answers to; none given means all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Methods(Vec<Method>);

/// Why text is no method of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMethod {
    /// It has characters that a method cannot have (RFC 9110 §9.1), or too many.
    #[error("a method is a word such as GET, of at most 32 characters")]
    Word,
    /// Methods are case-sensitive, and those that exist are written in upper case.
    #[error("methods are written in upper case")]
    Case,
    /// The load balancer forwards neither.
    #[error("CONNECT and TRACE are not forwarded")]
    NotForwarded,
    /// It stands there twice.
    #[error("the method is given twice")]
    Twice,
}

impl Methods {
    /// Whether all methods are meant.
    pub fn is_any(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this method is one of them. Who answers to GET answers to HEAD
    /// (RFC 9110 §9.3.2).
    pub fn contain(&self, method: &Method) -> bool {
        let has = |method| self.0.contains(method);
        self.is_any() || has(method) || (method == Method::HEAD && has(&Method::GET))
    }

    /// Adds one, so that all that were not added are refused.
    pub fn add(&mut self, text: &str) -> Result<(), InvalidMethod> {
        const MOST_BYTES: usize = 32;
        let method = text.parse::<Method>().ok().filter(|_| text.len() <= MOST_BYTES);
        let method = method.ok_or(InvalidMethod::Word)?;
        match &method {
            _ if text.bytes().any(|b| b.is_ascii_lowercase()) => Err(InvalidMethod::Case),
            &Method::CONNECT | &Method::TRACE => Err(InvalidMethod::NotForwarded),
            _ if self.0.contains(&method) => Err(InvalidMethod::Twice),
            _ => {
                self.0.push(method);
                Ok(())
            }
        }
    }
}

impl fmt::Display for Methods {
    /// As in the header field `Allow`: with the HEAD that follows from GET.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = (self.contain(&Method::HEAD) && !self.0.contains(&Method::HEAD))
            .then_some(&Method::HEAD);
        for (i, method) in self.0.iter().chain(head).enumerate() {
            write!(f, "{}{method}", if i == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl TryFrom<Vec<String>> for Methods {
    type Error = InvalidMethod;

    fn try_from(texts: Vec<String>) -> Result<Self, InvalidMethod> {
        let mut methods = Self::default();
        texts.iter().try_for_each(|text| methods.add(text))?;
        Ok(methods)
    }
}

impl From<Methods> for Vec<String> {
    fn from(methods: Methods) -> Self {
        methods.0.iter().map(ToString::to_string).collect()
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per = duration::format(self.per);
        write!(f, "{} per {per}, at once {}", self.requests, self.burst)
    }
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, by {}", self.rate, self.by.as_str())
    }
}

impl fmt::Display for RouteRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if self.is_none() {
            return f.write_str("no rules");
        }
        if !self.methods.is_any() {
            parts.push(format!("methods {}", self.methods));
        }
        for (what, networks) in [("allow", &self.allow), ("deny", &self.deny)] {
            if !networks.is_empty() {
                parts.push(format!("{what} {networks}"));
            }
        }
        parts.extend(self.rate.iter().map(|rate| format!("rate {rate}")));
        parts.extend(self.request_body.map(|most| format!("request body {most}")));
        parts.extend(self.compress.then(|| "compress".to_owned()));
        f.write_str(&parts.join(" · "))
    }
}

impl From<RoutePattern> for Route {
    fn from(pattern: RoutePattern) -> Self {
        Self { pattern, rules: RouteRules::default() }
    }
}

impl FromStr for Route {
    type Err = InvalidRoute;

    /// A route without rules.
    fn from_str(text: &str) -> Result<Self, InvalidRoute> {
        text.parse().map(|pattern: RoutePattern| pattern.into())
    }
}

impl From<Written> for Route {
    fn from(written: Written) -> Self {
        match written {
            Written::Plain(pattern) => pattern.into(),
            Written::Ruled { pattern, rules } => Self { pattern, rules },
        }
    }
}

impl From<Route> for Written {
    fn from(Route { pattern, rules }: Route) -> Self {
        match rules.is_none() {
            true => Self::Plain(pattern),
            false => Self::Ruled { pattern, rules },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_route_is_stored_as_text_or_with_its_rules() {
        let plain: Route = serde_json::from_value(json!("a.example/x")).expect("a route");
        assert!(plain.rules.is_none());
        assert_eq!(serde_json::to_value(&plain).expect("JSON"), json!("a.example/x/*"));
        let ruled = json!({
            "match": "a.example/*",
            "methods": ["GET", "PURGE"],
            "allow": ["10.0.0.0/8", "::1/128"],
            "rate": [{ "requests": 5, "per": "1m", "burst": 2, "by": "client" }],
            "request_body": "1MiB",
            "compress": true,
        });
        let route: Route = serde_json::from_value(ruled.clone()).expect("a route");
        assert_eq!(serde_json::to_value(&route).expect("JSON"), ruled);
        let said = "methods GET, PURGE, HEAD · allow 10.0.0.0/8 ::1/128 · \
                    rate 5 per 1m, at once 2, by client · request body 1MiB · compress";
        assert_eq!(route.rules.to_string(), said);
    }

    #[test]
    fn head_follows_get_and_nothing_else_does() {
        let methods = |texts: &[&str]| {
            Methods::try_from(texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
        };
        let get = methods(&["GET"]).expect("methods");
        assert!(get.contain(&Method::GET) && get.contain(&Method::HEAD));
        assert!(!get.contain(&Method::POST) && !get.contain(&Method::OPTIONS));
        let head = methods(&["HEAD"]).expect("methods");
        assert!(head.contain(&Method::HEAD) && !head.contain(&Method::GET));
        assert_eq!(head.to_string(), "HEAD");
        assert!(methods(&[]).expect("any").contain(&Method::DELETE));
        assert_eq!(methods(&["get"]), Err(InvalidMethod::Case));
        assert_eq!(methods(&["GET", "GET"]), Err(InvalidMethod::Twice));
        assert_eq!(methods(&["TRACE"]), Err(InvalidMethod::NotForwarded));
        for word in ["", "A B", "G\r\nX: y", &"A".repeat(33)] {
            assert_eq!(methods(&[word]), Err(InvalidMethod::Word), "{word:?}");
        }
    }
}
