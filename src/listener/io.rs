//! A connection that does not wait forever for its client.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::time::Sleep;

use super::stream::Stream;

/// What an HTTP/2 connection begins with (RFC 9113 §3.4). Until it is clear that a connection
/// does not, hyper runs no timer of its own.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A stream with a limit on how long the first bytes may take to come, and on how long written
/// bytes may take to go.
pub(super) struct GuardedIo {
    stream: TokioIo<Stream>,
    /// Bytes read so far that match the preface; `None` once they do not, or all were read.
    preface: Option<usize>,
    first_bytes: Alarm,
    writes: Alarm,
    link: Link,
}

/// What a connection and those who serve it tell each other.
#[derive(Clone, Debug, Default)]
pub(super) struct Link(Arc<Told>);

#[derive(Debug, Default)]
struct Told {
    http2: AtomicBool,
    broken: AtomicBool,
    stalled: AtomicBool,
}

impl Link {
    /// Whether the connection began as HTTP/2.
    pub(super) fn is_http2(&self) -> bool {
        self.0.http2.load(Ordering::Relaxed)
    }

    /// Whether the connection ends because its client took nothing of what was written.
    pub(super) fn is_stalled(&self) -> bool {
        self.0.stalled.load(Ordering::Relaxed)
    }

    /// Lets the connection end in a reset. Where a body ends with its connection, as in HTTP/1.0,
    /// an orderly close would look like the body's end.
    pub(super) fn break_off(&self) {
        self.0.broken.store(true, Ordering::Relaxed);
    }
}

impl Drop for GuardedIo {
    fn drop(&mut self) {
        if self.link.0.broken.load(Ordering::Relaxed) {
            self.stream.inner().reset_on_drop();
        }
    }
}

impl GuardedIo {
    pub(super) fn new(stream: Stream, first_bytes: Duration, writes: Duration, link: Link) -> Self {
        Self {
            stream: TokioIo::new(stream),
            preface: Some(0),
            first_bytes: Alarm::new(first_bytes),
            writes: Alarm::new(writes),
            link,
        }
    }

    fn look_at(&mut self, bytes: &[u8]) {
        let Some(read) = self.preface else { return };
        let now = read + bytes.len();
        // Whatever follows the preface in the same read belongs to what comes after it.
        let compared = bytes.len().min(PREFACE.len() - read);
        let matches = PREFACE[read..].starts_with(&bytes[..compared]);
        if matches && now >= PREFACE.len() {
            self.link.0.http2.store(true, Ordering::Relaxed);
        }
        self.preface = (matches && now < PREFACE.len()).then_some(now);
    }

    fn guard_write<T>(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match result {
            Poll::Ready(result) => {
                self.writes.disarm();
                Poll::Ready(result)
            }
            Poll::Pending => self.writes.poll(cx).map(|()| {
                self.link.0.stalled.store(true, Ordering::Relaxed);
                Err(too_slow())
            }),
        }
    }
}

impl Read for GuardedIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.preface.is_none() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let mut first = [0; 32];
        let room = first.len().min(buffer.remaining());
        let mut read = hyper::rt::ReadBuf::new(&mut first[..room]);
        match Pin::new(&mut self.stream).poll_read(cx, read.unfilled()) {
            Poll::Pending => self.first_bytes.poll(cx).map(|()| Err(too_slow())),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) => {
                buffer.put_slice(read.filled());
                self.look_at(read.filled());
                if self.preface.is_none() {
                    self.first_bytes.disarm();
                }
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl Write for GuardedIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.guard_write(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.guard_write(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // TLS may hold bytes back that it has taken; a socket never does.
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        self.guard_write(cx, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.guard_write(cx, result)
    }
}

fn too_slow() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the client is too slow")
}

/// A timer that exists only while something is awaited.
pub(super) struct Alarm {
    after: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    pub(super) fn new(after: Duration) -> Self {
        Self { after, sleep: None }
    }

    /// Whether the time is over; it begins with the first call.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let after = self.after;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(after)));
        sleep.as_mut().poll(cx)
    }

    /// Says that what was awaited has come.
    pub(super) fn disarm(&mut self) {
        self.sleep = None;
    }
}
