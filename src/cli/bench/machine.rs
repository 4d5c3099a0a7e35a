//! The machine that a run was made on, and what else it did meanwhile.

use std::fmt;
use std::fs;

/// What stays as it is during a run.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Machine {
    /// The name of the processor.
    pub cpu: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// Memory, in MiB.
    pub memory_mib: u64,
    /// The release of the kernel.
    pub kernel: String,
    /// Swap, in MiB.
    pub swap_mib: u64,
    /// Mappings that a process may have (`vm.max_map_count`).
    pub max_map_count: u64,
}

/// What changes during it.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Stretch {
    /// The load average over a minute when the run began.
    pub load_before: f64,
    /// The same when it had ended.
    pub load_after: Option<f64>,
    /// Share of the run's CPU time that the hypervisor gave to others, in percent.
    pub steal_percent: Option<f64>,
    #[serde(skip)]
    before: Ticks,
}

/// Time of all cores since boot, in ticks.
#[derive(Clone, Copy, Debug, Default)]
struct Ticks {
    all: u64,
    stolen: u64,
}

impl Machine {
    /// Reads it.
    pub fn read() -> Self {
        let cpuinfo = read("/proc/cpuinfo");
        let cpu = cpuinfo.lines().find(|line| line.starts_with("model name"));
        let cpu = cpu.and_then(|line| line.split_once(": ")).map_or("unknown", |(_, name)| name);
        let meminfo = read("/proc/meminfo");
        let kib = |field: &str| {
            let line = meminfo.lines().find_map(|line| line.strip_prefix(field));
            line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok())
        };
        Self {
            cpu: cpu.to_owned(),
            cores: cores(),
            memory_mib: kib("MemTotal:").unwrap_or(0) >> 10,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            swap_mib: kib("SwapTotal:").unwrap_or(0) >> 10,
            max_map_count: read("/proc/sys/vm/max_map_count").trim().parse().unwrap_or(0),
        }
    }
}

/// Cores that this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu, cores, memory_mib, kernel, .. } = self;
        write!(f, "{cpu}, {cores} cores, {memory_mib} MiB, Linux {kernel}")
    }
}

impl Stretch {
    /// Starts to watch.
    pub fn begin() -> Self {
        let (load_before, before) = (load_average(), Ticks::read());
        Self { load_before, load_after: None, steal_percent: None, before }
    }

    /// Looks again.
    pub fn end(&mut self) {
        let now = Ticks::read();
        let all = now.all.saturating_sub(self.before.all).max(1);
        let stolen = now.stolen.saturating_sub(self.before.stolen);
        self.load_after = Some(load_average());
        self.steal_percent = Some(stolen as f64 * 100.0 / all as f64);
    }
}

impl fmt::Display for Stretch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} before", self.load_before)?;
        if let (Some(after), Some(steal)) = (self.load_after, self.steal_percent) {
            write!(f, ", {after:.2} after; {steal:.1} % stolen")?;
        }
        Ok(())
    }
}

impl Ticks {
    /// The first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal;
    /// guest time is part of user (proc_stat(5)).
    fn read() -> Self {
        let stat = read("/proc/stat");
        let first = stat.lines().next().unwrap_or_default();
        let fields = first.split_whitespace().skip(1).take(8);
        let fields: Vec<u64> = fields.filter_map(|field| field.parse().ok()).collect();
        Self { all: fields.iter().sum(), stolen: fields.get(7).copied().unwrap_or(0) }
    }
}

fn load_average() -> f64 {
    let text = read("/proc/loadavg");
    text.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(f64::NAN)
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_can_be_read() {
        let machine = Machine::read();
        assert!(machine.cores >= 1 && machine.memory_mib >= 64, "{machine:?}");
        assert!(machine.max_map_count >= 1_024 && !machine.kernel.is_empty(), "{machine:?}");
        let mut stretch = Stretch::begin();
        stretch.end();
        assert!(stretch.to_string().contains("after"), "{stretch}");
    }
}
