//! Whether a revision's guests are so brief that handing one to another thread would cost about as
//! much as running it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A guest that takes no more CPU time than this may run on the thread of its connection. It
/// delays others there by about as much as a large request does.
const BRIEF: Duration = Duration::from_micros(100);
/// Requests that have to be brief before one runs there again: after one that was a little longer,
/// and after one that was not done in a single turn.
const AFTER_LONGER: u32 = 4;
const AFTER_LONG: u32 = 64;

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

    /// Takes the first turn of a request into account.
    pub(super) fn note(&self, used: Duration, is_done: bool) {
        let missing = self.missing.load(Ordering::Relaxed);
        let next = match (is_done, used <= BRIEF) {
            (true, true) if missing == 0 => return,
            (true, true) => missing - 1,
            (true, false) => missing.saturating_add(AFTER_LONGER).min(AFTER_LONG),
            (false, _) => AFTER_LONG,
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
        let brief = |times| (0..times).for_each(|_| brevity.note(BRIEF, true));
        brief(63);
        assert!(!brevity.is_brief());
        brief(1);
        assert!(brevity.is_brief());
        brevity.note(BRIEF * 2, true);
        assert!(!brevity.is_brief());
        brief(4);
        assert!(brevity.is_brief());
        brevity.note(Duration::ZERO, false);
        brief(63);
        assert!(!brevity.is_brief(), "it waited for something, or was interrupted");
    }
}
