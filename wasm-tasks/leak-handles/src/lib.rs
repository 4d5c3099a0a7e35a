//! Hostile: keeps every host resource it can get. Each costs the host memory that no linear
//! memory shows.

use std::mem::forget;

use support::{IncomingRequest, Query, ResponseOutparam};
use wasi::clocks::monotonic_clock;
use wasi::http::types::{Fields, OutgoingRequest};

const KIB: usize = 1 << 10;

struct LeakHandles;

wasi::http::proxy::export!(LeakHandles);

impl wasi::exports::http::incoming_handler::Guest for LeakHandles {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let query = Query::of(&request);
        let count = query.number("n").unwrap_or(u64::MAX);
        let leak: fn() = match query.path() {
            "/pollables" => || forget(monotonic_clock::subscribe_duration(u64::MAX)),
            "/requests" => || forget(OutgoingRequest::new(Fields::new())),
            "/full" => || forget(full_fields()),
            _ => || forget(Fields::new()),
        };
        (0..count).for_each(|_| leak());
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
