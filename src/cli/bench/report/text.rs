//! Numbers as people read them.

/// A number with as many digits as mean something, and thin spaces between thousands.
pub(super) fn number(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    match value.abs() {
        v if v >= 99.95 => thousands(value),
        v if v >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// A whole number with thin spaces between thousands.
pub(super) fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    if value < 0.0 && digits != "0" { format!("−{text}") } else { text }
}

/// A time given in microseconds: its number and its unit.
pub(super) fn time(us: f64) -> (String, &'static str) {
    match us {
        us if us >= 999_500.0 => (number(us / 1e6), "s"),
        us if us >= 999.5 => (number(us / 1e3), "ms"),
        us => (number(us), "µs"),
    }
}

/// A number of bytes: its number and its unit.
pub(super) fn size(bytes: f64) -> (String, &'static str) {
    match bytes.abs() {
        b if b >= 1_073_741_824.0 => (number(bytes / 1_073_741_824.0), "GiB"),
        b if b >= 1_048_576.0 => (number(bytes / 1_048_576.0), "MiB"),
        b if b >= 1_000.0 => (number(bytes / 1_024.0), "KiB"),
        _ => (number(bytes), "B"),
    }
}

/// Both on one line.
pub(super) fn with_unit((number, unit): (String, &str)) -> String {
    format!("{number} {unit}")
}

/// Text that stands in HTML.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_mean_something() {
        for (value, text) in [
            (0.0, "0.00"),
            (1.036, "1.04"),
            (12.34, "12.3"),
            (123.4, "123"),
            (1_234_567.0, "1\u{202f}234\u{202f}567"),
            (-2_000.0, "−2\u{202f}000"),
            (f64::NAN, "–"),
        ] {
            assert_eq!(number(value), text);
        }
        assert_eq!(with_unit(time(999.7)), "1.00 ms");
        assert_eq!(with_unit(time(42.0)), "42.0 µs");
        assert_eq!(with_unit(time(2.5e6)), "2.50 s");
        assert_eq!(with_unit(size(1_536.0)), "1.50 KiB");
        assert_eq!(with_unit(size(900.0)), "900 B");
        assert_eq!(escaped("<a & \"b\">"), "&lt;a &amp; &quot;b&quot;&gt;");
    }
}
