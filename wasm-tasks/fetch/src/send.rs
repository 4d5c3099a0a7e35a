//! Making requests and waiting for what comes of them.

use std::collections::BTreeMap;
use std::time::Duration;

use support::{IncomingRequest, Query};
use wasi::http::outgoing_handler;
use wasi::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, IncomingResponse, Method, OutgoingBody,
    OutgoingRequest, RequestOptions, Scheme,
};
use wasi::io::streams::StreamError;

/// Sends a request of the same method, and with the same body.
pub(crate) fn pass_on(
    request: &IncomingRequest,
    url: &str,
    query: &Query,
) -> Result<IncomingResponse, String> {
    let headers = Fields::new();
    for value in request.headers().get("traceparent") {
        headers.append("traceparent", &value).map_err(|error| format!("{error:?}"))?;
    }
    let method = request.method();
    let outgoing = make(url, &method, headers)?;
    let body = outgoing.body().expect("a request gives its body once");
    let sent = outgoing_handler::handle(outgoing, Some(options(query)));
    let future = sent.map_err(|code| format!("{code:?}"))?;
    if matches!(method, Method::Post) {
        // A server that answers early may not want the rest.
        let _ = upload(request, &body);
    }
    let _ = OutgoingBody::finish(body, None);
    wait(&future).map_err(|code| format!("{code:?}"))
}

/// Sends many at once: how many came to which end.
pub(crate) fn many(url: &str, count: usize) -> String {
    let futures: Vec<_> = (0..count).map(|_| begin(url)).collect();
    let mut ends = BTreeMap::<String, usize>::new();
    for future in futures {
        let end = match future.map(|future| wait(&future)) {
            Ok(Ok(response)) => response.status().to_string(),
            Ok(Err(code)) => format!("{code:?}"),
            Err(error) => error,
        };
        *ends.entry(end).or_default() += 1;
    }
    ends.into_iter().map(|(end, count)| format!("{count} {end}\n")).collect()
}

fn begin(url: &str) -> Result<FutureIncomingResponse, String> {
    let request = make(url, &Method::Get, Fields::new())?;
    outgoing_handler::handle(request, None).map_err(|code| format!("{code:?}"))
}

fn make(url: &str, method: &Method, headers: Fields) -> Result<OutgoingRequest, String> {
    let (scheme, rest) = url.split_once("://").ok_or("a URL is SCHEME://HOST/PATH")?;
    let scheme = match scheme {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => Scheme::Other(other.to_owned()),
    };
    let split = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(split);
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let request = OutgoingRequest::new(headers);
    request.set_method(method).map_err(|()| "invalid method")?;
    request.set_scheme(Some(&scheme)).map_err(|()| "invalid scheme")?;
    request.set_authority(Some(authority)).map_err(|()| "invalid authority")?;
    request.set_path_with_query(Some(&path)).map_err(|()| "invalid path")?;
    Ok(request)
}

fn options(query: &Query) -> RequestOptions {
    let options = RequestOptions::new();
    let nanoseconds = |name| {
        let ms = query.get(name)?.parse().ok()?;
        u64::try_from(Duration::from_millis(ms).as_nanos()).ok()
    };
    let _ = options.set_connect_timeout(nanoseconds("connect_ms"));
    let _ = options.set_first_byte_timeout(nanoseconds("first_byte_ms"));
    let _ = options.set_between_bytes_timeout(nanoseconds("between_ms"));
    options
}

fn upload(request: &IncomingRequest, body: &OutgoingBody) -> Result<(), StreamError> {
    let incoming = request.consume().expect("a request gives its body once");
    let input = incoming.stream().expect("a body gives its stream once");
    let output = body.write().expect("a body gives its stream once");
    loop {
        match input.blocking_read(crate::CHUNK_BYTES) {
            Ok(chunk) => support::write_all(&output, &chunk)?,
            Err(StreamError::Closed) => return Ok(()),
            Err(broken) => return Err(broken),
        }
    }
}

fn wait(future: &FutureIncomingResponse) -> Result<IncomingResponse, ErrorCode> {
    loop {
        match future.get() {
            Some(Ok(result)) => return result,
            Some(Err(())) => return Err(ErrorCode::InternalError(Some("taken already".into()))),
            None => future.subscribe().block(),
        }
    }
}
