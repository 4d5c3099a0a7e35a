//! A guest's future, which is polled in turns.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Sleep;

use crate::clock;
use crate::model::Code;
use crate::runtime::revision::RevisionCell;
use crate::runtime::ticker::Hurry;
use crate::telemetry::Exchange;

use super::account::{Account, Ticket};
use super::gate::{Entered, Gate};
use super::lanes::Lane;

/// On whose behalf a guest runs.
pub(crate) struct Who {
    pub(crate) account: Arc<Account>,
    pub(crate) exchange: Arc<Exchange>,
    /// The revision, whose policies may count CPU time.
    pub(crate) cell: Arc<RevisionCell>,
    /// Whether they do.
    pub(crate) is_metered: bool,
}

/// See the module documentation. CPU time is charged to the task, the request and the revision.
pub(crate) struct Turn<F> {
    /// Until it is done.
    future: Option<Pin<Box<F>>>,
    who: Who,
    gate: Arc<Gate>,
    hurry: Hurry,
    ticket: Option<Arc<Ticket>>,
    /// While the task's cap makes it pause.
    pause: Option<Pin<Box<Sleep>>>,
}

impl<F: Future<Output = ()>> Turn<F> {
    pub(crate) fn new(future: F, who: Who, gate: Arc<Gate>, hurry: Hurry) -> Self {
        let (future, ticket, pause) = (Some(Box::pin(future)), None, None);
        Self { future, who, gate, hurry, ticket, pause }
    }

    /// Whether a turn was to be had. If not, the task is woken when there is one.
    fn enter(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(ticket) = &self.ticket {
            if !ticket.is_granted(cx.waker()) {
                return Poll::Pending;
            }
            self.ticket = None;
            return Poll::Ready(());
        }
        if self.who.account.is_capped() {
            std::task::ready!(self.poll_pause(cx));
        }
        match self.gate.enter(&self.who.account, cx.waker()) {
            Entered::Now => Poll::Ready(()),
            Entered::Later { ticket, hurry } => {
                self.ticket = Some(ticket);
                if hurry {
                    self.hurry.now();
                }
                Poll::Pending
            }
        }
    }

    fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if let Some(pause) = &mut self.pause {
                std::task::ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            let Some(pause) = self.who.account.pause(clock::now()) else {
                return Poll::Ready(());
            };
            self.pause = Some(Box::pin(tokio::time::sleep(pause)));
        }
    }

    fn note(&self, used: Duration) {
        let Who { exchange, cell, is_metered, .. } = &self.who;
        exchange.add_cpu(used);
        if *is_metered {
            cell.add_cpu(u64::try_from(used.as_nanos()).unwrap_or(u64::MAX));
        }
    }
}

impl<F: Future<Output = ()>> Future for Turn<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        std::task::ready!(self.enter(cx));
        let this = &mut *self;
        let Some(future) = &mut this.future else { return Poll::Ready(()) };
        let holding = Holding::begin(&this.gate, &this.who);
        let polled = future.as_mut().poll(cx);
        let (used, overstayed) = holding.end();
        let is_done = polled.is_ready() || overstayed;
        if overstayed {
            this.who.exchange.decide(Code::ResourceLimit);
        }
        if is_done {
            this.future = None;
        }
        this.note(used);
        if is_done { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl<F> Drop for Turn<F> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.gate.cancel(&self.who.account, &ticket);
        }
        // An instance that is given up is made clean outside of a turn, at its task's expense.
        if let Some(future) = self.future.take() {
            let before = clock::thread_cpu();
            drop(future);
            let used = clock::thread_cpu().saturating_sub(before);
            self.who.account.charge(used, clock::now());
            self.who.exchange.add_cpu(used);
        }
    }
}

/// A turn that is under way. It is given back also if the guest's host code panics.
struct Holding<'a> {
    gate: &'a Gate,
    who: &'a Who,
    lane: Option<Lane>,
    began: Duration,
    is_over: bool,
}

impl<'a> Holding<'a> {
    fn begin(gate: &'a Gate, who: &'a Who) -> Self {
        let lane = gate.lanes.take(&who.exchange, clock::now());
        Self { gate, who, lane, began: clock::thread_cpu(), is_over: false }
    }

    /// The CPU time that was used, and whether it took too long.
    fn end(mut self) -> (Duration, bool) {
        self.give_back()
    }

    fn give_back(&mut self) -> (Duration, bool) {
        self.is_over = true;
        let used = clock::thread_cpu().saturating_sub(self.began);
        let account = &self.who.account;
        if account.is_capped() {
            account.spend(used, clock::now());
        }
        let overstayed = self.lane.take().is_some_and(|lane| self.gate.lanes.release(&lane));
        match overstayed {
            true => self.gate.leave_lent(account, used),
            false => self.gate.leave(account, used),
        }
        (used, overstayed)
    }
}

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.give_back();
        }
    }
}
