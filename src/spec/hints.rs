//! What the writer of a bad value probably meant.
//!
//! *Invariant:* a hint that names a value writes it in a notation that is understood.

use super::reader::Shape;
use crate::model::{ByteSize, Name, duration};

/// Keys longer than this are no misspelt key of ours; bounds the work of [`distance`].
const LONGEST_KEY: usize = 40;

pub(super) const SIZE: &str = "write text such as \"64MiB\" (KiB, MiB, GiB, KB, MB, GB)";
pub(super) const TIME: &str = "write text such as \"250ms\", \"10s\", \"5m\" or \"1h\"";

/// For a key that the table does not have.
pub(super) fn unknown_key(key: &str, shape: &Shape) -> String {
    if key == "<<" {
        return "merge keys have no meaning here; an alias can stand for a whole value".to_owned();
    }
    let slip = shape.slips.iter().find(|(name, _)| *name == key);
    let first = match (slip, nearest(key, shape.keys)) {
        (Some((_, hint)), _) => format!("{hint}; "),
        (None, Some(known)) => format!("did you mean `{known}`? "),
        (None, None) => String::new(),
    };
    format!("{first}known keys here: {}", shape.keys.join(", "))
}

/// The known key that is nearest to `key`, if one is near.
pub(super) fn nearest<'k>(key: &str, known: &[&'k str]) -> Option<&'k str> {
    if key.is_empty() || key.len() > LONGEST_KEY {
        return None;
    }
    let plain = key.to_lowercase().replace('-', "_");
    let near = (plain.chars().count() / 3).max(1);
    known
        .iter()
        .map(|name| (distance(&plain, name), *name))
        .filter(|(far, _)| *far <= near)
        .min()
        .map(|(_, name)| name)
}

/// Levenshtein's distance, one row at a time.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substitute = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substitute.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// A key as it stands in a path: in quotes if a dot or a space would mislead.
pub(super) fn quoted_key(key: &str) -> String {
    let bare = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    match !key.is_empty() && key.chars().all(bare) {
        true => key.to_owned(),
        false => format!("\"{key}\""),
    }
}

/// A valid name that resembles `text`.
pub(super) fn name(text: &str) -> String {
    const RULE: &str = "a name has 1 to 63 characters out of a-z, 0-9 and -, such as `hello-2`";
    let dashed = |c: char| {
        if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }
    };
    let candidate: String = text.chars().take(Name::MAX_LEN).map(dashed).collect();
    let candidate = candidate.trim_matches('-');
    match text.is_ascii() && text.len() <= Name::MAX_LEN && candidate.parse::<Name>().is_ok() {
        true => format!("write `{candidate}`; {RULE}"),
        false => RULE.to_owned(),
    }
}

/// For a float where a whole number belongs.
pub(super) fn float_for_integer(float: f64) -> String {
    match float.fract() == 0.0 && (0.0..=1e15).contains(&float) {
        true => format!("write {float:.0}, without a decimal point or an exponent"),
        false => "write a whole number, without a decimal point or an exponent".to_owned(),
    }
}

/// For text where a whole number belongs.
pub(super) fn text_for_integer(text: &str) -> Option<String> {
    let digits = text.trim().replace(['_', ','], "");
    let number: u64 = digits.parse().ok()?;
    Some(format!("write {number}, without quotes or separators"))
}

/// For a size in a notation that is not ours: `64mb`, `512Mi`, `1.5 GiB`.
pub(super) fn size(text: &str) -> Option<String> {
    let (number, unit) = split(text.trim())?;
    let unit = match unit.to_ascii_lowercase().as_str() {
        "b" | "byte" | "bytes" => ByteSize(1),
        "k" | "kb" | "ki" | "kib" => ByteSize::kib(1),
        "m" | "mb" | "mi" | "mib" => ByteSize::mib(1),
        "g" | "gb" | "gi" | "gib" => ByteSize::gib(1),
        "t" | "tb" | "ti" | "tib" => ByteSize::gib(1_024),
        _ => return None,
    };
    let size = ByteSize(scaled(number, unit.0)?);
    Some(format!("write \"{size}\"; KiB, MiB, GiB are powers of 1024, KB, MB, GB of 1000"))
}

