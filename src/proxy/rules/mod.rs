//! What a route asks of its requests: two steps of a request's way, one before its service is
//! asked for anything, and one on the response.
//!
//! *Invariant:* a route without rules costs one look at a pointer.
//!
//! *Invariant:* what is refused here has taken nobody's place, and its body was not asked for.

mod rate;
pub(super) mod compress;
mod coding;
mod affinity;
mod marks;
mod cookie;

use http::header::{ALLOW, CONTENT_LENGTH};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response};

use crate::clock;
use crate::model::{Code, RouteRules};
use crate::runtime::{LiveRules, Pick};

use self::compress::Accepted;
use super::failure::Failure;
use super::origin::Origin;

/// A request that its route's rules have let pass.
#[derive(Debug)]
pub(super) struct Passed {
    /// The largest body that it may have.
    pub(super) most_body: u64,
    /// Where the service sends it, as far as the request says so.
    pub(super) pick: Pick,
    /// How its response may be compressed, where the route compresses.
    coding: Option<Accepted>,
    /// What its response has to say.
    fields: HeaderMap,
}

impl Passed {
    /// Asks the rules. Methods and addresses come before rate limits, so that what is refused
    /// anyway is not counted.
    pub(super) fn by(
        rules: Option<&LiveRules>,
        head: &Parts,
        origin: &Origin,
    ) -> Result<Self, Failure> {
        let mut passed = Self {
            most_body: u64::MAX,
            pick: Pick::default(),
            coding: None,
            fields: HeaderMap::new(),
        };
        let Some(live) = rules else { return Ok(passed) };
        let rules = &live.rules;
        check_client(rules, origin)?;
        check_method(rules, head)?;
        if let Some(most) = rules.request_body {
            passed.most_body = most.0;
            check_body(most.0, head)?;
        }
        if !rules.rate.is_empty() {
            let standings = live.limits.take(origin.client.ip(), clock::now());
            rate::check(&rules.rate, &standings, &mut passed.fields)?;
        }
        passed.pick.preferred = marks::revision(&live.steering.marked, &head.headers);
        if let Some(affinity) = &live.steering.affinity {
            let (now_ms, fields) = (clock::unix_ms(), &mut passed.fields);
            passed.pick.point = affinity::point(affinity, &live.path, head, origin, now_ms, fields);
        }
        passed.coding = rules.compress.then(|| compress::accepted(head));
        Ok(passed)
    }

    /// Adds to the response what the rules have to say. What a service says of limits of its own
    /// stands beside it.
    pub(super) fn dress<B>(self, mut reply: Response<B>) -> Response<B> {
        let headers = reply.headers_mut();
        for (name, value) in &self.fields {
            headers.append(name, value.clone());
        }
        if let Some(accepted) = self.coding {
            compress::prepare(&mut reply, accepted);
        }
        reply
    }
}

fn check_client(rules: &RouteRules, origin: &Origin) -> Result<(), Failure> {
    let client = origin.client.ip();
    let is_allowed = rules.allow.is_empty() || rules.allow.contain(client);
    match is_allowed && !rules.deny.contain(client) {
        true => Ok(()),
        false => Err(Code::ClientDenied.into()),
    }
}

fn check_method(rules: &RouteRules, head: &Parts) -> Result<(), Failure> {
    if rules.methods.contain(&head.method) {
        return Ok(());
    }
    let allow = HeaderValue::try_from(rules.methods.to_string());
    let fields = allow.into_iter().map(|allow| (ALLOW, allow)).collect();
    let detail = "the route does not answer to this method";
    Err(Failure::from(Code::MethodNotAllowed).saying(detail).with(fields))
}

/// Refuses by the declared length what would be refused by the actual one.
fn check_body(most: u64, head: &Parts) -> Result<(), Failure> {
    let declared = head.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    match declared.and_then(|value| value.parse::<u64>().ok()) {
        Some(bytes) if bytes > most => Err(Code::BodyTooLarge.into()),
        _ => Ok(()),
    }
}
