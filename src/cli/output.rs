//! How objects are printed: tables for people, JSON for programs.

use std::io::{self, Write};

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, TableStyle};
use serde::Serialize;

use crate::api::{Compile, Service};

/// What objects look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// A table for people
    Table,
    /// JSON for programs
    Json,
}

impl Output {
    /// Prints objects as a JSON array, or as a table with these columns.
    pub(super) fn list<T: Serialize>(
        self,
        objects: &[T],
        empty: &str,
        header: &[&str],
        row: impl Fn(&T) -> Vec<String>,
    ) -> anyhow::Result<()> {
        match self {
            Self::Json => json(&objects),
            Self::Table if objects.is_empty() => {
                say(empty);
                Ok(())
            }
            Self::Table => table(header, objects.iter().map(row)),
        }
    }
}

/// Prints one object as JSON.
pub(super) fn json<T: Serialize + ?Sized>(object: &T) -> anyhow::Result<()> {
    text(&format!("{}\n", serde_json::to_string_pretty(object)?))
}

/// Columns below which wrapping makes a table unreadable.
const NARROWEST: u16 = 40;

/// Prints a table without borders. On a terminal long cells are wrapped to its width.
pub(super) fn table(
    header: &[&str],
    rows: impl Iterator<Item = Vec<String>>,
) -> anyhow::Result<()> {
    text(&table_lines(header, rows).into_iter().map(|line| line + "\n").collect::<String>())
}

/// The lines of such a table.
pub(super) fn table_lines(header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Vec<String> {
    let mut table = Table::new();
    table.load_style(TableStyle::new());
    table.set_content_arrangement(ContentArrangement::Dynamic);
    // Some pseudo-terminals say that they have no columns at all.
    if table.width().is_some_and(|columns| columns < NARROWEST) {
        table.set_content_arrangement(ContentArrangement::Disabled);
    }
    table.set_header(header.iter().map(|title| title.to_uppercase()));
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect()
}

/// Why nothing more can be printed. Apart from every other failure to write: whoever closes the
/// output has seen enough, a registry that closes a connection has not.
#[derive(Debug, thiserror::Error)]
#[error("the output cannot be written")]
pub(super) struct Unprinted(#[from] pub(super) io::Error);

/// Writes text to standard output; colours reach terminals only.
pub(super) fn text(text: &str) -> anyhow::Result<()> {
    let mut stdout = anstream::stdout();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    Ok(written.map_err(Unprinted)?)
}

/// Writes text with control characters to a terminal, also to one that is to show no colours.
pub(super) fn raw(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    Ok(written.map_err(Unprinted)?)
}

/// Tells a person something: standard error.
pub(super) fn say(line: impl AsRef<str>) {
    let _ = writeln!(anstream::stderr(), "{}", line.as_ref());
}

/// Whether a person watches standard error.
pub(super) fn is_watched() -> bool {
    use io::IsTerminal;
    io::stderr().is_terminal()
}

/// `sha256:` and the first 12 digits: enough for people to tell digests apart.
pub(super) fn short_digest(digest: &str) -> &str {
    digest.get(..19).unwrap_or(digest)
}

const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// A number of bytes, rounded for people.
pub(super) fn bytes(count: u64) -> String {
    match UNITS.iter().find(|(_, size)| count >= *size) {
        Some((unit, size)) => format!("{:.1} {unit}", count as f64 / *size as f64),
        None => format!("{count} B"),
    }
}

/// How much of a number of bytes is there, in the unit of the whole: `12.4 of 30.1 MiB`.
pub(super) fn bytes_of(done: u64, total: u64) -> String {
    match UNITS.iter().find(|(_, size)| total >= *size) {
        Some((_, size)) => format!("{:.1} of {}", done as f64 / *size as f64, bytes(total)),
        None => format!("{done} of {}", bytes(total)),
    }
}

/// How far a compilation is: `3rd in line`, `4 s`.
pub(super) fn compiling(compile: &Compile) -> String {
    match (compile.place, compile.running_ms) {
        (Some(place), _) => format!("{} in line", ordinal(place)),
        (None, running_ms) => format!("{} s", running_ms.unwrap_or(0) / 1_000),
    }
}

fn ordinal(number: usize) -> String {
    let ending = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

/// What a service shall run, and what answers in its place where that is something else.
pub(super) fn definition(service: &Service) -> String {
    match service.earlier() {
        Some(earlier) => format!("{} ({earlier} serves)", service.task),
        None => service.task.clone(),
    }
}

/// The routes of a service on one line.
pub(super) fn routes(routes: &[String]) -> String {
    match routes {
        [] => "-".to_owned(),
        [one] => one.clone(),
        [first, rest @ ..] => format!("{first} +{}", rest.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_for_people() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1_536), "1.5 KiB");
        assert_eq!(bytes(64 << 20), "64.0 MiB");
        assert_eq!(bytes_of(13 << 20, 30 << 20), "13.0 of 30.0 MiB");
        assert_eq!(bytes_of(512, 1 << 20), "0.0 of 1.0 MiB");
        assert_eq!(bytes_of(1, 20), "1 of 20 B");
        let in_line = |place| compiling(&Compile { place: Some(place), running_ms: None });
        let ordinals = [1, 2, 3, 4, 11, 12, 13, 21, 102, 111, 1_013].map(in_line).join(", ");
        let expected = "1st, 2nd, 3rd, 4th, 11th, 12th, 13th, 21st, 102nd, 111th, 1013th";
        assert_eq!(ordinals.replace(" in line", ""), expected);
        assert_eq!(compiling(&Compile { place: None, running_ms: Some(4_900) }), "4 s");
        let digest = registry::Digest::of(b"x").to_string();
        assert_eq!(short_digest(&digest).len(), 19);
        assert_eq!(routes(&["a/*".to_owned(), "b/*".to_owned()]), "a/* +1");
    }
}
