//! What a service had to do lately, second by second.
//!
//! Whoever changes something pushes it here; nothing is scraped. Averages are exact: a level counts
//! for as long as it lasted. Memory is bounded by the length of the window.

use std::time::Duration;

const SECOND_NS: u64 = 1_000_000_000;

/// The last seconds of a service, in buckets of one second.
#[derive(Clone, Debug)]
pub struct Window {
    buckets: Box<[Bucket]>,
    began_ns: u64,
    /// Up to when the levels are counted.
    counted_ns: u64,
    /// Up to when the CPU time is known.
    told_ns: u64,
    load: u32,
    memory_bytes: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    second: u64,
    /// Requests at once, each for the seconds that it was there.
    load_s: f64,
    peak: u32,
    requests: u32,
    cpu_s: f64,
    memory_byte_s: f64,
}

/// Means over a time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Means {
    /// Requests that were served or waited.
    pub load: f64,
    /// The most of them at once.
    pub peak: u32,
    /// Requests that began in a second.
    pub rps: f64,
    /// Cores that guests used.
    pub cores: f64,
    /// Bytes that instances held.
    pub memory_bytes: f64,
}

impl Window {
    /// A window over the last `length`, which is counted from `now_ns` on. All times are
    /// nanoseconds since a moment that the caller chose.
    pub fn new(length: Duration, now_ns: u64) -> Self {
        // One more for the second that has begun.
        let seconds = length.as_secs().max(1) as usize + 1;
        let buckets = vec![Bucket::default(); seconds].into_boxed_slice();
        Self {
            buckets,
            began_ns: now_ns,
            counted_ns: now_ns,
            told_ns: now_ns,
            load: 0,
            memory_bytes: 0,
        }
    }

    /// From now on so many requests are served or wait.
    pub fn set_load(&mut self, now_ns: u64, load: u32) {
        self.count_until(now_ns);
        self.load = load;
        let bucket = self.bucket(self.counted_ns / SECOND_NS);
        bucket.peak = bucket.peak.max(load);
    }

    /// A request has begun.
    pub fn add_request(&mut self) {
        self.bucket(self.counted_ns / SECOND_NS).requests += 1;
    }

    /// Guests have used so much CPU time since this was said last, evenly as far as is known, and
    /// hold so much memory.
    pub fn set_usage(&mut self, now_ns: u64, cpu_ns: u64, memory_bytes: u64) {
        self.count_until(now_ns);
        self.memory_bytes = memory_bytes;
        let cores = cpu_ns as f64 / now_ns.saturating_sub(self.told_ns).max(1) as f64;
        self.spread(self.told_ns, now_ns, |bucket, part_s| bucket.cpu_s += cores * part_s);
        self.told_ns = self.told_ns.max(now_ns);
    }

    /// Means over the last `span`, or since the window began if that is less: `None` before it
    /// has seen anything.
    pub fn means(&self, span: Duration) -> Option<Means> {
        let now_s = self.counted_ns / SECOND_NS;
        let first_s = (now_s + 1).saturating_sub(span.as_secs().max(1));
        let since_ns = (first_s * SECOND_NS).max(self.began_ns);
        if self.counted_ns == self.began_ns {
            return None;
        }
        // Less than a second says nothing of a rate.
        let seconds = ((self.counted_ns - since_ns) as f64 / SECOND_NS as f64).max(1.0);
        let mut sum = Means::default();
        for bucket in self.buckets.iter().filter(|bucket| bucket.second >= first_s) {
            sum.load += bucket.load_s;
            sum.peak = sum.peak.max(bucket.peak);
            sum.rps += f64::from(bucket.requests);
            sum.cores += bucket.cpu_s;
            sum.memory_bytes += bucket.memory_byte_s;
        }
        let Means { load, peak, rps, cores, memory_bytes } = sum;
        Some(Means {
            load: load / seconds,
            peak,
            rps: rps / seconds,
            cores: cores / seconds,
            memory_bytes: memory_bytes / seconds,
        })
    }

