//! Text → tree. What is wrong here is wrong with the notation, not with what it says.
//!
//! *Invariant:* nesting past [`MAX_DEPTH`] is a problem, not a deep stack, in all three formats;
//! `nesting` keeps from the parsers what would overflow them or take them seconds.

mod generic;
mod nesting;
mod toml;

use super::format::Format;
use super::problem::{Collector, Problem};
use super::tree::Node;

/// How deep values may nest. The schema needs five levels.
const MAX_DEPTH: usize = 32;
/// How much of a bad line is shown around the bad column.
const EXCERPT: usize = 60;

/// Reads the tree, or reports why the text has none.
pub(super) fn read(text: &str, format: Format, problems: &mut Collector) -> Option<Node> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if let Err(problem) = nesting::check(text, format) {
        problems.add(problem);
        return None;
    }
    let found = match format {
        Format::Toml => return toml::read(text, problems),
        Format::Json => generic::json(text),
        // JSON is YAML, and its parser is the better one for it.
        Format::Yaml if text.trim_start().starts_with('{') => {
            generic::json(text).or_else(|_| generic::yaml(text))
        }
        Format::Yaml => generic::yaml(text),
    };
    match found {
        Ok(node) => Some(node),
        Err(error) => {
            let line = error.place.and_then(|place| text.lines().nth(place.line.saturating_sub(1)));
            let line = line.unwrap_or_default();
            problems.add(problem(text, format, error.place, line, &error.message));
            None
        }
    }
}

/// Lines and columns count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    line: usize,
    column: usize,
}

/// A problem with the syntax, at a place in a line of the text.
fn problem(text: &str, format: Format, place: Option<Place>, line: &str, message: &str) -> Problem {
    let problem = match place {
        None => Problem::new("", message),
        Some(place) => Problem::new("", format!("column {}: {message}", place.column))
            .value(excerpt(line, place.column))
            .line(Some(place.line)),
    };
    with_hint(problem, text, format, line)
}

/// The part of a line around a column.
fn excerpt(line: &str, column: usize) -> String {
    let start = column.saturating_sub(1).saturating_sub(EXCERPT / 2);
    let cut = if start > 0 { "…" } else { "" };
    let shown: String = line.chars().skip(start).take(EXCERPT).collect();
    format!("{cut}{shown}")
}

fn with_hint(problem: Problem, text: &str, format: Format, line: &str) -> Problem {
    let looks = Format::sniff(text);
    if problem.message.contains("duplicate key") {
        return problem.hint("keep one of the two");
    }
    if looks != format && !text.trim().is_empty() {
        return problem.hint(format!("this is read as {format}, but it looks like {looks}"));
    }
    match (format, line.split_once('=')) {
        (Format::Toml, Some((key, value))) if is_bare(value.trim()) => {
            let (key, value) = (key.trim(), value.trim());
            problem.hint(format!("text needs quotes: {key} = \"{value}\""))
        }
        _ => problem.hint(format!("mend the {format} syntax on this line or the one before")),
    }
}

/// A value that would be good text if it had quotes: `10s`, `64MiB`, `hello.localhost/*`.
fn is_bare(value: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/*:@".contains(c);
    !value.is_empty()
        && value.len() <= EXCERPT
        && value.chars().all(plain)
        && value.parse::<f64>().is_err()
}
