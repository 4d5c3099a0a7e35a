//! Waits on the host's clock, then answers. A waiting task uses no CPU and no fuel.

use std::time::Duration;

use support::{IncomingRequest, Query, ResponseOutparam};

const DEFAULT_MS: u64 = 10_000;

struct Sleep;

wasi::http::proxy::export!(Sleep);

impl wasi::exports::http::incoming_handler::Guest for Sleep {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let milliseconds = Query::of(&request).number("ms").unwrap_or(DEFAULT_MS);
        support::sleep(Duration::from_millis(milliseconds));
        support::text(out, 200, &format!("slept {milliseconds} ms\n"));
    }
}
