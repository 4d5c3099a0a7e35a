//! Guest output, cut into lines that are safe to show.

/// The longest line that is kept, in bytes. The rest of the line is dropped.
pub(super) const MAX_LINE_BYTES: usize = 16 << 10;

/// Replaces what a terminal would act on: control characters become `\x1b`, and bytes that are
/// not UTF-8 become U+FFFD. Tabs stay.
pub fn sanitise(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    if !text.chars().any(|c| c.is_control() && c != '\t') {
        return text.into_owned();
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\t' => out.push(c),
            c if c.is_control() => {
                for escaped in c.escape_default() {
                    out.push(escaped);
                }
            }
            c => out.push(c),
        }
    }
    out
}

/// Cuts a stream of bytes into lines, and keeps at most [`MAX_LINE_BYTES`] of an unfinished one.
#[derive(Debug, Default)]
pub(super) struct LineBuffer {
    partial: Vec<u8>,
    cut: bool,
}

impl LineBuffer {
    /// Takes bytes and calls `emit` for each line that they finish.
    pub(super) fn push(&mut self, mut bytes: &[u8], mut emit: impl FnMut(String)) {
        while let Some(end) = bytes.iter().position(|b| *b == b'\n') {
            self.extend(&bytes[..end]);
            emit(self.take());
            bytes = &bytes[end + 1..];
        }
        self.extend(bytes);
    }

    /// What stands after the last line end, if anything does.
    pub(super) fn finish(&mut self) -> Option<String> {
        (!self.partial.is_empty()).then(|| self.take())
    }

    fn extend(&mut self, bytes: &[u8]) {
        let room = MAX_LINE_BYTES - self.partial.len();
        self.cut |= bytes.len() > room;
        self.partial.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn take(&mut self) -> String {
        let mut line = sanitise(self.partial.strip_suffix(b"\r").unwrap_or(&self.partial));
        if std::mem::take(&mut self.cut) {
            line.push_str(" [cut]");
        }
        self.partial.clear();
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: &[&[u8]]) -> Vec<String> {
        let (mut buffer, mut out) = (LineBuffer::default(), Vec::new());
        for chunk in chunks {
            buffer.push(chunk, |line| out.push(line));
        }
        out.extend(buffer.finish());
        out
    }

    #[test]
    fn lines_span_chunks_and_the_last_needs_no_end() {
        assert_eq!(lines(&[b"a\nb", b"c\r\n", b"\n", b"d"]), ["a", "bc", "", "d"]);
    }

    #[test]
    fn a_line_without_end_is_cut_and_bounded() {
        let huge = vec![b'x'; 3 * MAX_LINE_BYTES];
        let out = lines(&[&huge, &huge, b"\nnext"]);
        assert_eq!(out[0].len(), MAX_LINE_BYTES + " [cut]".len());
        assert_eq!(out[1], "next");
    }

    #[test]
    fn terminals_are_not_taken_over() {
        assert_eq!(sanitise(b"\x1b[2J\x07ok\t\xff"), "\\u{1b}[2J\\u{7}ok\t\u{fffd}");
    }
}
