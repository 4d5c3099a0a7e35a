//! The streams of one HTTP/2 connection: how many there are, and whether each is taken.
//!
//! A response over HTTP/2 waits for the window that its client opens, and hyper waits with it for
//! ever. hyper asks for the next piece of a body only when it could send the one before, so the
//! body knows when its client is waited for ([`Pace`]), and what runs the stream can end it.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use super::io::Alarm;

tokio::task_local! {
    /// That of the stream whose task this is.
    static PACE: Arc<Pace>;
}

/// Runs the streams of a connection. Clones count together.
#[derive(Clone, Debug)]
pub(super) struct Streams {
    stall: Duration,
    count: Arc<Count>,
}

#[derive(Debug, Default)]
struct Count {
    live: AtomicUsize,
    /// Beginnings and ends so far.
    moves: AtomicU64,
}

impl Streams {
    /// Resets a stream whose client takes nothing for `stall`.
    pub(super) fn new(stall: Duration) -> Self {
        Self { stall, count: Arc::default() }
    }

    /// Looks at the streams from time to time.
    pub(super) fn watch(&self) -> Watch {
        Watch { count: Arc::clone(&self.count), seen: 0 }
    }
}

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let (pace, place) = (Arc::<Pace>::default(), Place::take(&self.count));
        let stall = self.stall;
        tokio::spawn(PACE.scope(Arc::clone(&pace), async move {
            let _place = place;
            run(stream, &pace, stall).await;
        }));
    }
}

/// Runs the stream to its end, or until it stalls: h2 resets what is dropped before its end.
async fn run(stream: impl Future<Output = ()>, pace: &Pace, stall: Duration) {
    let mut stream = pin!(stream);
    let mut guard = Guard { alarm: Alarm::new(stall), seen: 0 };
    let whole = poll_fn(|cx| match stream.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(true),
        Poll::Pending => guard.poll(pace, cx).map(|()| false),
    });
    if !whole.await {
        pace.stalled.store(true, Relaxed);
    }
}

/// Measures how long the piece that was handed over last has been waiting.
struct Guard {
    alarm: Alarm,
    /// The number of that piece.
    seen: u64,
}

impl Guard {
    fn poll(&mut self, pace: &Pace, cx: &mut Context<'_>) -> Poll<()> {
        let handed_over = pace.handed_over.load(Relaxed);
        if !pace.waiting.load(Relaxed) || handed_over != self.seen {
            self.seen = handed_over;
            self.alarm.disarm();
        }
        match pace.waiting.load(Relaxed) {
            true => self.alarm.poll(cx),
            false => Poll::Pending,
        }
    }
}

/// How a response leaves, told by its body to whoever runs its stream; all on one task.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Pieces so far.
    handed_over: AtomicU64,
    /// Whether the last of them has not been sent yet.
    waiting: AtomicBool,
    stalled: AtomicBool,
}

impl Pace {
    /// That of the stream that is being answered; `None` over HTTP/1.
    pub(super) fn current() -> Option<Arc<Self>> {
        PACE.try_with(Arc::clone).ok()
    }

    /// Says that the next piece is asked for, and so the one before was sent.
    pub(super) fn asked(&self) {
        self.waiting.store(false, Relaxed);
    }

    /// Says that a piece was handed over.
    pub(super) fn hand_over(&self) {
        self.handed_over.fetch_add(1, Relaxed);
        self.waiting.store(true, Relaxed);
    }

    /// Whether the stream ends because its client did not take it.
    pub(super) fn is_stalled(&self) -> bool {
        self.stalled.load(Relaxed)
    }
}

/// One of the live streams, while it lives.
struct Place(Arc<Count>);

impl Place {
    fn take(count: &Arc<Count>) -> Self {
        count.live.fetch_add(1, Relaxed);
        count.moves.fetch_add(1, Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.moves.fetch_add(1, Relaxed);
        self.0.live.fetch_sub(1, Relaxed);
    }
}

/// Remembers what was seen of the streams.
pub(super) struct Watch {
    count: Arc<Count>,
    seen: u64,
}

impl Watch {
    /// Whether there is no stream and was none since the last look.
    pub(super) fn nothing_moved(&mut self) -> bool {
        let idle = self.count.live.load(Relaxed) == 0;
        let moves = self.count.moves.load(Relaxed);
        let before = std::mem::replace(&mut self.seen, moves);
        idle && before == moves
    }
}
