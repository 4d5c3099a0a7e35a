//! TOML → tree, by way of the parser's own document because that knows where values stand.

use toml::de::{DeInteger, DeTable, DeValue, Error};

use super::super::format::Format;
use super::super::problem::{Collector, Problem};
use super::super::tree::{Node, Tree};
use super::{MAX_DEPTH, Place, problem};

/// Reads TOML and reports all that is wrong with it.
///
/// A repeated key does not end the reading, because the rest of the document means what it says.
pub(super) fn read(text: &str, problems: &mut Collector) -> Option<Node> {
    let (document, errors) = DeTable::parse_recoverable(text);
    let lines = Lines::of(text);
    for error in &errors {
        problems.add_with(|| report(text, &lines, error));
    }
    if errors.iter().any(|error| error.message() != "duplicate key") {
        return None;
    }
    match table(document.into_inner(), &lines, MAX_DEPTH) {
        Ok(tree) => Some(Node::new(tree)),
        Err(problem) => {
            problems.add(problem);
            None
        }
    }
}

fn report(text: &str, lines: &Lines, error: &Error) -> Problem {
    let place = error.span().map(|span| lines.place(text, span.start));
    let line = place.map(|place| lines.text(text, place.line)).unwrap_or_default();
    problem(text, Format::Toml, place, line, error.message())
}

fn table(entries: DeTable<'_>, lines: &Lines, depth: usize) -> Result<Tree, Problem> {
    // The parser orders by key; people read from top to bottom.
    let mut sorted: Vec<_> = entries.into_iter().collect();
    sorted.sort_by_key(|(key, _)| key.span().start);
    let mut out = Vec::with_capacity(sorted.len());
    for (key, value) in sorted {
        let at = match value.span() {
            span if span.is_empty() => key.span().start,
            span => span.start,
        };
        let node = Node { tree: tree(value.into_inner(), lines, depth)?, line: lines.line(at) };
        out.push((key.into_inner().into_owned(), node));
    }
    Ok(Tree::Table(out))
}

fn tree(value: DeValue<'_>, lines: &Lines, depth: usize) -> Result<Tree, Problem> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(Problem::new("", format!("values nest more than {MAX_DEPTH} deep"))
            .hint("a manifest needs no more than five levels"));
    };
    Ok(match value {
        DeValue::String(text) => Tree::Text(text.into_owned()),
        DeValue::Integer(number) => Tree::Integer(integer(&number)),
        // The lexer lets only numbers through that the standard library reads.
        DeValue::Float(number) => Tree::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(value) => Tree::Bool(value),
        DeValue::Datetime(date) => Tree::Date(date.to_string()),
        DeValue::Array(items) => {
            let mut out = Vec::with_capacity(items.len());
            for item in items {
                let line = lines.line(item.span().start);
                out.push(Node { tree: tree(item.into_inner(), lines, depth)?, line });
            }
            Tree::List(out)
        }
        DeValue::Table(entries) => table(entries, lines, depth)?,
    })
}

fn integer(number: &DeInteger<'_>) -> i128 {
    let text = number.as_str();
    let saturated = if text.starts_with('-') { i128::MIN } else { i128::MAX };
    i128::from_str_radix(text, number.radix()).unwrap_or(saturated)
}

/// Where lines start.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        let after = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self(std::iter::once(0).chain(after.map(|(at, _)| at + 1)).collect())
    }

    /// The line of a byte offset, from 1.
    fn line(&self, at: usize) -> Option<usize> {
        Some(self.0.partition_point(|start| *start <= at))
    }

    fn place(&self, text: &str, at: usize) -> Place {
        let line = self.0.partition_point(|start| *start <= at);
        let before = text.as_bytes().get(self.start(line)..at.min(text.len())).unwrap_or_default();
        Place { line, column: String::from_utf8_lossy(before).chars().count() + 1 }
    }

    fn text<'t>(&self, text: &'t str, line: usize) -> &'t str {
        let rest = text.get(self.start(line)..).unwrap_or_default();
        rest.lines().next().unwrap_or_default()
    }

    fn start(&self, line: usize) -> usize {
        self.0.get(line.saturating_sub(1)).copied().unwrap_or_default()
    }
}
