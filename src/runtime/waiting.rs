//! The queue in which requests wait for a task: first come, first served.

use std::collections::BTreeMap;

use tokio::sync::oneshot;

use super::deployment::Refusal;
use super::task::Slot;

type Answer = Result<Slot, Refusal>;

/// A queue. Its owner bounds its length.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    places: BTreeMap<u64, oneshot::Sender<Answer>>,
    last_id: u64,
    /// Set while the service wakes: who waits then has waited for a cold start.
    last_cold_id: u64,
}

/// What a request holds while it waits.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) id: u64,
    pub(super) answer: oneshot::Receiver<Answer>,
}

/// A place at the head of the queue, taken out of it.
#[derive(Debug)]
pub(super) struct Place {
    answer: oneshot::Sender<Answer>,
    /// Whether the request waited for the service to wake.
    pub(super) waited_for_start: bool,
}

impl Place {
    /// Tells the request. If it has left meanwhile, a slot goes back to its task.
    pub(super) fn answer(self, answer: Answer) {
        drop(self.answer.send(answer));
    }
}

impl Waiting {
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.places.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Joins at the end.
    pub(super) fn join(&mut self) -> Ticket {
        let (sender, answer) = oneshot::channel();
        self.last_id += 1;
        self.places.insert(self.last_id, sender);
        Ticket { id: self.last_id, answer }
    }

    /// Says that everybody who waits now waits for the service to wake.
    pub(super) fn mark_cold(&mut self) {
        self.last_cold_id = self.last_id;
    }

    /// Leaves before being served. Leaving twice changes nothing.
    pub(super) fn leave(&mut self, id: u64) {
        self.places.remove(&id);
    }

    /// The one that has waited longest.
    pub(super) fn next(&mut self) -> Option<Place> {
        let (id, answer) = self.places.pop_first()?;
        Some(Place { answer, waited_for_start: id <= self.last_cold_id })
    }

    /// Everybody.
    pub(super) fn take_all(&mut self) -> Vec<Place> {
        std::mem::take(&mut self.places)
            .into_values()
            .map(|answer| Place { answer, waited_for_start: false })
            .collect()
    }
}
