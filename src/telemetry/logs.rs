//! What guests print: the last lines of each service, and a live feed of them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::broadcast;

use crate::clock;
use crate::model::Name;

use super::lines::LineBuffer;

/// Bytes of lines that are kept for a service. What a guest prints beyond it pushes out the
/// oldest.
const KEPT_BYTES: usize = 256 << 10;

/// Lines that a reader of the live feed may lag behind before it loses some.
const FEED_LINES: usize = 1_024;

/// Bytes that one request may print; what it prints beyond is counted and dropped, so that a
/// flood cannot push out what its neighbours had to say at memory speed.
const REQUEST_BYTES: usize = 1 << 20;

/// Which of its two streams a guest wrote to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LogLine {
    /// Counts the lines of a service from 1.
    pub number: u64,
    /// When it was complete, as milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// The service.
    pub service: Name,
    /// The task's number within the service.
    pub task: u64,
    /// The stream.
    pub stream: Stream,
    /// The text, without its line end and without control characters.
    pub text: String,
}

/// The lines of one service. Takes no memory for lines until the first is printed.
#[derive(Debug)]
pub struct LogBook {
    service: Name,
    kept: Mutex<Kept>,
    feed: std::sync::OnceLock<broadcast::Sender<Arc<LogLine>>>,
    dropped_bytes: AtomicU64,
}

#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<Arc<LogLine>>,
    bytes: usize,
    last_number: u64,
}

impl LogBook {
    /// An empty book.
    pub fn new(service: Name) -> Arc<Self> {
        Arc::new(Self {
            service,
            kept: Mutex::default(),
            feed: std::sync::OnceLock::new(),
            dropped_bytes: AtomicU64::new(0),
        })
    }

    /// The last `count` lines, oldest first.
    pub fn tail(&self, count: usize) -> Vec<Arc<LogLine>> {
        let kept = self.kept.lock();
        kept.lines.iter().skip(kept.lines.len().saturating_sub(count)).cloned().collect()
    }

    /// The last `count` lines and everything that is printed from now on, without a gap.
    pub fn follow(&self, count: usize) -> (Vec<Arc<LogLine>>, broadcast::Receiver<Arc<LogLine>>) {
        let kept = self.kept.lock();
        let feed = self.feed.get_or_init(|| broadcast::channel(FEED_LINES).0).subscribe();
        let tail = kept.lines.iter().skip(kept.lines.len().saturating_sub(count));
        (tail.cloned().collect(), feed)
    }

    /// Bytes that were printed beyond what one request may print.
    pub fn dropped_bytes(&self) -> u64 {
        self.dropped_bytes.load(Relaxed)
    }

    /// Adds a line that Wharf itself has to say to the guest's author.
    pub fn note(&self, task: u64, text: String) {
        self.add(task, Stream::Stderr, text);
    }

    fn add(&self, task: u64, stream: Stream, text: String) {
        let mut kept = self.kept.lock();
        kept.last_number += 1;
        let line = Arc::new(LogLine {
            number: kept.last_number,
            at_ms: clock::unix_ms(),
            service: self.service.clone(),
            task,
            stream,
            text,
        });
        kept.bytes += line_cost(&line);
        kept.lines.push_back(Arc::clone(&line));
        while kept.bytes > KEPT_BYTES {
            let Some(oldest) = kept.lines.pop_front() else { break };
            kept.bytes -= line_cost(&oldest);
        }
        if let Some(feed) = self.feed.get() {
            let _ = feed.send(line);
        }
    }
}

fn line_cost(line: &LogLine) -> usize {
    size_of::<LogLine>() + line.text.len()
}

/// One of a request's two streams, on its way into the book.
#[derive(Debug)]
pub struct LogSource {
    book: Arc<LogBook>,
    task: u64,
    stream: Stream,
    buffer: LineBuffer,
    left: usize,
    dropped: usize,
}

impl LogSource {
    /// A stream of the given task.
    pub fn new(book: Arc<LogBook>, task: u64, stream: Stream) -> Self {
        let buffer = LineBuffer::default();
        Self { book, task, stream, buffer, left: REQUEST_BYTES, dropped: 0 }
    }

    /// Takes what the guest printed. Never waits.
    pub fn write(&mut self, bytes: &[u8]) {
        let taken = bytes.len().min(self.left);
        self.left -= taken;
        self.dropped += bytes.len() - taken;
        if taken > 0 {
            let (book, task, stream) = (&self.book, self.task, self.stream);
            self.buffer.push(&bytes[..taken], |line| book.add(task, stream, line));
        }
    }
}

impl Drop for LogSource {
    fn drop(&mut self) {
        if let Some(line) = self.buffer.finish() {
            self.book.add(self.task, self.stream, line);
        }
        if self.dropped > 0 {
            self.book.dropped_bytes.fetch_add(self.dropped as u64, Relaxed);
            let text = format!("[{} more bytes of this request were dropped]", self.dropped);
            self.book.add(self.task, self.stream, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book() -> Arc<LogBook> {
        LogBook::new("hello".parse().expect("valid"))
    }

    #[test]
    fn lines_are_numbered_tagged_and_bounded() {
        let book = book();
        let mut source = LogSource::new(book.clone(), 7, Stream::Stdout);
        for n in 0..20_000 {
            source.write(format!("line {n}\n").as_bytes());
        }
        drop(source);
        let tail = book.tail(2);
        assert_eq!(tail[1].text, "line 19999");
        assert_eq!((tail[1].number, tail[1].task, tail[1].stream), (20_000, 7, Stream::Stdout));
        assert!(book.kept.lock().bytes <= KEPT_BYTES);
    }

    #[test]
    fn a_flood_is_counted_exactly() {
        let book = book();
        let mut source = LogSource::new(book.clone(), 1, Stream::Stderr);
        for _ in 0..3 {
            source.write(&vec![b'x'; 1 << 20]);
        }
        drop(source);
        assert_eq!(book.dropped_bytes(), 2 << 20);
        let text = &book.tail(1)[0].text;
        assert_eq!(text, "[2097152 more bytes of this request were dropped]");
    }

    #[test]
    fn following_misses_nothing_in_between() {
        let book = book();
        book.note(1, "before".to_owned());
        let (tail, mut feed) = book.follow(10);
        book.note(1, "after".to_owned());
        assert_eq!(tail[0].text, "before");
        assert_eq!(feed.try_recv().expect("a line").text, "after");
    }
}
