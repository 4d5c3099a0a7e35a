//! Hostile: answers only in part, or without end. The path says how.

use support::{IncomingRequest, Query, ResponseOutparam, Streaming, write_all};
use wasi::http::types::Fields;

const MIB: usize = 1 << 20;
const BLOCK_BYTES: usize = 64 << 10;
const HEADER_BYTES: usize = 1 << 10;

struct HalfResponse;

wasi::http::proxy::export!(HalfResponse);

impl wasi::exports::http::incoming_handler::Guest for HalfResponse {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let query = Query::of(&request);
        match query.path() {
            "/finish" => _ = ten_of_a_thousand(out).finish(),
            "/trap" => trap(out),
            "/stall" => stall(out),
            "/long" => long(out),
            "/big" => big(out, query.number("mib").unwrap_or(16)),
            "/headers" => headers(out, query.number("n").unwrap_or(1000)),
            // `/short`: the body is dropped, which tells the host that it is incomplete.
            _ => drop(ten_of_a_thousand(out)),
        }
    }
}

/// Promises 1000 bytes and writes 10 of them.
fn ten_of_a_thousand(out: ResponseOutparam) -> Streaming {
    let response =
        support::start(out, 200, &[("content-type", "text/plain"), ("content-length", "1000")]);
    _ = write_all(&response.stream, b"0123456789");
    response
}

fn trap(out: ResponseOutparam) {
    let _response = ten_of_a_thousand(out);
    std::arch::wasm32::unreachable()
}

fn stall(out: ResponseOutparam) {
    let _response = ten_of_a_thousand(out);
    support::sleep_forever()
}

/// Ends only when nobody reads any more.
fn long(out: ResponseOutparam) {
    let response = support::start(out, 200, &[("content-type", "text/plain")]);
    let block = vec![b'x'; BLOCK_BYTES];
    while write_all(&response.stream, &block).is_ok() {}
}

/// A good citizen's long body, to measure the others against.
fn big(out: ResponseOutparam, mebibytes: u64) {
    let response = support::start(out, 200, &[("content-type", "text/plain")]);
    let block = vec![b'x'; BLOCK_BYTES];
    for _ in 0..mebibytes.saturating_mul((MIB / BLOCK_BYTES) as u64) {
        if write_all(&response.stream, &block).is_err() {
            return;
        }
    }
    response.finish();
}

/// As many headers of 1 KiB as the host takes; says in the body how many that were.
fn headers(out: ResponseOutparam, count: u64) {
    let fields = Fields::new();
    let value = vec![b'h'; HEADER_BYTES];
    let mut taken = 0;
    while taken < count && fields.append(&format!("x-filler-{taken}"), &value).is_ok() {
        taken += 1;
    }
    let response = support::start_with(out, 200, fields);
    if write_all(&response.stream, format!("set {taken} headers\n").as_bytes()).is_ok() {
        response.finish();
    }
}
