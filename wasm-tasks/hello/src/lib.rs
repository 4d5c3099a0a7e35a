//! The smallest task: answers a greeting.

use support::{IncomingRequest, ResponseOutparam};

struct Hello;

wasi::http::proxy::export!(Hello);

impl wasi::exports::http::incoming_handler::Guest for Hello {
    fn handle(_request: IncomingRequest, out: ResponseOutparam) {
        support::respond(out, 200, &[("content-type", "text/plain")], b"Hello from Wharf!\n");
    }
}
