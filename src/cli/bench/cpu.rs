//! CPU time of a process with its threads and children.

use std::collections::BTreeMap;
use std::fs;

/// CPU time of each thread, in nanoseconds, by thread id.
#[derive(Clone, Debug, Default)]
pub struct CpuTimes(BTreeMap<u32, u64>);

impl CpuTimes {
    /// Reads them from the scheduler's own count, which has no ticks (sched-stats(5)).
    pub fn of_tree(process: u32) -> Self {
        let mut times = BTreeMap::new();
        let mut to_visit = vec![process];
        while let Some(process) = to_visit.pop() {
            for thread in numbers_in(&format!("/proc/{process}/task")) {
                let folder = format!("/proc/{process}/task/{thread}");
                let stat = fs::read_to_string(format!("{folder}/schedstat")).unwrap_or_default();
                if let Some(ns) = stat.split(' ').next().and_then(|ns| ns.parse().ok()) {
                    times.insert(thread, ns);
                }
                let children = fs::read_to_string(format!("{folder}/children"));
                let children = children.unwrap_or_default();
                to_visit
                    .extend(children.split_whitespace().filter_map(|id| id.parse::<u32>().ok()));
            }
        }
        Self(times)
    }

    /// What was used since an earlier reading, in nanoseconds. A thread that ended in between is
    /// not counted: servers under load keep theirs.
    pub fn since(&self, earlier: &Self) -> u64 {
        let used = |(thread, ns): (&u32, &u64)| {
            ns.saturating_sub(earlier.0.get(thread).copied().unwrap_or(0))
        };
        self.0.iter().map(used).sum()
    }
}

fn numbers_in(folder: &str) -> Vec<u32> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}
