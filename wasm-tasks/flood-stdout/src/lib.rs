//! Hostile: writes more log than anybody can keep.

use std::io::{self, Write};

use support::{IncomingRequest, Query, ResponseOutparam};

const MIB: u64 = 1 << 20;
const DEFAULT_MIB: u64 = 1024;
const LINE_BYTES: usize = 100;
/// What one write hands to the host.
const BLOCK_BYTES: usize = 64 << 10;

/// Everything a terminal must not be shown: colour, title, cursor, bell, a carriage return
/// that overwrites, NUL, C1 codes, and bytes that are no UTF-8.
const CONTROL: &[u8] = b"\x1b[31mred\x1b[0m \x1b]0;title\x07 \x1b[2Jcleared \x08\x08back\n\
    innocent\rguilty\n\
    nul:\0 del:\x7f tab:\t c1:\xc2\x9b31m\n\
    invalid:\xff\xfe\xc3\x28 \xed\xa0\x80 \xf0\x9f\x92\n\
    no newline at the end";

struct FloodStdout;

wasi::http::proxy::export!(FloodStdout);

impl wasi::exports::http::incoming_handler::Guest for FloodStdout {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let query = Query::of(&request);
        let written = if query.flag("stderr") {
            flood(&query, &mut io::stderr().lock())
        } else {
            flood(&query, &mut io::stdout().lock())
        };
        let answer = match written {
            (bytes, Ok(())) => format!("wrote {bytes} bytes\n"),
            (bytes, Err(error)) => format!("wrote {bytes} bytes, then: {error}\n"),
        };
        support::text(out, 200, &answer);
    }
}

/// Writes what `query` asks for; returns the bytes written and how it ended.
fn flood(query: &Query, sink: &mut impl Write) -> (u64, io::Result<()>) {
    if query.path() == "/control" {
        return (CONTROL.len() as u64, sink.write_all(CONTROL).and_then(|()| sink.flush()));
    }
    let block = block(query.flag("oneline"));
    let mut left = query.number("mib").unwrap_or(DEFAULT_MIB).saturating_mul(MIB);
    let total = left;
    while left > 0 {
        let now = block.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if let Err(error) = sink.write_all(&block[..now]) {
            return (total - left, Err(error));
        }
        left -= now as u64;
    }
    (total, sink.flush())
}

/// Whole lines that fill a write as far as they can, or one endless line's next part.
fn block(one_line: bool) -> Vec<u8> {
    if one_line {
        return vec![b'x'; BLOCK_BYTES];
    }
    let mut line = [b'x'; LINE_BYTES];
    line[LINE_BYTES - 1] = b'\n';
    line.repeat(BLOCK_BYTES / LINE_BYTES)
}
