//! The access log: one JSON object a line, written by a thread of its own.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use tokio::sync::oneshot;

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
    lines: SyncSender<Entry>,
    dropped: Arc<AtomicU64>,
}

/// What the writer is handed.
enum Entry {
    Line(String),
    /// Is told when all before it are written.
    Mark(oneshot::Sender<()>),
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
        if let Err(TrySendError::Full(_)) = self.lines.try_send(Entry::Line(line)) {
            self.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Completes when every line that was handed over is written. For the end of a process: it
    /// waits for the disk.
    pub async fn written(&self) {
        let (mark, reached) = oneshot::channel();
        let lines = self.lines.clone();
        // The queue may be full, and then this waits for room.
        let sent = tokio::task::spawn_blocking(move || lines.send(Entry::Mark(mark))).await;
        if matches!(sent, Ok(Ok(()))) {
            let _ = reached.await;
        }
    }
}

/// Writes whatever waits, then flushes and sleeps until there is more. A full disk loses lines,
/// never requests; the next line is tried again.
fn write_all(waiting: &Receiver<Entry>, sink: Box<dyn Write + Send>, dropped: &AtomicU64) {
    let mut told = 0;
    let mut sink = BufWriter::with_capacity(64 << 10, sink);
    while let Ok(first) = waiting.recv() {
        let (mut result, mut reached) = (Ok(()), Vec::new());
        for entry in std::iter::once(first).chain(waiting.try_iter()) {
            match entry {
                Entry::Line(line) => result = result.and_then(|()| writeln!(sink, "{line}")),
                Entry::Mark(mark) => reached.push(mark),
            }
        }
        let _ = result.and_then(|()| sink.flush());
        for mark in reached {
            let _ = mark.send(());
        }
        let dropped = dropped.load(Relaxed);
        if dropped > told {
            tracing::warn!(lines = dropped - told, "the access log is behind and lost lines");
            told = dropped;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_handed_over_is_there_once_it_is_said_to_be() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("access.log");
        let log = AccessLog::open(&AccessTarget::File(path.clone())).expect("a file");
        let log = log.expect("a log");
        for round in 1..=3 {
            for n in 0..5_000 {
                log.write(format!("line {n}"));
            }
            log.written().await;
            let text = std::fs::read_to_string(&path).expect("readable");
            assert_eq!(text.lines().count(), round * 5_000);
        }
    }
}
