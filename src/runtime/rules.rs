//! The rules of a route in force, with what they have counted.

use std::sync::Arc;

use crate::model::RouteRules;

use super::limits::RateLimits;

/// What a route asks of its requests.
#[derive(Debug)]
pub struct LiveRules {
    /// As its owner wrote them.
    pub rules: RouteRules,
    /// The rate limits among them, shared with the routes of its tags.
    pub limits: Arc<RateLimits>,
}

impl LiveRules {
    /// These rules, which go on counting where `before` counted by the same limits. Nothing if
    /// they ask for nothing.
    pub fn of(rules: &RouteRules, before: Option<&Arc<Self>>) -> Option<Arc<Self>> {
        if rules.is_none() {
            return None;
        }
        if let Some(before) = before.filter(|before| before.rules == *rules) {
            return Some(Arc::clone(before));
        }
        let same = before.filter(|before| before.rules.rate == rules.rate);
        let limits = same.map(|before| Arc::clone(&before.limits));
        let limits = limits.unwrap_or_else(|| Arc::new(RateLimits::of(&rules.rate)));
        Some(Arc::new(Self { rules: rules.clone(), limits }))
    }
}
