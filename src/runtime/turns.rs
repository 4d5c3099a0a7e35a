//! Fair turns: who may go next when several services want the same few places.
//!
//! Services take turns, one place each, however many wait for one of them. So a service that is
//! deployed a thousand times holds up another one's single deployment by one turn.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::model::Name;

/// A few places, and those who wait for one. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Turns(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    places: usize,
    free: usize,
    /// The number that was given to whoever joined last.
    last: u64,
    /// Services of which somebody waits, the next one first.
    lines: VecDeque<Line>,
}

/// Those who wait for one service, first come, first served.
#[derive(Debug)]
struct Line {
    service: Name,
    waiting: VecDeque<(u64, oneshot::Sender<Turn>)>,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub struct Turn(Turns);

/// Somebody who waits. Whoever is dropped is not waited for.
#[derive(Debug)]
pub struct Waiting {
    turns: Turns,
    number: u64,
    given: oneshot::Receiver<Turn>,
}

impl Turns {
    /// So many places.
    pub fn new(places: usize) -> Self {
        let lines = VecDeque::new();
        Self(Arc::new(Mutex::new(State { places, free: places, last: 0, lines })))
    }

    /// Joins those who wait for this service.
    pub fn join(&self, service: &Name) -> Waiting {
        let (give, given) = oneshot::channel();
        let mut state = self.0.lock();
        state.last += 1;
        let number = state.last;
        match state.lines.iter_mut().find(|line| line.service == *service) {
            Some(line) => line.waiting.push_back((number, give)),
            None => {
                let (service, waiting) = (service.clone(), VecDeque::from([(number, give)]));
                state.lines.push_back(Line { service, waiting });
            }
        }
        drop(state);
        self.give();
        Waiting { turns: self.clone(), number, given }
    }

    /// How many are before whoever has this number; `None` when it does not wait.
    pub(super) fn before(&self, number: u64) -> Option<usize> {
        let state = self.0.lock();
        let position = |line: &Line| line.waiting.iter().position(|(other, _)| *other == number);
        let (index, round) =
            state.lines.iter().enumerate().find_map(|(i, line)| Some((i, position(line)?)))?;
        let others = state.lines.iter().enumerate().map(|(i, line)| match i.cmp(&index) {
            std::cmp::Ordering::Less => line.waiting.len().min(round + 1),
            std::cmp::Ordering::Equal => round,
            std::cmp::Ordering::Greater => line.waiting.len().min(round),
        });
        Some(others.sum())
    }

    /// Places that are taken.
    pub(super) fn taken(&self) -> usize {
        let state = self.0.lock();
        state.places - state.free
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.0.lock().lines.iter().map(|line| line.waiting.len()).sum()
    }

    /// Gives free places to those whose turn it is.
    fn give(&self) {
        loop {
            let next = self.0.lock().next();
            let Some(next) = next else { return };
            // Who has gone meanwhile gives the place back by dropping it.
            drop(next.send(Turn(self.clone())));
        }
    }
}

impl State {
    /// Takes a free place for whoever is next.
    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        if self.free == 0 {
            return None;
        }
        let mut line = self.lines.pop_front()?;
        let next = line.waiting.pop_front();
        if !line.waiting.is_empty() {
            self.lines.push_back(line);
        }
        let (_, next) = next?;
        self.free -= 1;
        Some(next)
    }
}

impl Waiting {
    /// What [`Turns::before`] knows it by.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Waits until it is its turn.
    pub async fn turn(mut self) -> Turn {
        match (&mut self.given).await {
            Ok(turn) => turn,
            // It cannot be: whoever waits is forgotten only when it goes itself.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut state = self.turns.0.lock();
        for line in &mut state.lines {
            line.waiting.retain(|(number, _)| *number != self.number);
        }
        state.lines.retain(|line| !line.waiting.is_empty());
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.0.0.lock();
        state.free += 1;
        drop(state);
        self.0.give();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn name(text: &str) -> Name {
        text.parse().expect("a name")
    }

    /// Whoever waits under these names, one for each.
    fn join(turns: &Turns, names: &[&str]) -> Vec<(String, Waiting)> {
        names.iter().map(|text| ((*text).to_owned(), turns.join(&name(text)))).collect()
    }

    /// The names in the order in which their turns come, one at a time.
    fn order(mut waiting: Vec<(String, Waiting)>, mut held: Turn) -> Vec<String> {
        let mut order = Vec::new();
        while !waiting.is_empty() {
            drop(held);
            let given = |(_, one): &mut (String, Waiting)| one.given.try_recv().ok();
            let next = waiting.iter_mut().enumerate().find_map(|(i, one)| Some((i, given(one)?)));
            let (index, turn) = next.expect("a place that is free is given");
            held = turn;
            order.push(waiting.remove(index).0);
        }
        order
    }

    fn take(turns: &Turns) -> Turn {
        turns.join(&name("first")).turn().now_or_never().expect("it is free")
    }

    #[test]
    fn a_thousand_of_one_service_hold_up_another_by_one_turn() {
        let turns = Turns::new(1);
        let held = take(&turns);
        let mut waiting = join(&turns, &["loud"; 1_000]);
        waiting.extend(join(&turns, &["quiet"]));
        assert_eq!((turns.taken(), turns.waiting()), (1, 1_001));
        assert_eq!(turns.before(waiting[1_000].1.number()), Some(1));
        let order = order(waiting, held);
        assert_eq!(order[..3], ["loud", "quiet", "loud"]);
        assert_eq!(order.len(), 1_001);
    }

    #[test]
    fn everybody_is_told_the_place_that_they_then_have() {
        let turns = Turns::new(1);
        let held = take(&turns);
        let names = ["a", "a", "b", "c", "a", "c", "b", "d", "a"];
        let waiting = join(&turns, &names);
        let mut told: Vec<_> = waiting
            .iter()
            .map(|(name, one)| (turns.before(one.number()).expect("it waits"), name.clone()))
            .collect();
        told.sort();
        let told: Vec<_> = told.into_iter().map(|(_, name)| name).collect();
        assert_eq!(order(waiting, held), told);
    }

    #[test]
    fn whoever_goes_holds_nobody_up() {
        let turns = Turns::new(1);
        let held = take(&turns);
        let mut waiting = join(&turns, &["a", "b", "c"]);
        let numbers: Vec<u64> = waiting.iter().map(|(_, one)| one.number()).collect();
        drop(waiting.remove(0));
        assert_eq!(turns.before(numbers[0]), None);
        assert_eq!(turns.before(numbers[1]), Some(0));
        drop(held);
        // The place was given to `b`, which goes without having looked.
        assert_eq!((turns.taken(), turns.waiting()), (1, 1));
        drop(waiting.remove(0));
        assert!(waiting[0].1.given.try_recv().is_ok(), "the place went on to `c`");
        assert_eq!((turns.taken(), turns.waiting()), (0, 0));
    }

    #[test]
    fn as_many_have_a_place_as_there_are() {
        let turns = Turns::new(2);
        let (first, second) = (take(&turns), take(&turns));
        let third = turns.join(&name("third"));
        assert_eq!((turns.taken(), turns.waiting()), (2, 1));
        drop(first);
        assert!(third.turn().now_or_never().is_some());
        drop(second);
        assert_eq!((turns.taken(), turns.waiting()), (0, 0));
    }
}
