//! Hostile: leaves its client without an answer. The path says how.

use support::{IncomingRequest, Query, ResponseOutparam};
use wasi::http::types::ErrorCode;

struct NeverRespond;

wasi::http::proxy::export!(NeverRespond);

impl wasi::exports::http::incoming_handler::Guest for NeverRespond {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        match Query::of(&request).path() {
            // Holds the parameter, and waits.
            "/hang" => support::sleep_forever(),
            // From here on no answer is possible, and the guest returns.
            "/drop" => drop(out),
            // No answer is possible, but the guest goes on: the host need not wait for it.
            "/drop-hang" => {
                drop(out);
                support::sleep_forever();
            }
            // An answer of a kind: the guest's own error code instead of a response.
            "/error" => ResponseOutparam::set(out, Err(error())),
            // Returns and leaks the parameter: the host learns only from the return.
            _ => std::mem::forget(out),
        }
    }
}

fn error() -> ErrorCode {
    ErrorCode::InternalError(Some("the sample has no answer".to_owned()))
}
