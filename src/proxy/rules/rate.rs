//! What a client is told of rate limits (draft-ietf-httpapi-ratelimit-headers-10).

use std::fmt::Write as _;
use std::time::Duration;

use http::header::{HeaderName, RETRY_AFTER};
use http::{HeaderMap, HeaderValue};

use crate::model::{Code, RateLimit};
use crate::routing::Standing;

use super::super::failure::Failure;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// Writes where the limits stand into `fields`, or refuses with them.
pub(super) fn check(
    limits: &[RateLimit],
    standings: &[Standing],
    fields: &mut HeaderMap,
) -> Result<(), Failure> {
    say(limits, standings, fields);
    let Some(wait) = standings.last().and_then(|last| last.refused_for) else { return Ok(()) };
    fields.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(wait).max(1)));
    Err(Failure::from(Code::RateLimited).with(std::mem::take(fields)))
}

/// Both are lists of the structured fields of RFC 9651. Limits that were not asked, because one
/// before them refused, have no standing.
fn say(limits: &[RateLimit], standings: &[Standing], fields: &mut HeaderMap) {
    let (mut policy, mut limit) = (String::new(), String::new());
    for (i, one) in limits.iter().enumerate() {
        let (name, rate) = (name(limits, i), one.rate);
        let comma = if i == 0 { "" } else { ", " };
        // Writing into a `String` cannot fail.
        let _ =
            write!(policy, "{comma}\"{name}\";q={};w={}", rate.requests, whole_seconds(rate.per));
        if let Some(Standing { left, full_in, .. }) = standings.get(i) {
            let _ = write!(limit, "{comma}\"{name}\";r={left};t={}", whole_seconds(*full_in));
        }
    }
    for (field, value) in [(POLICY, policy), (LIMIT, limit)] {
        if let Ok(value) = HeaderValue::try_from(value) {
            fields.insert(field, value);
        }
    }
}

/// `client`, and `client-2` for the second of the kind.
fn name(limits: &[RateLimit], position: usize) -> String {
    let by = limits[position].by;
    let kind = by.as_str();
    match limits[..position].iter().filter(|before| before.by == by).count() {
        0 => kind.to_owned(),
        before => format!("{kind}-{}", before + 1),
    }
}

/// A started second counts as one.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Rate, RateKey};

    fn limit(requests: u32, by: RateKey) -> RateLimit {
        let rate = Rate { requests, per: Duration::from_millis(1_500), burst: requests };
        RateLimit { rate, by }
    }

    #[test]
    fn standings_are_said_in_structured_fields() {
        let limits =
            [limit(100, RateKey::Client), limit(5, RateKey::Route), limit(7, RateKey::Client)];
        let standing = |left, refused_for| Standing {
            left,
            full_in: Duration::from_millis(30_001),
            refused_for,
        };
        let mut fields = HeaderMap::new();
        let standings = [standing(50, None), standing(1, None), standing(0, None)];
        assert!(check(&limits, &standings, &mut fields).is_ok());
        let policy = r#""client";q=100;w=2, "route";q=5;w=2, "client-2";q=7;w=2"#;
        assert_eq!(fields["ratelimit-policy"], policy);
        let said = r#""client";r=50;t=31, "route";r=1;t=31, "client-2";r=0;t=31"#;
        assert_eq!(fields["ratelimit"], said);
        let standings = [standing(50, None), standing(0, Some(Duration::from_millis(1_001)))];
        let failure = check(&limits, &standings, &mut fields).expect_err("refused");
        assert_eq!(failure.code, Code::RateLimited);
        assert_eq!(failure.fields["retry-after"], "2");
        assert_eq!(failure.fields["ratelimit"], r#""client";r=50;t=31, "route";r=0;t=31"#);
    }
}
