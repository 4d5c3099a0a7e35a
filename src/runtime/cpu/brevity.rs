//! Whether a revision's guests are so brief that handing one to another thread would cost about as
//! much as running it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A guest that takes no more CPU time than this may run on the thread of its connection. It
/// delays others there by about as much as a large request does.
const BRIEF: Duration = Duration::from_micros(100);
/// Turns of a brief request: one, and another if the clock interrupted it.
const TURNS: u32 = 2;
/// Requests that have to be brief before one runs there again: after one that was a little longer,
/// and after one that was not done in the time.
const AFTER_LONGER: u32 = 4;
const AFTER_LONG: u32 = 64;

/// What one request showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Brief,
    Longer,
    Long,
}

/// A request that is watched until it is clear what it shows.
#[derive(Debug, Default)]
pub(super) struct Trial {
    turns: u32,
    used: Duration,
}

impl Trial {
    /// Takes a turn into account.
    pub(super) fn turn(&mut self, used: Duration, is_done: bool) -> Option<Verdict> {
        self.turns += 1;
        self.used += used;
        match (is_done, self.used <= BRIEF, self.turns <= TURNS) {
            (true, true, true) => Some(Verdict::Brief),
            (true, ..) => Some(Verdict::Longer),
            (false, true, true) => None,
            (false, true, false) => Some(Verdict::Longer),
            (false, false, _) => Some(Verdict::Long),
        }
    }
}

/// What is known of a revision's guests.
#[derive(Debug)]
pub(crate) struct Brevity {
    /// Brief requests that are still missing.
    missing: AtomicU32,
}

impl Default for Brevity {
    /// A stranger is long until it has shown otherwise.
    fn default() -> Self {
        Self { missing: AtomicU32::new(AFTER_LONG) }
    }
}

impl Brevity {
    pub(crate) fn is_brief(&self) -> bool {
        self.missing.load(Ordering::Relaxed) == 0
    }

    /// Takes a request into account.
    pub(super) fn note(&self, verdict: Verdict) {
        let missing = self.missing.load(Ordering::Relaxed);
        let next = match verdict {
            Verdict::Brief if missing == 0 => return,
            Verdict::Brief => missing - 1,
            Verdict::Longer => missing.saturating_add(AFTER_LONGER).min(AFTER_LONG),
            Verdict::Long => AFTER_LONG,
        };
        // Two at once may count as one, which does no harm.
        self.missing.store(next, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_that_was_long_once_has_to_be_brief_for_a_while() {
        let brevity = Brevity::default();
        assert!(!brevity.is_brief(), "nothing is known of it");
        let brief = |times| (0..times).for_each(|_| brevity.note(Verdict::Brief));
        brief(63);
        assert!(!brevity.is_brief());
        brief(1);
        assert!(brevity.is_brief());
        brevity.note(Verdict::Longer);
        assert!(!brevity.is_brief());
        brief(4);
        assert!(brevity.is_brief());
        brevity.note(Verdict::Long);
        brief(63);
        assert!(!brevity.is_brief());
    }

    #[test]
    fn what_a_request_shows_is_clear_as_soon_as_it_can_be() {
        let after = |turns: &[(u32, bool)]| {
            let mut trial = Trial::default();
            let verdicts =
                turns.iter().map(|(tenths, is_done)| trial.turn(BRIEF * *tenths / 10, *is_done));
            verdicts.last().flatten()
        };
        assert_eq!(after(&[(10, true)]), Some(Verdict::Brief));
        assert_eq!(after(&[(11, true)]), Some(Verdict::Longer));
        assert_eq!(after(&[(4, false)]), None, "the clock may have interrupted it");
        assert_eq!(after(&[(4, false), (4, true)]), Some(Verdict::Brief));
        assert_eq!(after(&[(1, false), (1, false), (1, false)]), Some(Verdict::Longer));
        assert_eq!(after(&[(200, false)]), Some(Verdict::Long), "it has not ended yet");
    }
}
