//! Gives turns out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::time::Duration;

use parking_lot::Mutex;

use super::account::{Account, Ticket};
use super::lanes::Lanes;

/// As many turns as there are cores, and those who wait for one.
#[derive(Debug)]
pub(crate) struct Gate {
    /// Free turns in the upper half, those who wait in the lower. Both change at once, so that
    /// nobody joins the queue while a turn is free.
    word: AtomicU64,
    /// The virtual time that the last turn began at.
    now: AtomicU64,
    order: Mutex<Order>,
    pub(super) lanes: Lanes,
}

/// Accounts with somebody who waits, by what they have had.
type Order = BTreeMap<(u64, u64), Arc<Account>>;

/// Whether a turn was to be had.
pub(super) enum Entered {
    Now,
    /// Not yet. `hurry` says that whoever runs should make room soon.
    Later {
        ticket: Arc<Ticket>,
        hurry: bool,
    },
}

const ONE_FREE: u64 = 1 << 32;

fn free(word: u64) -> u64 {
    word >> 32
}

fn waiting(word: u64) -> u64 {
    word & (ONE_FREE - 1)
}

impl Gate {
    pub(crate) fn new(turns: usize) -> Arc<Self> {
        let turns = u32::try_from(turns.max(1)).unwrap_or(u32::MAX);
        Arc::new(Self {
            word: AtomicU64::new(u64::from(turns) * ONE_FREE),
            now: AtomicU64::new(0),
            order: Mutex::default(),
            lanes: Lanes::default(),
        })
    }

    /// Changes the word, if `change` has something to change it to.
    fn change(&self, change: impl Fn(u64) -> Option<u64>) -> bool {
        self.word.fetch_update(Ordering::AcqRel, Ordering::Acquire, change).is_ok()
    }

    fn take_free(&self) -> bool {
        self.change(|word| (free(word) > 0 && waiting(word) == 0).then(|| word - ONE_FREE))
    }

    /// Takes a turn, or a place in the queue for one.
    pub(super) fn enter(&self, account: &Arc<Account>, waker: &Waker) -> Entered {
        if self.take_free() {
            self.begin(account, account.catch_up(self.now.load(Ordering::Relaxed)));
            return Entered::Now;
        }
        let mut order = self.order.lock();
        // Only whoever holds the lock joins or leaves the queue.
        if self.take_free() {
            drop(order);
            self.begin(account, account.catch_up(self.now.load(Ordering::Relaxed)));
            return Entered::Now;
        }
        self.word.fetch_add(1, Ordering::AcqRel);
        let ticket = Ticket::new(waker);
        let now = self.now.load(Ordering::Relaxed);
        let hurry = account.is_behind(now);
        let mut line = account.line.lock();
        if line.tickets.is_empty() {
            line.key = account.catch_up(now);
            order.insert((line.key, account.number), Arc::clone(account));
        }
        line.tickets.push_back(Arc::clone(&ticket));
        drop(line);
        drop(order);
        // A turn may have become free between the look at it and the place in the queue.
        self.settle();
        Entered::Later { ticket, hurry }
    }

    /// Gives free turns to those who wait, which can be both only for a moment.
    fn settle(&self) {
        let both = |word| (free(word) > 0 && waiting(word) > 0).then(|| word - ONE_FREE);
        while self.change(both) {
            self.hand_on();
        }
    }

    fn begin(&self, account: &Account, start: u64) {
        self.now.fetch_max(start, Ordering::Relaxed);
        account.begin();
    }

    /// Gives a turn back.
    pub(super) fn leave(&self, account: &Account, used: Duration) {
        account.end(used);
        if self.change(|word| (waiting(word) == 0).then(|| word + ONE_FREE)) {
            return;
        }
        self.stand_anew(account);
        self.hand_on();
    }

    /// One turn more than there are cores, as long as somebody does not give one back.
    pub(super) fn lend(&self) {
        self.word.fetch_add(ONE_FREE, Ordering::AcqRel);
        self.settle();
    }

    /// A turn that was lent in place of another is not given back.
    pub(super) fn leave_lent(&self, account: &Account, used: Duration) {
        account.end(used);
    }

    /// Puts an account where it belongs after what it has had has changed.
    fn stand_anew(&self, account: &Account) {
        let mut order = self.order.lock();
        let mut line = account.line.lock();
        if line.tickets.is_empty() {
            return;
        }
        if let Some(this) = order.remove(&(line.key, account.number)) {
            line.key = account.served();
            order.insert((line.key, account.number), this);
        }
    }

    /// Gives a turn, which nobody else holds, to whoever has had the least.
    fn hand_on(&self) {
        let mut order = self.order.lock();
        let Some(((key, _), account)) = order.pop_first() else {
            drop(order);
            // Whoever waited has left meanwhile.
            self.word.fetch_add(ONE_FREE, Ordering::AcqRel);
            return self.settle();
        };
        let mut line = account.line.lock();
        let ticket = line.tickets.pop_front();
        self.begin(&account, key);
        if !line.tickets.is_empty() {
            line.key = account.served();
            order.insert((line.key, account.number), Arc::clone(&account));
        }
        self.word.fetch_sub(1, Ordering::AcqRel);
        drop(line);
        drop(order);
        if let Some(ticket) = ticket {
            ticket.grant();
        }
    }

