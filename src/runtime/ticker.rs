//! Makes guests take turns by the clock.
//!
//! Fuel counts a guest's own instructions, and a guest of nothing but host calls uses hardly any:
//! by fuel alone it would keep its thread for seconds, and nobody could stop it. So the engine's
//! epoch moves on every few milliseconds while guests run, and a guest yields at the next loop or
//! call after it did.
//!
//! *Invariant:* while no guest runs, the thread sleeps and nothing ticks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// How long a guest may keep its thread, give or take one host call.
const TICK: Duration = Duration::from_millis(2);
/// Ticks without a guest after which the thread goes to sleep: waking it costs a system call, so
/// it stays awake over the pauses of a busy node.
const IDLE_TICKS: u32 = 100;

/// The thread that ticks. It ends when this is dropped.
pub(super) struct Ticker {
    shared: Arc<Shared>,
    thread: std::thread::Thread,
}

#[derive(Default)]
struct Shared {
    /// Guests that run now.
    guests: AtomicU32,
    /// Guests that ever ran: tells a busy pause from an idle one.
    started: AtomicU64,
    asleep: AtomicBool,
    stopped: AtomicBool,
}

/// A guest that runs.
pub(super) struct Running(Arc<Shared>);

impl Ticker {
    pub(super) fn start(engine: wasmtime::Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let ticking = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("wharf-ticker".to_owned());
        let thread = thread.spawn(move || tick(&engine, &ticking))?.thread().clone();
        Ok(Self { shared, thread })
    }

    /// Notes that a guest runs until the answer is dropped.
    pub(super) fn guest(&self) -> Running {
        self.shared.guests.fetch_add(1, Ordering::SeqCst);
        self.shared.started.fetch_add(1, Ordering::Relaxed);
        if self.shared.asleep.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
        Running(Arc::clone(&self.shared))
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.guests.fetch_sub(1, Ordering::SeqCst);
    }
}

fn tick(engine: &wasmtime::Engine, shared: &Shared) {
    let (mut idle, mut seen) = (0, 0);
    while !shared.stopped.load(Ordering::SeqCst) {
        std::thread::park_timeout(TICK);
        engine.increment_epoch();
        let started = shared.started.load(Ordering::Relaxed);
        let busy = shared.guests.load(Ordering::SeqCst) > 0 || started != seen;
        idle = if busy { 0 } else { idle + 1 };
        seen = started;
        if idle >= IDLE_TICKS {
            sleep(shared);
            idle = 0;
        }
    }
}

/// Sleeps until a guest runs. Whoever starts one looks at `asleep` after it was counted, and this
/// looks at the count after `asleep` was set: one of the two sees the other.
fn sleep(shared: &Shared) {
    shared.asleep.store(true, Ordering::SeqCst);
    while shared.guests.load(Ordering::SeqCst) == 0 && !shared.stopped.load(Ordering::SeqCst) {
        std::thread::park();
    }
    shared.asleep.store(false, Ordering::SeqCst);
}
