//! Sends requests to where it is told to, through `wasi:http/outgoing-handler`, and passes the
//! answer on. What its role does not grant is an answer as well: 502 with the error code.

mod send;

use support::{IncomingRequest, Query, ResponseOutparam, Streaming, writable};
use wasi::http::types::{Fields, IncomingBody, IncomingResponse};
use wasi::io::streams::StreamError;

/// The most bytes that are in the guest's memory at once.
const CHUNK_BYTES: u64 = 16 << 10;
/// Fields of the answer that are passed on.
const PASSED_ON: [&str; 5] =
    ["content-type", "content-encoding", "location", "wharf-error", "x-echo-method"];

struct Fetch;

wasi::http::proxy::export!(Fetch);

impl wasi::exports::http::incoming_handler::Guest for Fetch {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let query = Query::of(&request);
        let url = match (query.get("url"), query.get("loop")) {
            (Some(url), _) => url.to_owned(),
            (None, Some(name)) => format!("http://{name}.wharf.internal/?loop={name}"),
            (None, None) => return support::text(out, 400, "say ?url=URL or ?loop=SERVICE\n"),
        };
        if let Some(count) = query.get("n").and_then(|n| n.parse().ok()) {
            return support::text(out, 200, &send::many(&url, count));
        }
        match send::pass_on(&request, &url, &query) {
            Ok(response) => answer(&response, out),
            Err(error) => support::text(out, 502, &format!("{error}\n")),
        }
    }
}

fn answer(response: &IncomingResponse, out: ResponseOutparam) {
    let headers = Fields::new();
    for name in PASSED_ON {
        for value in response.headers().get(name) {
            headers.append(name, &value).expect("a value that came in a header may leave in one");
        }
    }
    let body = response.consume().expect("a response gives its body once");
    let answer = support::start_with(out, response.status(), headers);
    // Where either side breaks off, leaving the answer unfinished passes that on.
    if copy(&body, &answer).is_ok() {
        answer.finish();
    }
}

fn copy(body: &IncomingBody, answer: &Streaming) -> Result<(), StreamError> {
    let (input, output) = (body.stream().expect("a body gives its stream once"), &answer.stream);
    loop {
        let permit = writable(output)?;
        match input.blocking_read(permit.min(CHUNK_BYTES)) {
            Ok(chunk) => output.write(&chunk)?,
            Err(StreamError::Closed) => return output.blocking_flush(),
            Err(broken) => return Err(broken),
        }
        output.flush()?;
    }
}
