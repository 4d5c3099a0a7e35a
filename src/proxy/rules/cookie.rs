//! Cookies of a request (RFC 6265 §4.2).

use http::HeaderMap;
use http::header::COOKIE;

/// The value of the first cookie of this name. HTTP/2 may spread cookies over several fields
/// (RFC 9113 §8.2.3).
pub(super) fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let fields = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut cookies = fields.flat_map(|field| field.split(';'));
    cookies.find_map(|cookie| {
        let (found, value) = cookie.split_once('=')?;
        let value = value.trim();
        let unquoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        (found.trim() == name).then(|| unquoted.unwrap_or(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_found_among_others() {
        let mut headers = HeaderMap::new();
        for value in ["a=1; b=\"2\";c = 3", "d", "e=x=y; a=9; =; ;", "f="] {
            headers.append(COOKIE, value.parse().expect("a value"));
        }
        for (name, value) in [
            ("a", Some("1")),
            ("b", Some("2")),
            ("c", Some("3")),
            ("d", None),
            ("e", Some("x=y")),
            ("f", Some("")),
            ("A", None),
            ("g", None),
        ] {
            assert_eq!(cookie(&headers, name), value, "{name}");
        }
    }
}
