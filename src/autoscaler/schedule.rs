//! Which bounds of a schedule are in force.
//!
//! A function of the schedule and the time alone: nothing was missed while nobody looked, and a
//! clock that is set forth or back finds the bounds of its new time.

use crate::model::ScheduledBounds;

/// The entry that began last; of several that began at one moment the last in the list. `None`
/// where none has ever begun.
pub fn in_force(schedule: &[ScheduledBounds], wall_ms: u64) -> Option<&ScheduledBounds> {
    let begun = schedule.iter().filter_map(|entry| {
        let (last, _) = entry.cron.around(&entry.zone, wall_ms);
        Some((last?, entry))
    });
    begun.max_by_key(|(began_ms, _)| *began_ms).map(|(_, entry)| entry)
}

/// When an entry begins next.
pub fn next_change(schedule: &[ScheduledBounds], wall_ms: u64) -> Option<u64> {
    schedule.iter().filter_map(|entry| entry.cron.around(&entry.zone, wall_ms).1).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: u64 = 3_600_000;
    /// 2026-11-24, a Tuesday, at midnight in UTC.
    const TUESDAY_MS: u64 = 1_795_478_400_000;

    fn entry(cron: &str, zone: &str, min: u32) -> ScheduledBounds {
        let (cron, zone) = (cron.parse().expect(cron), zone.parse().expect(zone));
        ScheduledBounds { cron, zone, min: Some(min), max: None }
    }

    #[test]
    fn the_entry_that_began_last_is_in_force() {
        let office = [
            entry("0 8 * * MON-FRI", "Europe/Berlin", 4),
            entry("0 18 * * *", "Europe/Berlin", 1),
            entry("0 18 * * *", "Europe/Berlin", 2),
        ];
        let min = |ms| in_force(&office, ms).and_then(|entry| entry.min);
        assert_eq!(min(TUESDAY_MS), Some(2));
        assert_eq!(min(TUESDAY_MS + 7 * HOUR_MS - 1), Some(2));
        assert_eq!(min(TUESDAY_MS + 7 * HOUR_MS), Some(4));
        assert_eq!(min(TUESDAY_MS + 17 * HOUR_MS), Some(2));
        assert_eq!(next_change(&office, TUESDAY_MS), Some(TUESDAY_MS + 7 * HOUR_MS));
        let at_eight = TUESDAY_MS + 7 * HOUR_MS;
        assert_eq!(next_change(&office, at_eight), Some(TUESDAY_MS + 17 * HOUR_MS));
        assert_eq!((in_force(&[], 0), next_change(&[], 0)), (None, None));
    }

    #[test]
    fn a_clock_that_is_set_finds_the_bounds_of_its_time() {
        let office = [entry("0 8 * * *", "UTC", 4), entry("0 18 * * *", "UTC", 1)];
        let min = |ms| in_force(&office, ms).and_then(|entry| entry.min);
        // A machine that boots in 1970, is set, and is set back.
        let (day, morning) = (TUESDAY_MS + 9 * HOUR_MS, TUESDAY_MS + 7 * HOUR_MS);
        for (ms, expected) in [(0, None), (day, Some(4)), (morning, Some(1))] {
            assert_eq!(min(ms), expected, "{ms}");
        }
    }
}