    /// Leaves the queue, or gives back the turn that came too late.
    pub(super) fn cancel(&self, account: &Account, ticket: &Arc<Ticket>) {
        let mut order = self.order.lock();
        let mut line = account.line.lock();
        let at = line.tickets.iter().position(|other| Arc::ptr_eq(other, ticket));
        let Some(at) = at else {
            drop(line);
            drop(order);
            return self.leave(account, Duration::ZERO);
        };
        line.tickets.remove(at);
        if line.tickets.is_empty() {
            order.remove(&(line.key, account.number));
        }
        self.word.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::CpuUnits;

    fn account(units: u32) -> Arc<Account> {
        Account::new(CpuUnits(units), false)
    }

    fn waits(gate: &Gate, account: &Arc<Account>) -> Arc<Ticket> {
        match gate.enter(account, Waker::noop()) {
            Entered::Later { ticket, .. } => ticket,
            Entered::Now => panic!("a turn was free"),
        }
    }

    /// Two accounts that always want more, for so many turns of so long.
    fn shares(of: [(u32, u64); 2], turns: u32) -> [u64; 2] {
        let gate = Gate::new(1);
        let accounts = of.map(|(units, _)| account(units));
        let first = account(1_024);
        assert!(matches!(gate.enter(&first, Waker::noop()), Entered::Now));
        let mut tickets = accounts.each_ref().map(|account| waits(&gate, account));
        gate.leave(&first, Duration::ZERO);
        let mut used = [0, 0];
        for _ in 0..turns {
            let at = tickets.iter().position(|ticket| ticket.is_granted(Waker::noop()));
            let at = at.expect("somebody has the turn");
            used[at] += of[at].1;
            // It comes again before it leaves, so that it always waits.
            tickets[at] = waits(&gate, &accounts[at]);
            gate.leave(&accounts[at], Duration::from_micros(of[at].1));
        }
        used
    }

    #[test]
    fn shares_follow_the_units_and_not_the_length_of_turns() {
        let near = |[a, b]: [u64; 2], ratio: f64| {
            let got = a as f64 / b as f64;
            assert!((got / ratio - 1.0).abs() < 0.02, "{a} to {b}");
        };
        near(shares([(256, 2_000), (256, 2_000)], 2_000), 1.0);
        near(shares([(256, 300), (256, 3_000)], 20_000), 1.0);
        near(shares([(1_024, 2_000), (256, 2_000)], 5_000), 4.0);
        near(shares([(512, 3_000), (1_024, 100)], 20_000), 0.5);
    }

    #[test]
    fn whoever_was_away_saves_nothing_up_and_is_not_punished() {
        let gate = Gate::new(1);
        let (busy, idle) = (account(256), account(256));
        for _ in 0..1_000 {
            assert!(matches!(gate.enter(&busy, Waker::noop()), Entered::Now));
            gate.leave(&busy, Duration::from_millis(2));
        }
        assert!(matches!(gate.enter(&busy, Waker::noop()), Entered::Now));
        let Entered::Later { ticket: first, hurry } = gate.enter(&idle, Waker::noop()) else {
            panic!("the turn was taken");
        };
        assert!(hurry, "it has had nothing");
        let (second, again) = (waits(&gate, &idle), waits(&gate, &busy));
        gate.leave(&busy, Duration::from_millis(2));
        assert!(first.is_granted(Waker::noop()) && !again.is_granted(Waker::noop()));
        gate.leave(&idle, Duration::from_millis(30));
        assert!(again.is_granted(Waker::noop()), "it has had its share by now");
        assert!(!second.is_granted(Waker::noop()));
    }

    #[test]
    fn whoever_leaves_the_queue_takes_nothing_along() {
        let gate = Gate::new(1);
        let (a, b) = (account(256), account(256));
        assert!(matches!(gate.enter(&a, Waker::noop()), Entered::Now));
        let (gone, late) = (waits(&gate, &b), waits(&gate, &b));
        gate.cancel(&b, &gone);
        gate.leave(&a, Duration::ZERO);
        assert!(late.is_granted(Waker::noop()));
        let next = waits(&gate, &a);
        gate.cancel(&b, &late);
        assert!(next.is_granted(Waker::noop()));
    }

    #[test]
    fn turns_are_conserved_whatever_many_threads_do() {
        let gate = Gate::new(3);
        let running = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (gate, running) = (&gate, &running);
                scope.spawn(move || {
                    let account = account(128 << (thread % 3));
                    for round in 0..4_000 {
                        if let Entered::Later { ticket, .. } = gate.enter(&account, Waker::noop()) {
                            if round % 7 == 0 {
                                gate.cancel(&account, &ticket);
                                continue;
                            }
                            while !ticket.is_granted(Waker::noop()) {
                                std::thread::yield_now();
                            }
                        }
                        assert!(running.fetch_add(1, Ordering::SeqCst) < 3);
                        running.fetch_sub(1, Ordering::SeqCst);
                        gate.leave(&account, Duration::from_micros(round % 50));
                    }
                });
            }
        });
        let word = gate.word.load(Ordering::SeqCst);
        assert_eq!((free(word), waiting(word)), (3, 0));
        assert!(gate.order.lock().is_empty());
    }
}
