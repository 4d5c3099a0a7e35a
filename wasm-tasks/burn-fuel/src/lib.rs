//! Hostile: computes without end. What stops it is the fuel budget, or the timeout.

use std::hint::black_box;

use support::{IncomingRequest, Query, ResponseOutparam};
use wasi::clocks::monotonic_clock;
use wasi::random::random::get_random_bytes;

/// What `/bulk` copies with one instruction.
const BULK_BYTES: usize = 1 << 20;
/// What `/random` asks the host for in one call.
const RANDOM_BYTES: u64 = 64 << 10;

struct BurnFuel;

wasi::http::proxy::export!(BurnFuel);

impl wasi::exports::http::incoming_handler::Guest for BurnFuel {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let query = Query::of(&request);
        let rounds = query.number("n").unwrap_or(u64::MAX);
        match query.path() {
            "/bulk" => bulk(rounds),
            "/host" => host_calls(rounds),
            "/random" => random_bytes(rounds),
            _ => compute(rounds),
        }
        support::text(out, 200, &format!("done {rounds}\n"));
    }
}

/// A handful of instructions in each round (xorshift64, Marsaglia 2003).
fn compute(rounds: u64) {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    for _ in 0..rounds {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // Without it the compiler could work the result out, or drop it.
        state = black_box(state);
    }
}

/// One `memory.fill` of a MiB in each round: little fuel if bulk operations count as one.
fn bulk(rounds: u64) {
    let mut block = vec![0_u8; BULK_BYTES];
    for round in 0..rounds {
        black_box(&mut block).fill(round.to_le_bytes()[0]);
    }
}

/// One call into the host in each round: the host's time, hardly any of the guest's fuel.
fn host_calls(rounds: u64) {
    for _ in 0..rounds {
        black_box(monotonic_clock::now());
    }
}

/// Long calls into the host: a guest that by its own count does next to nothing.
fn random_bytes(rounds: u64) {
    for _ in 0..rounds {
        black_box(get_random_bytes(RANDOM_BYTES));
    }
}
