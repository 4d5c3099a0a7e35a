//! The only reader of time.
//!
//! *Invariant:* no other module of Wharf calls `Instant::now`, `SystemTime::now` or
//! `clock_gettime`; whoever decides takes the time as an argument. `tests/tidy.rs` checks it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Monotonic time, for deadlines and durations.
pub fn now() -> Instant {
    Instant::now()
}

/// Wall-clock time, as milliseconds since the Unix epoch. For records that people read.
pub fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Time that only goes forward, at its own pace, and reads like wall-clock time: for records
/// whose stages take hours, on a machine whose clock may jump.
#[derive(Clone, Copy, Debug)]
pub struct SteadyClock {
    base_ms: u64,
    started: Instant,
}

impl SteadyClock {
    /// Starts at the wall clock's time, or at `at_least_ms` if that is later: what an earlier
    /// clock has shown, so that time does not go back over a restart.
    pub fn start(at_least_ms: u64) -> Self {
        Self { base_ms: unix_ms().max(at_least_ms), started: now() }
    }

    /// Milliseconds since the Unix epoch, as if the wall clock had never been set.
    pub fn now_ms(&self) -> u64 {
        let elapsed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.base_ms.saturating_add(elapsed)
    }
}

/// CPU time that the calling thread has used since it started. On a machine whose cores are
/// shared it differs from elapsed time, and it is what a request is charged.
pub fn thread_cpu() -> Duration {
    since_start(rustix::time::ClockId::ThreadCPUTime)
}

/// CPU time that the whole process has used since it started.
pub fn process_cpu() -> Duration {
    since_start(rustix::time::ClockId::ProcessCPUTime)
}

fn since_start(clock: rustix::time::ClockId) -> Duration {
    let time = rustix::time::clock_gettime(clock);
    let secs = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(secs, nanos)
}

/// Milliseconds since the Unix epoch as `2026-11-24T11:02:18.123Z` (RFC 3339 §5.6, UTC).
pub fn rfc3339(unix_ms: u64) -> String {
    let (days, ms_of_day) = (unix_ms / 86_400_000, unix_ms % 86_400_000);
    let (year, month, day) = civil_from_days(days);
    let (hour, minute) = (ms_of_day / 3_600_000, ms_of_day / 60_000 % 60);
    let (second, ms) = (ms_of_day / 1_000 % 60, ms_of_day % 1_000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// Days since 1970-01-01 to a date of the Gregorian calendar (Howard Hinnant, "chrono-compatible
/// low-level date algorithms", `civil_from_days`, for days that are not negative).
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_795_518_138_123, "2026-11-24T11:02:18.123Z"),
            (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
        ] {
            assert_eq!(rfc3339(ms), text);
        }
    }
}
