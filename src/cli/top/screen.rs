//! Draws over what was drawn before, on a terminal; elsewhere everything comes below.
//!
//! A frame is written at once, line by line over the last one, and what is left of that is cleared
//! afterwards: nothing flickers, and whenever the program ends the terminal is as it was.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _};

use terminal_size::{Height, Width, terminal_size};

use super::super::output;

/// To the beginning of the line so many above.
const UP: &str = "F";
/// Clears from here to the end of the line.
const CLEAR_LINE: &str = "\x1b[K";
/// Clears from here to the end of the screen.
const CLEAR_BELOW: &str = "\x1b[J";

/// What shows one frame after the other.
pub(super) struct Screen {
    is_terminal: bool,
    /// Lines of the frame that is shown.
    shown: usize,
}

impl Screen {
    pub(super) fn new() -> Self {
        Self { is_terminal: io::stdout().is_terminal(), shown: 0 }
    }

    pub(super) fn show(&mut self, lines: &[String]) -> anyhow::Result<()> {
        if !self.is_terminal {
            return output::text(&format!("{}\n", lines.join("\n")));
        }
        let size = terminal_size()
            .map(|(Width(columns), Height(rows))| (usize::from(columns), usize::from(rows)));
        let frame = frame(lines, size, self.shown);
        self.shown = frame.lines;
        output::raw(&frame.text)
    }
}

#[derive(Debug, PartialEq)]
struct Frame {
    text: String,
    lines: usize,
}

/// A frame over one of so many lines. What does not fit would scroll, and could not be drawn over.
fn frame(lines: &[String], size: Option<(usize, usize)>, before: usize) -> Frame {
    // Some pseudo-terminals say that they have no columns at all.
    let (columns, rows) = size.filter(|size| size.0 > 0 && size.1 > 1).unwrap_or((usize::MAX, 24));
    let mut text = String::new();
    if before > 0 {
        let _ = write!(text, "\x1b[{}{UP}", before.min(rows - 1));
    }
    let fitting = lines.iter().take(rows - 1);
    let count = fitting.len();
    for line in fitting {
        text.extend(line.chars().take(columns));
        text += CLEAR_LINE;
        text.push('\n');
    }
    text += CLEAR_BELOW;
    Frame { text, lines: count }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(all: &[&str]) -> Vec<String> {
        all.iter().map(|&line| line.to_owned()).collect()
    }

    #[test]
    fn a_frame_is_drawn_over_the_last_one() {
        let first = frame(&lines(&["a", "b"]), Some((80, 24)), 0);
        assert_eq!(first, Frame { text: "a\x1b[K\nb\x1b[K\n\x1b[J".to_owned(), lines: 2 });
        let second = frame(&lines(&["c"]), Some((80, 24)), first.lines);
        assert_eq!(second, Frame { text: "\x1b[2Fc\x1b[K\n\x1b[J".to_owned(), lines: 1 });
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let frame = frame(&lines(&["abcdef", "g", "h"]), Some((4, 3)), 9);
        let text = "\x1b[2Fabcd\x1b[K\ng\x1b[K\n\x1b[J".to_owned();
        assert_eq!(frame, Frame { text, lines: 2 });
    }
}
