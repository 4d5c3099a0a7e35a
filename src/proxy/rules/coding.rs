//! Which coding a client takes best (RFC 9110 §12.5.3).

use http::HeaderMap;
use http::header::ACCEPT_ENCODING;

/// The first of `known`, in the order of the server's liking, that the client likes best; `None`
/// if it likes the response as it is better, or says nothing.
pub(super) fn best<T: Copy>(headers: &HeaderMap, known: &[(&str, T)]) -> Option<T> {
    let wishes = Wishes::of(headers);
    let mut best: Option<(u32, T)> = None;
    for (name, coding) in known {
        let weight = wishes.named(name).or(wishes.named("*")).unwrap_or(0);
        if weight > best.map_or(0, |(weight, _)| weight) {
            best = Some((weight, *coding));
        }
    }
    // Unless it is named, it is worth no more than any coding.
    let identity = wishes.named("identity").unwrap_or(0);
    best.filter(|(weight, _)| *weight >= identity).map(|(_, coding)| coding)
}

/// Names with their weights in thousandths.
struct Wishes<'h>(Vec<(&'h str, u32)>);

/// Wishes that are looked at: there are some ten codings.
const MOST_WISHES: usize = 32;

impl<'h> Wishes<'h> {
    fn of(headers: &'h HeaderMap) -> Self {
        let fields = headers.get_all(ACCEPT_ENCODING).iter();
        let items = fields.filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','));
        Self(items.filter_map(wish).take(MOST_WISHES).collect())
    }

    fn named(&self, name: &str) -> Option<u32> {
        self.0.iter().find(|(wish, _)| wish.eq_ignore_ascii_case(name)).map(|(_, weight)| *weight)
    }
}

fn wish(item: &str) -> Option<(&str, u32)> {
    let mut parts = item.split(';').map(str::trim);
    let name = parts.next().filter(|name| !name.is_empty())?;
    let name = if name.eq_ignore_ascii_case("x-gzip") { "gzip" } else { name };
    let weight = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
    match weight {
        None => Some((name, 1_000)),
        Some(weight) => Some((name, thousandths(weight)?)),
    }
}

/// `0`, `1` and up to three decimals; what is something else is no wish.
fn thousandths(text: &str) -> Option<u32> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let is_weight =
        matches!(whole, "0" | "1") && part.len() <= 3 && part.bytes().all(|b| b.is_ascii_digit());
    let weight = format!("{whole}{part:0<3}").parse::<u32>().ok()?;
    (is_weight && weight <= 1_000).then_some(weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_chooses_and_the_server_breaks_ties() {
        let known = [("zstd", 'z'), ("br", 'b'), ("gzip", 'g')];
        for (value, expected) in [
            ("gzip, br, zstd", Some('z')),
            ("gzip, br;q=0.9, zstd;q=0.1", Some('g')),
            ("gzip;q=0.5, br;q=0.50", Some('b')),
            ("GZIP", Some('g')),
            ("x-gzip", Some('g')),
            ("*", Some('z')),
            ("*;q=0.5, zstd;q=0", Some('b')),
            ("identity, gzip;q=0.5", None),
            ("identity;q=0.5, gzip", Some('g')),
            ("identity;q=0, gzip;q=0.001", Some('g')),
            ("gzip;q=0", None),
            ("gzip;q=0.000, *;q=0", None),
            ("deflate, compress", None),
            ("", None),
            ("gzip;q=2", None),
            ("gzip;q=1.001", None),
            ("gzip;q=-1", None),
            ("gzip;q=0.1234", None),
            (" , ;q=1, gzip ;q=1", Some('g')),
        ] {
            let mut headers = HeaderMap::new();
            headers.append(ACCEPT_ENCODING, value.parse().expect("a value"));
            assert_eq!(best(&headers, &known), expected, "{value:?}");
        }
        assert_eq!(best(&HeaderMap::new(), &known), None);
    }
}
