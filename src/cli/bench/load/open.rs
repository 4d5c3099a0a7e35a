//! Load at a constant rate: a request is due at its time, however long the ones before take.
//!
//! A time counts from when its request was due. So a server that stalls is charged for every
//! request that it kept from being sent (what Gil Tene calls coordinated omission).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rustix::fd::OwnedFd;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::clock;

use super::super::histogram::Histogram;
use super::super::stats::SplitMix;
use super::client::Client;
use super::{Pick, Target, on_threads, share, threads};

/// How long connections are warmed up before anything counts.
const WARM_UP: Duration = Duration::from_millis(200);
/// How long requests that are due may still be sent after the end.
const GRACE: Duration = Duration::from_secs(5);
/// Requests that may be due and not sent: a node that is so far behind does not catch up.
const MOST_WAITING: usize = 1_000_000;

/// What is to be done.
#[derive(Clone, Debug)]
pub(in super::super) struct Open {
    pub(in super::super) target: Target,
    pub(in super::super) pick: Pick,
    pub(in super::super) connections: u32,
    pub(in super::super) rate_per_s: f64,
    pub(in super::super) duration: Duration,
}

/// What came of it.
pub(in super::super) struct Opened {
    /// From when a request was due until its answer was there.
    pub(in super::super) times: Histogram,
    /// From when a request was due until it was sent, where a connection was free.
    pub(in super::super) late: Histogram,
    /// Requests that were never sent.
    pub(in super::super) unsent: u64,
}

impl Opened {
    fn new() -> Self {
        Self { times: Histogram::new(), late: Histogram::new(), unsent: 0 }
    }
}

/// Sends requests at a constant rate. A single wrong answer is an error.
pub(in super::super) async fn open(task: Open) -> anyhow::Result<Opened> {
    let start = clock::now() + WARM_UP;
    let parts = on_threads(threads(), move |index| {
        let task = task.clone();
        async move { Thread::new(&task, index, start)?.run(&task).await }
    });
    let mut all = Opened::new();
    for part in parts.await? {
        all.times.add(&part.times);
        all.late.add(&part.late);
        all.unsent += part.unsent;
    }
    Ok(all)
}

/// A request that is due.
struct Due {
    at: Instant,
    /// Whether a connection was free for it.
    prompt: bool,
}

/// What the tasks of one thread share.
struct Shared {
    waiting: RefCell<VecDeque<Due>>,
    /// A permit for each that waits.
    permits: Semaphore,
    /// Connections without a request.
    idle: Cell<usize>,
    seen: RefCell<Opened>,
}

struct Thread {
    index: usize,
    timer: AsyncFd<OwnedFd>,
    first: Instant,
    interval: Duration,
    count: u64,
    shared: Rc<Shared>,
}

impl Thread {
    fn new(task: &Open, index: usize, start: Instant) -> anyhow::Result<Self> {
        // Threads take turns: each has every n-th request.
        let interval = Duration::from_secs_f64(threads() as f64 / task.rate_per_s);
        let first = start + interval.mul_f64(index as f64 / threads() as f64);
        let count = (task.duration.as_secs_f64() / interval.as_secs_f64()) as u64;
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let shared = Shared {
            waiting: RefCell::default(),
            permits: Semaphore::new(0),
            idle: Cell::new(0),
            seen: RefCell::new(Opened::new()),
        };
        #[expect(deprecated, reason = "its successor is unsafe, and an owned descriptor is sound")]
        let timer = AsyncFd::new(timer)?;
        let shared = Rc::new(shared);
        Ok(Self { index, timer, first, interval, count: count.max(1), shared })
    }

    async fn run(self, task: &Open) -> anyhow::Result<Opened> {
        let mut running = JoinSet::new();
        for number in 0..share(task.connections, self.index) {
            let mut client = Client::connect(&task.target).await?;
            client.get(0).await?;
            let (pick, services) = (task.pick, task.target.hosts.len());
            let mut random = SplitMix(u64::from(number) << 32 | self.index as u64);
            let shared = Rc::clone(&self.shared);
            running.spawn_local(async move {
                let service = move || match pick {
                    Pick::First => 0,
                    Pick::Random => random.below(services),
                };
                send(&shared, &mut client, service).await
            });
        }
        tokio::select! {
            issued = self.issue() => issued?,
            Some(failed) = running.join_next() => failed??,
        }
        self.shared.permits.close();
        let rest = async {
            while let Some(done) = running.join_next().await {
                done??;
            }
            anyhow::Ok(())
        };
        // What is not answered by then counts as unsent.
        if let Ok(done) = tokio::time::timeout(GRACE, rest).await {
            done?;
        }
        let waiting = std::mem::take(&mut *self.shared.waiting.borrow_mut());
        let mut seen = self.shared.seen.replace(Opened::new());
        for due in &waiting {
            seen.times.record(nanos(due.at.elapsed()));
        }
        seen.unsent = waiting.len() as u64;
        Ok(seen)
    }

    /// Makes requests due, each at its time.
    async fn issue(&self) -> anyhow::Result<()> {
        let wait = self.first.saturating_duration_since(clock::now());
        let setting = Itimerspec {
            it_value: timespec(wait.max(Duration::from_nanos(1))),
            it_interval: timespec(self.interval),
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &setting)?;
        let mut issued = 0;
        while issued < self.count {
            let mut ready = self.timer.readable().await?;
            let mut expirations = [0; 8];
            let read =
                |timer: &AsyncFd<OwnedFd>| Ok(rustix::io::read(timer.get_ref(), &mut expirations)?);
            match ready.try_io(read) {
                Ok(read) => read.context("the timer cannot be read")?,
                Err(_) => continue,
            };
            let more = u64::from_ne_bytes(expirations).min(self.count - issued);
            self.shared.add((issued..issued + more).map(|number| self.due(number)))?;
            issued += more;
        }
        Ok(())
    }

    fn due(&self, number: u64) -> Instant {
        self.first + Duration::from_secs_f64(self.interval.as_secs_f64() * number as f64)
    }
}

impl Shared {
    fn add(&self, all: impl Iterator<Item = Instant>) -> anyhow::Result<()> {
        let mut waiting = self.waiting.borrow_mut();
        for at in all {
            let prompt = waiting.len() < self.idle.get();
            waiting.push_back(Due { at, prompt });
            self.permits.add_permits(1);
        }
        let behind = waiting.len();
        ensure!(behind <= MOST_WAITING, "the node is {behind} requests behind, and falls back");
        Ok(())
    }

    /// The next request; none when there will be no more.
    async fn next(&self) -> Option<Due> {
        self.idle.set(self.idle.get() + 1);
        let permit = self.permits.acquire().await;
        self.idle.set(self.idle.get() - 1);
        if let Ok(permit) = permit {
            permit.forget();
        }
        self.waiting.borrow_mut().pop_front()
    }
}

async fn send(
    shared: &Shared,
    client: &mut Client,
    mut service: impl FnMut() -> usize,
) -> anyhow::Result<()> {
    while let Some(due) = shared.next().await {
        if due.prompt {
            shared.seen.borrow_mut().late.record(nanos(due.at.elapsed()));
        }
        client.get(service()).await?;
        shared.seen.borrow_mut().times.record(nanos(due.at.elapsed()));
    }
    Ok(())
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn timespec(time: Duration) -> Timespec {
    Timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) }
}
