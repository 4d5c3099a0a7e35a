//! The point of a client on the circle that shares divide.
//!
//! A cookie holds the point and not a revision: whoever was sent to a new revision stays there
//! while its share grows, and whoever was not stays until the share reaches its point.

use http::header::SET_COOKIE;
use http::request::Parts;
use http::{HeaderMap, HeaderValue};

use crate::model::{Affinity, Token};
use crate::routing::{Client, point as point_of};

use super::super::origin::Origin;
use super::cookie::cookie;

/// Digits of a point in a cookie.
const DIGITS: usize = 8;

/// The point that `affinity` gives a request, if it gives one. A cookie that the client does not
/// have yet goes to `fields`.
pub(super) fn point(
    affinity: &Affinity,
    path: &str,
    head: &Parts,
    origin: &Origin,
    fields: &mut HeaderMap,
) -> Option<u32> {
    match affinity {
        Affinity::Client => Some(Client::from(origin.client.ip()).point()),
        Affinity::Header(name) => Some(point_of(head.headers.get(name.as_str())?.as_bytes())),
        Affinity::Cookie { name, ttl } => {
            let known = cookie(&head.headers, name.as_str()).and_then(read);
            Some(known.unwrap_or_else(|| {
                let point = rand::random();
                let value = give(name, point, path, ttl.as_secs(), origin.secure);
                fields.extend(value.map(|value| (SET_COOKIE, value)));
                point
            }))
        }
    }
}

/// Reads a point, and nothing else that could be read as a number.
fn read(value: &str) -> Option<u32> {
    let is_point = value.len() == DIGITS && value.bytes().all(|b| b.is_ascii_hexdigit());
    u32::from_str_radix(value, 16).ok().filter(|_| is_point)
}

fn give(name: &Token, point: u32, path: &str, ttl_s: u64, secure: bool) -> Option<HeaderValue> {
    let secure = if secure { "; Secure" } else { "" };
    let value = format!(
        "{name}={point:0DIGITS$x}; Path={path}; Max-Age={ttl_s}; HttpOnly; SameSite=Lax{secure}"
    );
    HeaderValue::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_written_and_read() {
        let name = "wharf".parse().expect("a name");
        let value = give(&name, 0xab, "/api", 3_600, true).expect("a field");
        let expected = "wharf=000000ab; Path=/api; Max-Age=3600; HttpOnly; SameSite=Lax; Secure";
        assert_eq!(value, expected);
        assert_eq!((read("000000ab"), read("FFFFFFFF")), (Some(0xab), Some(u32::MAX)));
        for bad in ["", "ab", "+00000ab", "000000abc", "0x0000ab", "zzzzzzzz", "ééée"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
