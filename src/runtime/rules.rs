//! The rules of a route in force, with what they have counted.

use std::sync::Arc;

use crate::model::{Route, RoutePattern, RouteRules, Steering};

use super::limits::RateLimits;

/// What a route asks of its requests.
#[derive(Debug)]
pub struct LiveRules {
    /// As its owner wrote them.
    pub rules: RouteRules,
    /// The path that all its requests have in common, as in a cookie.
    pub path: Box<str>,
    /// Where the requests go, besides shares and tags.
    pub steering: Steering,
    /// The rate limits among them, shared with the routes of its tags.
    pub limits: Arc<RateLimits>,
}

impl LiveRules {
    /// These rules, which go on counting where `before` counted by the same limits. Nothing if
    /// they ask for nothing.
    pub fn of(route: &Route, steering: &Steering, before: Option<&Arc<Self>>) -> Option<Arc<Self>> {
        let rules = &route.rules;
        if rules.is_none() && steering.is_none() {
            return None;
        }
        let same = before.filter(|before| before.rules.rate == rules.rate);
        let limits = same.map(|before| Arc::clone(&before.limits));
        let limits = limits.unwrap_or_else(|| Arc::new(RateLimits::of(&rules.rate)));
        let path = cookie_path(&route.pattern);
        Some(Arc::new(Self { rules: rules.clone(), path, steering: steering.clone(), limits }))
    }
}

/// The path of a cookie that comes back with each request to the route, and goes to no other where
/// that can be said: a path with `;` cannot stand in a cookie.
fn cookie_path(route: &RoutePattern) -> Box<str> {
    match &*route.prefix {
        "" => "/".into(),
        prefix if prefix.contains(';') => "/".into(),
        prefix => prefix.into(),
    }
}
