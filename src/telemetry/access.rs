//! The access log: one JSON object a line, written by a thread of its own.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

/// Lines that wait for the writer. At some 400 bytes each this is 6 MiB; beyond it lines are
/// dropped and counted, because a slow disk must not slow requests.
const WAITING_LINES: usize = 16_384;

/// Where the lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessTarget {
    /// Nowhere.
    Off,
    /// Standard error, for a person at a terminal or a supervisor.
    Stderr,
    /// Appended to a file.
    File(PathBuf),
}

/// A handle to the log. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AccessLog {
    lines: SyncSender<String>,
    dropped: Arc<AtomicU64>,
}

impl AccessLog {
    /// Opens the target and starts the writer, which ends when the last handle is gone. `None`
    /// for [`AccessTarget::Off`].
    pub fn open(target: &AccessTarget) -> io::Result<Option<Self>> {
        let sink: Box<dyn Write + Send> = match target {
            AccessTarget::Off => return Ok(None),
            AccessTarget::Stderr => Box::new(io::stderr()),
            AccessTarget::File(path) => {
                Box::new(std::fs::OpenOptions::new().create(true).append(true).open(path)?)
            }
        };
        let (lines, waiting) = sync_channel(WAITING_LINES);
        let writer = std::thread::Builder::new().name("wharf-access-log".to_owned());
        let dropped = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&dropped);
        writer.spawn(move || write_all(&waiting, sink, &counted))?;
        Ok(Some(Self { lines, dropped }))
    }

    /// Hands a line to the writer, or drops it if the writer is behind.
    pub fn write(&self, line: String) {
        if let Err(TrySendError::Full(_)) = self.lines.try_send(line) {
            self.dropped.fetch_add(1, Relaxed);
        }
    }
}

/// Writes whatever waits, then flushes and sleeps until there is more. A full disk loses lines,
/// never requests; the next line is tried again.
fn write_all(waiting: &Receiver<String>, sink: Box<dyn Write + Send>, dropped: &AtomicU64) {
    let mut told = 0;
    let mut sink = BufWriter::with_capacity(64 << 10, sink);
    while let Ok(first) = waiting.recv() {
        let mut result = writeln!(sink, "{first}");
        while let Ok(line) = waiting.try_recv() {
            result = result.and_then(|()| writeln!(sink, "{line}"));
        }
        let _ = result.and_then(|()| sink.flush());
        let dropped = dropped.load(Relaxed);
        if dropped > told {
            tracing::warn!(lines = dropped - told, "the access log is behind and lost lines");
            told = dropped;
        }
    }
}
