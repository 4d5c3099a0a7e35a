//! Cheap looks at the text before a parser sees it.
//!
//! Two parsers have a limit on nesting that can be walked around, measured with the versions in
//! the lock file. TOML counts brackets and the parts of one dotted key each on its own, so that
//! `{a.a.a… = {a.a.a… =` nests thousands of tables in 12 KiB and overflows a thread's stack when
//! they are dropped. YAML looks at all open flow collections again for each token, before any
//! limit applies, so that `{a: {a: {a: …` takes time by the square of its length.
//!
//! *Invariant:* both checks only ever look at characters, and take time that is linear in them.
//! What they refuse has no place in a manifest; what they let through is left to the parser.

use super::super::format::Format;
use super::super::problem::Problem;

/// Parts of a dotted key. The schema's longest has five: `task.NAME.limits.headers`, and one.
const KEY_PARTS: usize = 8;
/// The longest part of a dotted key that is followed, in bytes. Longer ones make a document too
/// large before they make it too deep.
const KEY_PART_LEN: usize = 512;
/// Text bytes times open flow collections: some tenths of a second of the YAML parser.
const YAML_WORK: usize = 1 << 28;

pub(super) fn check(text: &str, format: Format) -> Result<(), Problem> {
    match format {
        Format::Toml => dotted_keys(text.as_bytes()),
        Format::Yaml => flow_collections(text),
        Format::Json => Ok(()),
    }
}

/// Refuses keys of more than [`KEY_PARTS`] parts, wherever a key could stand: also inside text,
/// because it is the parser's business to know what is text.
fn dotted_keys(text: &[u8]) -> Result<(), Problem> {
    let mut line = 1;
    for (at, byte) in text.iter().enumerate() {
        line += usize::from(*byte == b'\n');
        // The middle of a bare part and an escaped quote start no key; skipping them keeps the
        // work linear.
        let before = if at > 0 { text[at - 1] } else { b'\n' };
        let inside = before == b'\\' || (is_bare(before) && is_bare(*byte));
        if !inside && is_long_key(&text[at..]) {
            let message = format!("a dotted key of more than {KEY_PARTS} parts");
            return Err(Problem::new("", message)
                .line(Some(line))
                .hint("no key of a manifest nests that deep; quote a key that has dots in it"));
        }
    }
    Ok(())
}

/// Whether `text` starts with a dotted key of more than [`KEY_PARTS`] parts and a `=`.
fn is_long_key(text: &[u8]) -> bool {
    let mut rest = text;
    // What is four times too long need not be followed to its end.
    for part in 0..4 * KEY_PARTS {
        let Some(after) = key_part(rest) else {
            return false;
        };
        let after = skip_blanks(after);
        match after.first() {
            Some(b'.') => rest = skip_blanks(&after[1..]),
            Some(b'=') => return part >= KEY_PARTS,
            _ => return false,
        }
    }
    true
}

/// What follows one bare or quoted part of a key.
fn key_part(text: &[u8]) -> Option<&[u8]> {
    let quote = *text.first()?;
    if !matches!(quote, b'"' | b'\'') {
        let end = text.iter().take(KEY_PART_LEN).take_while(|byte| is_bare(**byte)).count();
        return (end > 0).then(|| &text[end..]);
    }
    let mut escaped = false;
    for (at, byte) in text.iter().enumerate().take(KEY_PART_LEN).skip(1) {
        match *byte {
            b'\n' => return None,
            _ if escaped => escaped = false,
            b'\\' if quote == b'"' => escaped = true,
            byte if byte == quote => return Some(&text[at + 1..]),
            _ => {}
        }
    }
    None
}

fn is_bare(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

fn skip_blanks(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    &text[blanks..]
}

/// Bounds the YAML parser's work by the flow collections that could be open at once.
fn flow_collections(text: &str) -> Result<(), Problem> {
    let bytes = text.as_bytes();
    let opens = |at: &usize| matches!(bytes[*at], b'[' | b'{') && !closes_at_once(&bytes[at + 1..]);
    let open = (0..bytes.len()).filter(opens).count();
    match open.saturating_mul(bytes.len()) > YAML_WORK {
        false => Ok(()),
        true => {
            let message = format!("{open} flow collections with quotes or collections in them");
            Err(Problem::new("", message)
                .hint("write mappings and lists on lines of their own, or use JSON or TOML"))
        }
    }
}

/// Whether a collection ends on its line, with nothing before the end that could hide the end
/// from the parser or open another: `{min: 0, max: 5}`.
fn closes_at_once(inside: &[u8]) -> bool {
    let stops = |byte: &u8| matches!(byte, b'[' | b']' | b'{' | b'}' | b'"' | b'\'' | b'#' | b'!');
    let stop = inside.iter().find(|byte| stops(byte) || **byte == b'\n');
    matches!(stop, Some(b']' | b'}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long(text: &str) -> bool {
        dotted_keys(text.as_bytes()).is_err()
    }

    #[test]
    fn long_dotted_keys_are_found_wherever_they_start() {
        for key in ["a", "\"a\"", "'{'", "\"\\\"=\""] {
            let chain = [key; KEY_PARTS + 1];
            assert!(long(&format!("{} = 1", chain.join("."))), "{key}");
            assert!(long(&format!("x = {{y = 1, {}= {{", chain.join(" .\t"))), "{key}");
            assert!(!long(&format!("{} = 1", chain[1..].join("."))), "{key}");
        }
        assert!(!long("route = [\"a.b.c.d.e.f.g.h.i.j.k/*\"] # 1.2.3.4.5.6.7.8.9.10\nx = 1"));
        assert!(!long("e = { U = \"http://a.b.c.d.e.f.g.h.i.j/k.l?m=n\" }"));
    }

    #[test]
    fn a_wall_of_flow_collections_is_refused_and_empty_ones_are_not() {
        assert!(flow_collections(&"{a: ".repeat(30_000)).is_err());
        assert!(flow_collections(&"{a: ".repeat(1_000)).is_ok());
        assert!(flow_collections(&"- {}\n- [a, b]\n".repeat(50_000)).is_ok());
    }
}