/// For a duration in a notation that is not ours: `10`, `1.5s`, `10 sec`, `1m30s`, `1d`.
pub(super) fn time(text: &str) -> Option<String> {
    let mut rest = text.trim();
    let bare = rest.parse::<f64>().is_ok();
    let mut total_ms = 0u64;
    while !rest.is_empty() {
        let (number, unit) = split(rest)?;
        let end = unit.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(unit.len());
        let unit_ms = match unit[..end].to_ascii_lowercase().as_str() {
            "ms" | "msec" | "millis" | "milliseconds" => 1,
            "" if bare => 1_000,
            "s" | "sec" | "secs" | "second" | "seconds" => 1_000,
            "m" | "min" | "mins" | "minute" | "minutes" => 60_000,
            "h" | "hr" | "hrs" | "hour" | "hours" => 3_600_000,
            "d" | "day" | "days" => 86_400_000,
            _ => return None,
        };
        total_ms = total_ms.checked_add(scaled(number, unit_ms)?)?;
        rest = unit[end..].trim_start();
    }
    if total_ms == 0 {
        return None;
    }
    let written = duration::format(std::time::Duration::from_millis(total_ms));
    Some(match bare {
        true => format!("write \"{written}\" if you meant seconds; the units are ms, s, m, h"),
        false => format!("write \"{written}\"; the units are ms, s, m, h"),
    })
}

/// Splits `1.5 GiB` into the number and what follows it.
fn split(text: &str) -> Option<(f64, &str)> {
    let number = |c: char| c.is_ascii_digit() || c == '.' || c == '_';
    let end = text.find(|c: char| !number(c)).unwrap_or(text.len());
    let value = text[..end].replace('_', "").parse().ok()?;
    Some((value, text[end..].trim_start()))
}

/// `number` units, if that is a whole and sensible amount.
fn scaled(number: f64, unit: u64) -> Option<u64> {
    // Exact in a float, and more than any bound in `bounds`.
    const MOST: f64 = 9e15;
    let amount = number * unit as f64;
    (amount.fract() == 0.0 && (1.0..=MOST).contains(&amount)).then_some(amount as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_keys_are_found_and_far_ones_are_not() {
        let known = ["memory", "instance_memory", "cpu", "env", "route"];
        for (key, near) in [
            ("memry", Some("memory")),
            ("instanceMemory", Some("instance_memory")),
            ("instance-memory", Some("instance_memory")),
            ("CPU", Some("cpu")),
            ("routes", Some("route")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(key, &known), near, "{key}");
        }
        assert_eq!(nearest(&"x".repeat(1 << 20), &known), None);
        assert_eq!((distance("kitten", "sitting"), distance("", "abc")), (3, 3));
    }

    #[test]
    fn quantities_are_translated() {
        for (text, meant) in
            [("64mb", "64MiB"), ("512Mi", "512MiB"), ("1.5 GiB", "1536MiB"), ("64m", "64MiB")]
        {
            assert!(size(text).expect(text).contains(&format!("\"{meant}\"")), "{text}");
        }
        for (text, meant) in [
            ("10", "10s"),
            ("0.5", "500ms"),
            ("10 sec", "10s"),
            ("1m30s", "90s"),
            ("1d", "24h"),
            ("1.5h", "90m"),
        ] {
            assert!(time(text).expect(text).contains(&format!("\"{meant}\"")), "{text}");
        }
        for text in ["", "x", "-5s", "0", "NaN", "inf", "1e400", "10 parsecs", "ü", "1.s.2"] {
            assert_eq!(time(text), None, "{text}");
        }
        assert_eq!((size("64 apples"), size("-64mb"), size("")), (None, None, None));
    }
}