    fn count_until(&mut self, now_ns: u64) {
        let (load, memory) = (self.load, self.memory_bytes);
        self.spread(self.counted_ns, now_ns, |bucket, part_s| {
            bucket.load_s += f64::from(load) * part_s;
            bucket.peak = bucket.peak.max(load);
            bucket.memory_byte_s += memory as f64 * part_s;
        });
        self.counted_ns = self.counted_ns.max(now_ns);
    }

    /// Adds to every bucket of a time, of which the buckets hold the end.
    fn spread(&mut self, from_ns: u64, now_ns: u64, add: impl Fn(&mut Bucket, f64)) {
        let kept_ns = self.buckets.len() as u64 * SECOND_NS;
        let mut from_ns = from_ns.max(now_ns.saturating_sub(kept_ns));
        while from_ns < now_ns {
            let second = from_ns / SECOND_NS;
            let until_ns = ((second + 1) * SECOND_NS).min(now_ns);
            let part_s = (until_ns - from_ns) as f64 / SECOND_NS as f64;
            add(self.bucket(second), part_s);
            from_ns = until_ns;
        }
    }

    fn bucket(&mut self, second: u64) -> &mut Bucket {
        let index = (second % self.buckets.len() as u64) as usize;
        let bucket = &mut self.buckets[index];
        if bucket.second != second {
            *bucket = Bucket { second, ..Bucket::default() };
        }
        bucket
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn nothing_is_said_before_anything_was_seen() {
        let mut window = Window::new(seconds(60), 5);
        assert_eq!(window.means(seconds(60)), None);
        window.set_load(5, 3);
        assert_eq!(window.means(seconds(60)), None);
        window.set_load(5 + 500 * MS, 3);
        assert_eq!(window.means(seconds(60)).map(|means| means.peak), Some(3));
    }

    #[test]
    fn levels_count_for_as_long_as_they_last() {
        let mut window = Window::new(seconds(60), 0);
        window.set_load(0, 4);
        window.set_load(1_500 * MS, 0);
        window.set_load(3_000 * MS, 0);
        let means = window.means(seconds(60)).expect("seen");
        assert!((means.load - 2.0).abs() < 1e-9, "{means:?}");
        assert_eq!(means.peak, 4);
    }

    #[test]
    fn what_is_older_than_the_window_does_not_count() {
        let mut window = Window::new(seconds(10), 0);
        window.set_load(0, 100);
        window.set_load(1_000 * MS, 1);
        window.add_request();
        window.set_usage(2_000 * MS, 500 * MS, 1_000);
        // Longer than the window without a word.
        window.set_load(100_000 * MS, 1);
        let means = window.means(seconds(10)).expect("seen");
        assert!((means.load - 1.0).abs() < 1e-9, "{means:?}");
        assert!((means.memory_bytes - 1_000.0).abs() < 1e-6, "{means:?}");
        assert_eq!((means.rps, means.cores, means.peak), (0.0, 0.0, 1));
    }

    #[test]
    fn cpu_time_counts_when_it_was_used_and_not_when_it_was_told() {
        let mut window = Window::new(seconds(60), 0);
        for second in 1..=20 {
            // A little late, each time.
            window.set_usage(second * 1_000 * MS + 3 * MS, 500 * MS, 0);
        }
        for span in [1, 2, 6, 60] {
            let cores = window.means(seconds(span)).expect("seen").cores;
            assert!(span == 1 || (cores - 0.5).abs() < 0.01, "{span}: {cores}");
            assert!(cores <= 0.51, "{span}: {cores}");
        }
    }

    #[test]
    fn a_short_span_sees_the_last_seconds_only() {
        let mut window = Window::new(seconds(60), 0);
        for second in 0..30 {
            for _ in 0..second {
                window.set_load(second * 1_000 * MS + 999 * MS, 0);
                window.add_request();
            }
        }
        window.set_load(30_000 * MS, 0);
        let burst = window.means(seconds(6)).expect("seen").rps;
        let stable = window.means(seconds(60)).expect("seen").rps;
        assert!((burst - (25..30).sum::<u64>() as f64 / 5.0).abs() < 1e-9, "{burst}");
        assert!((stable - (0..30).sum::<u64>() as f64 / 30.0).abs() < 1e-9, "{stable}");
    }
}
