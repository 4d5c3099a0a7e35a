//! What the sample tasks share: one-shot answers, body streams, query parameters, sleeping.
//!
//! *Invariant:* nothing here hides what a task is an example of. Start reading at [`respond`].

mod query;

use std::time::Duration;

pub use query::{Query, percent_decode};
pub use wasi::http::types::{IncomingRequest, ResponseOutparam};

use wasi::clocks::monotonic_clock;
use wasi::http::types::{Fields, OutgoingBody, OutgoingResponse, Trailers};
use wasi::io::streams::{OutputStream, StreamError};

/// Answers with a whole response. A client that has gone away is not an error.
pub fn respond(out: ResponseOutparam, status: u16, headers: &[(&str, &str)], body: &[u8]) {
    let response = start(out, status, headers);
    // A failed write means that nobody reads any more; the host tells them, not the guest.
    if write_all(&response.stream, body).is_ok() {
        response.finish();
    }
}

/// [`respond`] with `text/plain`.
pub fn text(out: ResponseOutparam, status: u16, body: &str) {
    respond(out, status, &[("content-type", "text/plain; charset=utf-8")], body.as_bytes());
}

/// A response whose head is sent and whose body is still open.
///
/// Dropping it without [`Streaming::finish`] tells the host that the body is incomplete.
pub struct Streaming {
    // Declared before `body`: the host wants a child resource dropped before its parent.
    /// Where the body is written.
    pub stream: OutputStream,
    body: OutgoingBody,
}

impl Streaming {
    /// Ends the body. Returns whether the host took it as complete.
    pub fn finish(self) -> bool {
        self.finish_with(None)
    }

    /// [`Streaming::finish`] with trailers.
    pub fn finish_with(self, trailers: Option<Trailers>) -> bool {
        drop(self.stream);
        OutgoingBody::finish(self.body, trailers).is_ok()
    }
}

/// Sends the response head and leaves the body open.
pub fn start(out: ResponseOutparam, status: u16, headers: &[(&str, &str)]) -> Streaming {
    let fields = Fields::new();
    for (name, value) in headers {
        fields.append(name, value.as_bytes()).expect("the sample's own header is valid");
    }
    start_with(out, status, fields)
}

/// [`start`] with a header list that the caller made.
pub fn start_with(out: ResponseOutparam, status: u16, fields: Fields) -> Streaming {
    let response = OutgoingResponse::new(fields);
    response.set_status_code(status).expect("the sample's own status is valid");
    let body = response.body().expect("a response gives its body once");
    ResponseOutparam::set(out, Ok(response));
    let stream = body.write().expect("a body gives its stream once");
    Streaming { stream, body }
}

/// Writes `bytes`, no faster than the host permits, and flushes them.
///
/// # Errors
///
/// The host closed the stream, usually because the client has gone away.
pub fn write_all(stream: &OutputStream, mut bytes: &[u8]) -> Result<(), StreamError> {
    while !bytes.is_empty() {
        let permit = usize::try_from(writable(stream)?).unwrap_or(usize::MAX);
        let (now, later) = bytes.split_at(permit.min(bytes.len()));
        stream.write(now)?;
        bytes = later;
    }
    stream.blocking_flush()
}

/// Waits until the host takes at least one byte; returns how many it takes.
///
/// # Errors
///
/// The host closed the stream.
pub fn writable(stream: &OutputStream) -> Result<u64, StreamError> {
    loop {
        match stream.check_write()? {
            0 => stream.subscribe().block(),
            permit => return Ok(permit),
        }
    }
}

/// Sleeps on the host's monotonic clock, which costs no fuel.
pub fn sleep(duration: Duration) {
    let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    monotonic_clock::subscribe_duration(nanoseconds).block();
}

/// Sleeps until the host ends the instance: 584 years, the longest the clock can say.
pub fn sleep_forever() -> ! {
    loop {
        monotonic_clock::subscribe_duration(u64::MAX).block();
    }
}
