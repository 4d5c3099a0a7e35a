//! Hostile: keeps every host resource it can get. Each costs the host memory that no linear
//! memory shows.

//!
//! `/pollables`, `/requests`, `/full` (fields of 48 KiB), `/copies` (of such fields), `/bodies`
//! (128 KiB that nobody reads); `n` is how many, `drop=1` gives each back at once.

use std::any::Any;
use std::mem::forget;

use support::{IncomingRequest, Query, ResponseOutparam};
use wasi::clocks::monotonic_clock;
use wasi::http::types::{Fields, OutgoingRequest, OutgoingResponse};

const KIB: usize = 1 << 10;

struct LeakHandles;

wasi::http::proxy::export!(LeakHandles);

impl wasi::exports::http::incoming_handler::Guest for LeakHandles {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let query = Query::of(&request);
        let count = query.number("n").unwrap_or(u64::MAX);
        let give_back = query.number("drop").is_some();
        let make: fn() -> Box<dyn Any> = match query.path() {
            "/pollables" => || Box::new(monotonic_clock::subscribe_duration(u64::MAX)),
            "/requests" => || Box::new(OutgoingRequest::new(Fields::new())),
            "/full" => || Box::new(full_fields()),
            "/copies" => || {
                let fields = full_fields();
                let copy = fields.clone();
                copy.append("x-own", b"1").expect("the sample's own header is valid");
                Box::new((fields, copy))
            },
            "/bodies" => || Box::new(waiting_body()),
            _ => || Box::new(Fields::new()),
        };
        for _ in 0..count {
            let made = make();
            if !give_back {
                forget(made);
            }
        }
        support::text(out, 200, &format!("leaked {count} handles\n"));
    }
}

/// A header list of 48 KiB, which is below the 64 KiB or 128 KiB that hosts allow for one.
fn full_fields() -> Fields {
    let fields = Fields::new();
    for _ in 0..12 {
        fields.append("x-filler", &[b'h'; 4 * KIB]).expect("the sample's own header is valid");
    }
    fields
}

/// A response that is never sent, with as much body as its stream takes.
fn waiting_body() -> impl Any {
    let response = OutgoingResponse::new(Fields::new());
    let body = response.body().expect("it was not taken yet");
    let stream = body.write().expect("it was not taken yet");
    while let Ok(room @ 1..) = stream.check_write() {
        stream.write(&vec![b'b'; room as usize]).expect("the stream said so");
    }
    (stream, body, response)
}
