//! What is wrong with a manifest, in words for the person who wrote it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest value, and the longest path, that is repeated to the user.
const SHOWN_VALUE: usize = 80;
/// The longest message or hint: parts of the manifest are quoted in both.
const SHOWN_TEXT: usize = 600;
/// The most problems in one report. Who has more has one mistake many times over.
const MOST_PROBLEMS: usize = 1_000;

/// One mistake.
///
/// All texts are bounded in length and free of control characters, whatever the manifest holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Where, such as `service.hello.scale.max`. Empty for the manifest as a whole.
    pub path: String,
    /// The offending value, at most 80 characters of it; for bad syntax an excerpt of the line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The line, from 1, where it is known: always for syntax, and for every value in TOML.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
}

impl Problem {
    /// A problem at `path`; the empty path is the manifest as a whole.
    pub fn new(path: &str, message: impl AsRef<str>) -> Self {
        Self {
            path: shown(path, SHOWN_VALUE),
            value: None,
            message: shown(message.as_ref(), SHOWN_TEXT),
            hint: None,
            line: None,
        }
    }

    /// Adds the offending value, shortened to 80 characters and with control characters escaped.
    pub fn value(mut self, value: impl AsRef<str>) -> Self {
        self.value = Some(shown(value.as_ref(), SHOWN_VALUE));
        self
    }

    /// Adds what to do about it.
    pub fn hint(mut self, hint: impl AsRef<str>) -> Self {
        self.hint = Some(shown(hint.as_ref(), SHOWN_TEXT));
        self
    }

    /// Adds the line, counted from 1.
    pub fn line(mut self, line: Option<usize>) -> Self {
        self.line = line;
        self
    }
}

impl fmt::Display for Problem {
    /// One block: place and message on the first line, then value and hint on lines of their own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.path.is_empty() { "manifest" } else { &self.path })?;
        if let Some(line) = self.line {
            write!(f, " (line {line})")?;
        }
        write!(f, ": {}", self.message)?;
        if let Some(value) = &self.value {
            write!(f, "\n  value: {value}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

/// All mistakes of a manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(transparent)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            write!(f, "{}{problem}", if index == 0 { "" } else { "\n\n" })?;
        }
        Ok(())
    }
}

/// Gathers problems up to a bound.
#[derive(Debug, Default)]
pub(super) struct Collector {
    found: Vec<Problem>,
    dropped: usize,
}

impl Collector {
    pub(super) fn add(&mut self, problem: Problem) {
        self.add_with(|| problem);
    }

    /// Adds a problem that is not worth making once there are too many.
    pub(super) fn add_with(&mut self, problem: impl FnOnce() -> Problem) {
        match self.found.len() < MOST_PROBLEMS {
            true => self.found.push(problem()),
            false => self.dropped += 1,
        }
    }

    /// What was found, in the order of the text where lines are known; nothing if all is well.
    pub(super) fn finish(mut self) -> Option<Problems> {
        self.found.sort_by_key(|problem| problem.line);
        if self.dropped > 0 {
            let message = format!("and {} problems more", self.dropped);
            self.found.push(Problem::new("", message).hint("mend those above first"));
        }
        (!self.found.is_empty()).then_some(Problems(self.found))
    }
}

/// `text` with everything escaped that could disturb a terminal, cut to `most` characters.
pub(super) fn shown(text: &str, most: usize) -> String {
    let mut out = String::new();
    let mut length = 0;
    for c in text.chars() {
        if length > most {
            break;
        }
        if c.is_control() || is_invisible(c) {
            out.extend(c.escape_default());
            length += c.escape_default().len();
        } else {
            out.push(c);
            length += 1;
        }
    }
    if length > most {
        out = out.chars().take(most.saturating_sub(1)).collect();
        out.push('…');
    }
    out
}

/// Characters that change how others are shown: zero width, line separators, bidi controls.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shortened_and_escaped() {
        assert_eq!(shown("abc", 3), "abc");
        assert_eq!(shown("abcd", 3), "ab…");
        assert_eq!(shown("a\u{1b}[2J\n\u{202e}ü", 80), "a\\u{1b}[2J\\n\\u{202e}ü");
        assert_eq!(shown(&"\n".repeat(100), 80).chars().count(), 80);
        assert_eq!(shown(&"ü".repeat(1 << 20), 80).chars().count(), 80);
    }

    #[test]
    fn problems_print_one_block_each() {
        let first = Problem::new("task.a.cpu", "too much").value("9").hint("less").line(Some(3));
        let problems = Problems(vec![first, Problem::new("", "empty")]);
        assert_eq!(
            problems.to_string(),
            "task.a.cpu (line 3): too much\n  value: 9\n  hint: less\n\nmanifest: empty"
        );
        let json = serde_json::to_value(&problems).expect("plain data");
        assert_eq!(json[1], serde_json::json!({"path": "", "message": "empty"}));
    }

    #[test]
    fn a_flood_of_problems_is_cut_and_counted() {
        let mut collector = Collector::default();
        for _ in 0..MOST_PROBLEMS + 5 {
            collector.add(Problem::new("x", "y"));
        }
        let problems = collector.finish().expect("some").0;
        assert_eq!(problems.len(), MOST_PROBLEMS + 1);
        assert_eq!(problems[MOST_PROBLEMS].message, "and 5 problems more");
    }
}
