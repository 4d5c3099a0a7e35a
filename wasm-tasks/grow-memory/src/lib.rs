//! Hostile: takes all the memory it can get, or a given amount for a given time.

use std::arch::wasm32;
use std::hint::black_box;
use std::time::Duration;

use support::{IncomingRequest, Query, ResponseOutparam};

const MIB: usize = 1 << 20;
const PAGE_BYTES: usize = 64 << 10;
const PAGES_PER_MIB: usize = MIB / PAGE_BYTES;

struct GrowMemory;

wasi::http::proxy::export!(GrowMemory);

impl wasi::exports::http::incoming_handler::Guest for GrowMemory {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let query = Query::of(&request);
        let answer = match (query.path(), query.flag("survive")) {
            ("/hold", _) => hold(
                query.number("mib").unwrap_or(1),
                Duration::from_millis(query.number("ms").unwrap_or(0)),
            ),
            (_, true) => format!("{} MiB\n", grow_until_refused()),
            (_, false) => allocate_until_abort(),
        };
        support::text(out, 200, &answer);
    }
}

/// Grows the linear memory until `memory.grow` gives −1; returns how many MiB it got.
fn grow_until_refused() -> usize {
    let mut mebibytes = 0;
    loop {
        let pages_before = wasm32::memory_grow::<0>(PAGES_PER_MIB);
        if pages_before == usize::MAX {
            return mebibytes;
        }
        touch(pages_before * PAGE_BYTES);
        mebibytes += 1;
    }
}

/// Writes to each page of the MiB at `address`, so that the host has to back it.
#[expect(unsafe_code, reason = "memory.grow gave this range to the guest, nobody else uses it")]
fn touch(address: usize) {
    for page in 0..PAGES_PER_MIB {
        let byte = std::ptr::with_exposed_provenance_mut::<u8>(address + page * PAGE_BYTES);
        // SAFETY: the range is inside the memory, and the allocator does not know of it.
        unsafe { byte.write_volatile(1) };
    }
}

/// What an ordinary leak does: Rust's allocator is refused, prints a line and aborts.
fn allocate_until_abort() -> ! {
    let mut blocks = Vec::new();
    loop {
        blocks.push(black_box(vec![1_u8; MIB]));
    }
}

fn hold(mebibytes: u64, duration: Duration) -> String {
    let bytes = usize::try_from(mebibytes).unwrap_or(usize::MAX).saturating_mul(MIB);
    let block = black_box(vec![1_u8; bytes]);
    support::sleep(duration);
    format!("held {} MiB for {} ms\n", block.len() / MIB, duration.as_millis())
}
