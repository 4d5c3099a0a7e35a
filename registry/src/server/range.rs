//! `Range` of a download and `Content-Range` of an upload. Pure.

use std::ops::RangeInclusive;

/// What a `Range` header asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// All of it: there is no header, or one that may be ignored (RFC 9110 section 14.2).
    Whole,
    /// These bytes.
    Part(RangeInclusive<u64>),
    /// Bytes that do not exist.
    Unsatisfiable,
}

/// Reads a `Range` header against a content of `size` bytes.
pub(super) fn asked(header: Option<&str>, size: u64) -> Asked {
    let Some(spec) = header.and_then(|text| text.strip_prefix("bytes=")) else {
        return Asked::Whole;
    };
    // Several ranges would need a multipart answer, which no registry gives.
    let Some((first, last)) = spec.trim().split_once('-').filter(|_| !spec.contains(',')) else {
        return Asked::Whole;
    };
    let end = size.saturating_sub(1);
    match (number(first), number(last)) {
        (Some(first), _) if first >= size && (last.is_empty() || number(last).is_some()) => {
            Asked::Unsatisfiable
        }
        (Some(first), None) if last.is_empty() => Asked::Part(first..=end),
        (Some(first), Some(last)) if first <= last => Asked::Part(first..=last.min(end)),
        (None, Some(0)) if first.is_empty() => Asked::Unsatisfiable,
        (None, Some(_)) if first.is_empty() && size == 0 => Asked::Unsatisfiable,
        (None, Some(count)) if first.is_empty() => Asked::Part(size.saturating_sub(count)..=end),
        _ => Asked::Whole,
    }
}

/// Reads the `Content-Range` of a chunk: `<first>-<last>`, by the OCI specification without a
/// unit; the form of RFC 9110 is understood as well.
pub(super) fn chunk(header: &str) -> Option<RangeInclusive<u64>> {
    let text = header.strip_prefix("bytes ").unwrap_or(header);
    let text = text.split_once('/').map_or(text, |(range, _)| range);
    let (first, last) = text.trim().split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some(first..=last)
}

fn number(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_by_rfc_9110() {
        for (header, expected) in [
            ("bytes=0-4", Asked::Part(0..=4)),
            ("bytes=4-", Asked::Part(4..=9)),
            ("bytes=4-100", Asked::Part(4..=9)),
            ("bytes=-3", Asked::Part(7..=9)),
            ("bytes=-100", Asked::Part(0..=9)),
            ("bytes=10-", Asked::Unsatisfiable),
            ("bytes=10-12", Asked::Unsatisfiable),
            ("bytes=-0", Asked::Unsatisfiable),
            ("bytes=4-3", Asked::Whole),
            ("bytes=0-1,3-4", Asked::Whole),
            ("bytes=x-3", Asked::Whole),
            ("bytes=3-x", Asked::Whole),
            ("bytes=-", Asked::Whole),
            ("items=0-1", Asked::Whole),
            ("bytes=99999999999999999999999-", Asked::Whole),
        ] {
            assert_eq!(asked(Some(header), 10), expected, "{header}");
        }
        assert_eq!(asked(None, 10), Asked::Whole);
        assert_eq!(asked(Some("bytes=0-"), 0), Asked::Unsatisfiable);
        assert_eq!(asked(Some("bytes=-1"), 0), Asked::Unsatisfiable);
    }

    #[test]
    fn chunks_in_either_form() {
        assert_eq!(chunk("0-9"), Some(0..=9));
        assert_eq!(chunk("bytes 10-19/100"), Some(10..=19));
        for bad in ["", "9", "-", "9-0", "a-b", "+1-2", "0-99999999999999999999999"] {
            assert_eq!(chunk(bad), None, "{bad}");
        }
    }
}
