//! Hostile: fails in every way a guest can. The path says how.

use std::hint::black_box;
use std::num::NonZeroU32;

use support::{IncomingRequest, Query, ResponseOutparam, write_all};
use wasi::http::types::{Fields, OutgoingResponse};

struct Trap;

wasi::http::proxy::export!(Trap);

impl wasi::exports::http::incoming_handler::Guest for Trap {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        match Query::of(&request).path() {
            "/after-head" => after_head(out),
            "/panic" => panic!("the sample panics, as it was asked to"),
            "/exit" => std::process::exit(3),
            "/twice" => set_twice(out),
            "/div" => divide_by_zero(),
            "/stack" => overflow_stack(),
            "/bounds" => read_out_of_bounds(),
            _ => std::arch::wasm32::unreachable(),
        }
        // Only `/twice`, and only if the host let it pass, comes as far as this.
        println!("the sample was not stopped");
    }
}

/// Head and one chunk are on their way; a client must still see that the rest is missing.
fn after_head(out: ResponseOutparam) {
    let response = support::start(out, 200, &[("content-type", "text/plain")]);
    _ = write_all(&response.stream, b"the first chunk, and then\n");
    std::arch::wasm32::unreachable()
}

/// The typed API gives the parameter away with the first `set`; a handle number can be forged.
#[expect(unsafe_code, reason = "no safe code can use a handle twice, which is the point")]
fn set_twice(out: ResponseOutparam) {
    let handle = out.take_handle();
    for _ in 0..2 {
        let response = OutgoingResponse::new(Fields::new());
        // SAFETY: wrong on purpose the second time; the host must refuse the stale handle.
        let out = unsafe { ResponseOutparam::from_handle(handle) };
        ResponseOutparam::set(out, Ok(response));
    }
}

/// Rust checks a divisor and would panic; a `NonZero` one it trusts, so the instruction traps.
#[expect(unsafe_code, reason = "the trap of the instruction is wanted, not Rust's check")]
fn divide_by_zero() {
    // SAFETY: wrong on purpose; `black_box` keeps the compiler from learning that it is zero,
    // and on wasm32 the division traps, so that nothing runs after it.
    let divisor = black_box(unsafe { NonZeroU32::new_unchecked(black_box(0)) });
    black_box(black_box(1_u32) / divisor);
}

fn overflow_stack() {
    fn down(depth: u64) -> u64 {
        if black_box(true) { black_box(down(depth + 1)) + 1 } else { depth }
    }
    black_box(down(0));
}

#[expect(unsafe_code, reason = "the access must miss the memory")]
fn read_out_of_bounds() {
    let past_the_end = std::ptr::with_exposed_provenance::<u32>(u32::MAX as usize - 7);
    // SAFETY: wrong on purpose; on wasm32 the load traps unless the memory has 4 GiB.
    black_box(unsafe { past_the_end.read_volatile() });
}
