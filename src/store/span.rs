//! From the keys that a read asks for to the bounds of a scan.

use std::ops::Bound;

use bytes::Bytes;

use super::types::{RangeReq, Span};

/// Lower and upper bound of a scan, as `BTreeMap::range` wants them: never empty or inverted.
pub(super) type Bounds = (Bound<Bytes>, Bound<Bytes>);

/// The bounds of a read, or `None` when no key can be inside.
pub(super) fn bounds(req: &RangeReq) -> Option<Bounds> {
    let (mut lower, upper) = match &req.span {
        Span::Key(key) => (Bound::Included(key.clone()), Bound::Included(key.clone())),
        Span::Prefix(prefix) => (Bound::Included(prefix.clone()), prefix_end(prefix)),
        Span::Between(first, end) => (Bound::Included(first.clone()), Bound::Excluded(end.clone())),
    };
    if let Some(after) = &req.after
        && let Bound::Included(first) = &lower
        && after >= first
    {
        lower = Bound::Excluded(after.clone());
    }
    let empty = match (&lower, &upper) {
        (Bound::Included(a), Bound::Included(b)) => a > b,
        (Bound::Included(a) | Bound::Excluded(a), Bound::Included(b) | Bound::Excluded(b)) => {
            a >= b
        }
        _ => false,
    };
    (!empty).then_some((lower, upper))
}

/// Borrows bounds for the lookup.
pub(super) fn borrow(bounds: &Bounds) -> (Bound<&[u8]>, Bound<&[u8]>) {
    (bounds.0.as_ref().map(|key| &key[..]), bounds.1.as_ref().map(|key| &key[..]))
}

/// The first key behind all keys that start with `prefix`.
fn prefix_end(prefix: &[u8]) -> Bound<Bytes> {
    let Some(last) = prefix.iter().rposition(|&byte| byte != u8::MAX) else {
        return Bound::Unbounded;
    };
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Bound::Excluded(end.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_its_successor() {
        assert_eq!(prefix_end(b"a/"), Bound::Excluded(Bytes::from_static(b"a0")));
        assert_eq!(prefix_end(b"a\xff\xff"), Bound::Excluded(Bytes::from_static(b"b")));
        assert_eq!(prefix_end(b"\xff"), Bound::Unbounded);
        assert_eq!(prefix_end(b""), Bound::Unbounded);
    }

    #[test]
    fn empty_and_inverted_spans_have_no_bounds() {
        assert_eq!(bounds(&RangeReq::between("b", "a")), None);
        assert_eq!(bounds(&RangeReq::between("a", "a")), None);
        assert_eq!(bounds(&RangeReq::key("a").after("a")), None);
        assert_eq!(bounds(&RangeReq::between("a", "c").after("c")), None);
        assert!(bounds(&RangeReq::between("a", "c").after("b")).is_some());
        assert!(bounds(&RangeReq::key("b").after("a")).is_some());
    }
}
