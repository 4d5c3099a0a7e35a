//! What a task's role lets it reach: directories, HTTP hosts, sockets. A refusal is an answer.

use std::net::TcpStream;

use wasi::filesystem::preopens;
use wasi::http::outgoing_handler;
use wasi::http::types::{ErrorCode, Fields, IncomingBody, IncomingResponse};
use wasi::http::types::{OutgoingRequest, Scheme};
use wasi::io::streams::StreamError;

/// The longest response body that [`fetch`] counts; more is not needed to see that it works.
const FETCH_BYTES: u64 = 16 << 20;

/// The directories that the task was given, a line each.
pub(crate) fn directories() -> String {
    let names: Vec<_> = preopens::get_directories().into_iter().map(|(_, name)| name).collect();
    match names.as_slice() {
        [] => "dirs: none\n".to_owned(),
        names => names.iter().map(|name| format!("dir: {name}\n")).collect(),
    }
}

/// A file's size and text.
pub(crate) fn read(path: &str) -> String {
    match std::fs::read(path) {
        Ok(bytes) => format!("read: {} bytes\n{}", bytes.len(), String::from_utf8_lossy(&bytes)),
        Err(error) => format!("read: error: {error}\n"),
    }
}

/// Connects a TCP socket, by name or by address.
pub(crate) fn connect(address: &str) -> String {
    match TcpStream::connect(address) {
        Ok(_) => "connect: ok\n".to_owned(),
        Err(error) => format!("connect: error: {error} ({:?})\n", error.kind()),
    }
}

/// Sends a GET through `wasi:http/outgoing-handler`.
pub(crate) fn fetch(url: &str) -> String {
    let answer = request(url).and_then(|request| send(request).map_err(|code| format!("{code:?}")));
    match answer {
        Ok(response) => format!("fetch: {} {}\n", response.status(), length(&response)),
        Err(error) => format!("fetch: error: {error}\n"),
    }
}

fn request(url: &str) -> Result<OutgoingRequest, String> {
    let (scheme, rest) = url.split_once("://").ok_or("a URL is SCHEME://HOST/PATH")?;
    let scheme = match scheme {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => Scheme::Other(other.to_owned()),
    };
    let split = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(split);
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let request = OutgoingRequest::new(Fields::new());
    request.set_scheme(Some(&scheme)).map_err(|()| "invalid scheme")?;
    request.set_authority(Some(authority)).map_err(|()| "invalid authority")?;
    request.set_path_with_query(Some(&path)).map_err(|()| "invalid path")?;
    Ok(request)
}

fn send(request: OutgoingRequest) -> Result<IncomingResponse, ErrorCode> {
    let future = outgoing_handler::handle(request, None)?;
    loop {
        match future.get() {
            Some(Ok(result)) => return result,
            Some(Err(())) => return Err(ErrorCode::InternalError(Some("taken already".into()))),
            None => future.subscribe().block(),
        }
    }
}

fn length(response: &IncomingResponse) -> String {
    let body = response.consume().expect("a response gives its body once");
    let bytes = count(&body);
    drop(body);
    match bytes {
        Ok(bytes) => format!("{bytes} bytes"),
        Err(error) => format!("and then: {error}"),
    }
}

fn count(body: &IncomingBody) -> Result<u64, StreamError> {
    let stream = body.stream().expect("a body gives its stream once");
    let mut bytes = 0;
    while bytes < FETCH_BYTES {
        match stream.blocking_read(64 << 10) {
            Ok(chunk) => bytes += chunk.len() as u64,
            Err(StreamError::Closed) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}
