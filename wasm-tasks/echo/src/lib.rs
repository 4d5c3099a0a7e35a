//! Streams the request body back, chunk by chunk.
//!
//! A chunk is read only when the response takes one, so a slow reader slows the writer down
//! and no body, however long, is ever held in memory.

use support::{IncomingRequest, ResponseOutparam, Streaming, writable};
use wasi::http::types::{Fields, IncomingBody, Method, Trailers};
use wasi::io::streams::{InputStream, StreamError};

/// The most bytes that are in the guest's memory at once.
const CHUNK_BYTES: u64 = 16 << 10;

struct Echo;

wasi::http::proxy::export!(Echo);

impl wasi::exports::http::incoming_handler::Guest for Echo {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let headers = response_headers(&request);
        let body = request.consume().expect("a request gives its body once");
        let response = support::start_with(out, 200, headers);
        let input = body.stream().expect("a body gives its stream once");
        if copy(&input, &response).is_err() {
            // One side broke off. Leaving the response unfinished passes that on.
            return;
        }
        drop(input);
        if let Ok(trailers) = trailers(body) {
            response.finish_with(trailers);
        }
    }
}

fn response_headers(request: &IncomingRequest) -> Fields {
    let headers = Fields::new();
    let target = request.path_with_query().unwrap_or_default();
    let add = |name: &str, value: &[u8]| {
        headers.append(name, value).expect("a value that came in a header may leave in one");
    };
    add("x-echo-method", method_name(&request.method()).as_bytes());
    add("x-echo-path", target.as_bytes());
    // HTTP/1.1 forwards only the trailers that the head announces.
    for name in ["content-type", "trailer"] {
        for value in request.headers().get(name) {
            add(name, &value);
        }
    }
    headers
}

fn method_name(method: &Method) -> &str {
    match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
        Method::Connect => "CONNECT",
        Method::Options => "OPTIONS",
        Method::Trace => "TRACE",
        Method::Patch => "PATCH",
        Method::Other(name) => name,
    }
}

fn copy(input: &InputStream, response: &Streaming) -> Result<(), StreamError> {
    let output = &response.stream;
    loop {
        let permit = writable(output)?;
        match input.blocking_read(permit.min(CHUNK_BYTES)) {
            Ok(chunk) => output.write(&chunk)?,
            Err(StreamError::Closed) => return output.blocking_flush(),
            Err(broken) => return Err(broken),
        }
        // A chunk goes out before the next one comes in: a conversation works, too.
        output.flush()?;
    }
}

/// The trailers that came after the body; `Err` when the request broke off instead.
fn trailers(body: IncomingBody) -> Result<Option<Trailers>, ()> {
    let future = IncomingBody::finish(body);
    loop {
        match future.get() {
            Some(result) => return result?.map_err(drop),
            None => future.subscribe().block(),
        }
    }
}
