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

/// The same without zeros at the end of a fraction: for what was chosen, and not measured.
pub(super) fn round(value: f64) -> String {
    let text = number(value);
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// Numbers with as many digits of a fraction as the one of them that needs most: ticks.
pub(super) fn alike(values: &[f64]) -> Vec<String> {
    let is_exact = |value: &f64, power: f64| {
        let scaled = value * power;
        (scaled - scaled.round()).abs() < 1e-6
    };
    let fits = |digits: &usize| {
        let power = 10_f64.powi(*digits as i32);
        values.iter().all(|value| is_exact(value, power))
    };
    match (0..6).find(fits).unwrap_or(6) {
        0 => values.iter().map(|value| thousands(*value)).collect(),
        digits => values.iter().map(|value| format!("{value:.digits$}")).collect(),
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

/// A round time given in microseconds.
pub(super) fn round_time(us: f64) -> String {
    let (power, unit) = match us {
        us if us >= 999_500.0 => (1e6, "s"),
        us if us >= 999.5 => (1e3, "ms"),
        _ => (1.0, "µs"),
    };
    with_unit((round(us / power), unit))
}

/// Both on one line, which does not break between them.
pub(super) fn with_unit((number, unit): (String, &str)) -> String {
    format!("{number}\u{a0}{unit}")
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
        assert_eq!(with_unit(time(999.7)), "1.00\u{a0}ms");
        assert_eq!(with_unit(time(42.0)), "42.0\u{a0}µs");
        assert_eq!(with_unit(time(2.5e6)), "2.50\u{a0}s");
        assert_eq!(with_unit(size(1_536.0)), "1.50\u{a0}KiB");
        assert_eq!(with_unit(size(900.0)), "900\u{a0}B");
        assert_eq!(["5", "2.5", "100"].map(str::to_owned), [5.0, 2.5, 100.0].map(round));
        assert_eq!(round_time(20_000.0), "20\u{a0}ms");
        assert_eq!(alike(&[0.9, 0.95, 1.0]), ["0.90", "0.95", "1.00"]);
        assert_eq!(alike(&[0.0, 1_000.0]), ["0", "1\u{202f}000"]);
        assert_eq!(escaped("<a & \"b\">"), "&lt;a &amp; &quot;b&quot;&gt;");
    }
}
