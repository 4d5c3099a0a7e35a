//! Requests that go to one revision because of what they carry.

use http::HeaderMap;

use crate::model::{Mark, Marked};

use super::cookie::cookie;

/// The revision of the first that fits.
pub(super) fn revision(marked: &[Marked], headers: &HeaderMap) -> Option<u64> {
    let carries = |marked: &&Marked| {
        let header = marked.header.as_ref().is_some_and(|mark| has_header(mark, headers));
        header || marked.cookie.as_ref().is_some_and(|mark| has_cookie(mark, headers))
    };
    marked.iter().find(carries).map(|marked| marked.revision)
}

/// A field may be there several times; one of them is enough.
fn has_header(mark: &Mark, headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(mark.name.as_str()).iter();
    match &mark.value {
        Some(wanted) => values.any(|value| value.as_bytes() == wanted.as_bytes()),
        None => values.next().is_some(),
    }
}

fn has_cookie(mark: &Mark, headers: &HeaderMap) -> bool {
    let found = cookie(headers, mark.name.as_str());
    found.is_some_and(|found| mark.value.as_deref().is_none_or(|wanted| wanted == found))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(name: &str, value: Option<&str>) -> Option<Mark> {
        Some(Mark { name: name.parse().expect("a name"), value: value.map(Into::into) })
    }

    #[test]
    fn the_first_mark_that_a_request_carries_decides() {
        let marked = [
            Marked { revision: 3, header: mark("X-Canary", Some("1")), cookie: None },
            Marked { revision: 4, header: mark("x-canary", None), cookie: mark("c", Some("yes")) },
            Marked { revision: 5, header: None, cookie: mark("c", None) },
        ];
        for (fields, expected) in [
            (&[][..], None),
            (&[("x-canary", "1")], Some(3)),
            (&[("x-canary", "2"), ("x-canary", "1")], Some(3)),
            (&[("x-canary", "11")], Some(4)),
            (&[("cookie", "a=b; c=yes")], Some(4)),
            (&[("cookie", "c=no")], Some(5)),
            (&[("cookie", "C=no"), ("c", "yes")], None),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(*name, value.parse().expect("a value"));
            }
            assert_eq!(revision(&marked, &headers), expected, "{fields:?}");
        }
    }
}
