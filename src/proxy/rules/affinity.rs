//! The point of a client on the circle that shares divide.
//!
//! A cookie holds the point and not a revision: whoever was sent to a new revision stays there
//! while its share grows, and whoever was not stays until the share reaches its point. Beside the
//! point it holds when it was given, so that it is renewed for clients that come again and again.

use std::time::Duration;

use http::header::SET_COOKIE;
use http::request::Parts;
use http::{HeaderMap, HeaderValue};

use crate::model::{Affinity, Token};
use crate::routing::{Client, point as point_of};

use super::super::origin::Origin;
use super::cookie::cookie;

/// Digits of a point in a cookie, and of the seconds since the Unix epoch at which it was given.
const DIGITS: usize = 8;

/// The point that `affinity` gives a request, if it gives one. A cookie that the client does not
/// have yet, or not for long any more, goes to `fields`.
pub(super) fn point(
    affinity: &Affinity,
    path: &str,
    head: &Parts,
    origin: &Origin,
    now_ms: u64,
    fields: &mut HeaderMap,
) -> Option<u32> {
    match affinity {
        Affinity::Client => Some(Client::from(origin.client.ip()).point()),
        Affinity::Header(name) => Some(point_of(head.headers.get(name.as_str())?.as_bytes())),
        Affinity::Cookie { name, ttl } => {
            let now_s = (now_ms / 1_000) as u32;
            let known = cookie(&head.headers, name.as_str()).and_then(Given::read);
            if let Some(known) = known.filter(|known| !known.is_old(now_s, *ttl)) {
                return Some(known.point);
            }
            let point = known.map_or_else(rand::random, |known| known.point);
            let given = Given { point, at_s: now_s };
            let value = given.cookie(name, path, ttl.as_secs(), origin.secure);
            fields.extend(value.map(|value| (SET_COOKIE, value)));
            Some(point)
        }
    }
}

/// What a cookie holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Given {
    point: u32,
    /// When, in seconds since the Unix epoch: enough until 2106.
    at_s: u32,
}

impl Given {
    /// Reads what was given, and nothing else that could be read as a number. A point alone is as
    /// old as can be.
    fn read(value: &str) -> Option<Self> {
        let number = |text: &str| {
            let is_number = text.len() == DIGITS && text.bytes().all(|b| b.is_ascii_hexdigit());
            u32::from_str_radix(text, 16).ok().filter(|_| is_number)
        };
        match value.split_at_checked(DIGITS)? {
            (point, "") => Some(Self { point: number(point)?, at_s: 0 }),
            (point, at) => Some(Self { point: number(point)?, at_s: number(at)? }),
        }
    }

    /// Whether half of its time is over, or the clock says that it has not begun.
    fn is_old(self, now_s: u32, ttl: Duration) -> bool {
        let age_s = now_s.checked_sub(self.at_s);
        age_s.is_none_or(|age_s| u64::from(age_s) >= ttl.as_secs() / 2)
    }

    fn cookie(self, name: &Token, path: &str, ttl_s: u64, secure: bool) -> Option<HeaderValue> {
        let Self { point, at_s } = self;
        let secure = if secure { "; Secure" } else { "" };
        let value = format!(
            "{name}={point:0DIGITS$x}{at_s:0DIGITS$x}; Path={path}; Max-Age={ttl_s}; HttpOnly; \
             SameSite=Lax{secure}"
        );
        HeaderValue::try_from(value).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_written_and_read() {
        let name = "wharf".parse().expect("a name");
        let given = Given { point: 0xab, at_s: 0x6500_0000 };
        let value = given.cookie(&name, "/api", 3_600, true).expect("a field");
        let expected =
            "wharf=000000ab65000000; Path=/api; Max-Age=3600; HttpOnly; SameSite=Lax; Secure";
        assert_eq!(value, expected);
        assert_eq!(Given::read("000000ab65000000"), Some(given));
        assert_eq!(Given::read("FFFFFFFF"), Some(Given { point: u32::MAX, at_s: 0 }));
        for bad in ["", "ab", "+00000ab", "000000abc", "0x0000ab", "zzzzzzzz", "ééée"] {
            assert_eq!(Given::read(bad), None, "{bad}");
        }
        for bad in ["000000ab+5000000", "000000ab650000000", "000000ab6500000é"] {
            assert_eq!(Given::read(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_cookie_is_old_when_half_of_its_time_is_over() {
        let given = Given { point: 1, at_s: 1_000 };
        let is_old = |now_s| given.is_old(now_s, Duration::from_secs(100));
        assert_eq!([1_000, 1_049].map(is_old), [false, false]);
        assert_eq!([1_050, 9_000, 999].map(is_old), [true, true, true]);
    }
}
