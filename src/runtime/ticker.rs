//! Makes guests take turns by the clock.
//!
//! Fuel counts a guest's own instructions, and a guest of nothing but host calls uses hardly any:
//! by fuel alone it would keep its thread for seconds, and nobody could stop it. So the engine's
//! epoch moves on every few milliseconds while guests run, and a guest yields at the next loop or
//! call after it did.
//!
//! *Invariant:* while no guest runs, the thread sleeps and nothing ticks.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use crate::clock;

use super::cpu::Gate;

/// How long a guest may keep its thread, give or take one host call.
const TICK: Duration = Duration::from_millis(2);
/// Ticks without a guest after which the thread goes to sleep: waking it costs a system call, so
/// it stays awake over the pauses of a busy node.
const IDLE_TICKS: u32 = 100;

/// Ticks between two looks for turns that do not end.
const WATCH_TICKS: u32 = 50;
/// How soon after another a tick may come out of turn, in microseconds.
const HURRY_US: u64 = 200;

/// The thread that ticks. It ends when this is dropped.
pub(super) struct Ticker {
    shared: Arc<Shared>,
    thread: std::thread::Thread,
}

struct Shared {
    engine: wasmtime::Engine,
    /// Whose turns are watched.
    gate: OnceLock<Weak<Gate>>,
    began: Instant,
    /// When the last tick came out of turn, in microseconds since then.
    hurried_us: AtomicU64,
    /// Guests that run now.
    guests: AtomicU32,
    /// Guests that ever ran: tells a busy pause from an idle one.
    started: AtomicU64,
    asleep: AtomicBool,
    stopped: AtomicBool,
}

/// A guest that runs.
pub(super) struct Running(Arc<Shared>);

/// Ends the turns of the guests that run now, for somebody who has waited long enough.
pub(super) struct Hurry(Arc<Shared>);

impl Hurry {
    /// Ticks now, unless that was done just before.
    pub(super) fn now(&self) {
        let now = u64::try_from(self.0.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let last = self.0.hurried_us.load(Ordering::Relaxed);
        let is_due = now.saturating_sub(last) >= HURRY_US;
        let order = Ordering::Relaxed;
        if is_due && self.0.hurried_us.compare_exchange(last, now, order, order).is_ok() {
            self.0.engine.increment_epoch();
        }
    }
}

impl Ticker {
    pub(super) fn start(engine: wasmtime::Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            engine,
            gate: OnceLock::new(),
            began: clock::now(),
            hurried_us: AtomicU64::new(0),
            guests: AtomicU32::new(0),
            started: AtomicU64::new(0),
            asleep: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
        });
        let ticking = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("wharf-ticker".to_owned());
        let thread = thread.spawn(move || tick(&ticking))?.thread().clone();
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

    /// What ends turns early.
    pub(super) fn hurry(&self) -> Hurry {
        Hurry(Arc::clone(&self.shared))
    }

    /// Watches the turns that this gate gives out, from now on.
    pub(super) fn watch(&self, gate: &Arc<Gate>) {
        let _ = self.shared.gate.set(Arc::downgrade(gate));
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

fn tick(shared: &Shared) {
    let (mut idle, mut seen, mut ticks) = (0, 0, 0_u32);
    while !shared.stopped.load(Ordering::SeqCst) {
        std::thread::park_timeout(TICK);
        shared.engine.increment_epoch();
        ticks = ticks.wrapping_add(1);
        if ticks % WATCH_TICKS == 0
            && let Some(gate) = shared.gate.get().and_then(Weak::upgrade)
        {
            gate.watch();
        }
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
