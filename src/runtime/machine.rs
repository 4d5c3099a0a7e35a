//! What this machine allows: read once, at start.

use std::fs;
use std::path::Path;

use rustix::process::{Resource, getrlimit};
use wasmtime::PoolingAllocationConfig;

/// The limits that the engine is sized by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Cores that this process may use.
    pub cores: usize,
    /// Memory of the machine, or of the cgroup if that is smaller, in bytes.
    pub memory_bytes: u64,
    /// Mappings that a process may have (`vm.max_map_count`).
    pub max_mappings: u64,
    /// File descriptors that this process may open.
    pub max_open_files: u64,
    /// Address space that this process may map, in bytes; `None` for as much as there is.
    pub max_address_space: Option<u64>,
    /// Why pages might be swapped out, if they might.
    pub swap: Option<String>,
    /// Whether the kernel can tell which pages were written (`PAGEMAP_SCAN`, Linux 6.7).
    pub tells_written_pages: bool,
}

impl Machine {
    /// Reads the limits of this machine and process. What cannot be read counts as the kernel's
    /// default.
    pub fn read() -> Self {
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: memory_bytes(),
            max_mappings: read_number("/proc/sys/vm/max_map_count").unwrap_or(65_530),
            max_open_files: getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX),
            max_address_space: getrlimit(Resource::As).current,
            swap: swap_reason(),
            tells_written_pages: PoolingAllocationConfig::is_pagemap_scan_available(),
        }
    }
}

/// Why a page of this process might be swapped out, read anew; `None` when none can be.
pub(super) fn swap_reason() -> Option<String> {
    let swaps = fs::read_to_string("/proc/swaps").unwrap_or_default();
    if let Some(line) = swaps.lines().nth(1) {
        let device = line.split_whitespace().next().unwrap_or("?");
        return Some(format!("swap is on ({device})"));
    }
    if swaps.is_empty() {
        return Some("/proc/swaps cannot be read".to_owned());
    }
    let zswap = fs::read_to_string("/sys/module/zswap/parameters/enabled").unwrap_or_default();
    (zswap.trim() == "Y").then(|| "zswap is on".to_owned())
}

fn memory_bytes() -> u64 {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = meminfo.lines().find_map(|line| {
        let kib = line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?;
        kib.trim().parse::<u64>().ok()?.checked_mul(1_024)
    });
    let machine = total.unwrap_or(1 << 30);
    cgroup_memory_bytes().map_or(machine, |cgroup| cgroup.min(machine))
}

/// The smallest memory limit from this process's cgroup up to the root, of version 2 or 1.
fn cgroup_memory_bytes() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    groups
        .lines()
        .filter_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, path) = (fields.next()?, fields.next()?);
            match controllers {
                "" => smallest_limit("/sys/fs/cgroup", path, "memory.max"),
                _ if controllers.split(',').any(|c| c == "memory") => {
                    smallest_limit("/sys/fs/cgroup/memory", path, "memory.limit_in_bytes")
                }
                _ => None,
            }
        })
        .min()
}

fn smallest_limit(root: &str, path: &str, file: &str) -> Option<u64> {
    let full = Path::new(root).join(path.trim_start_matches('/'));
    full.ancestors()
        .take_while(|dir| dir.starts_with(root))
        .filter_map(|dir| read_number(dir.join(file)))
        .min()
}

fn read_number(path: impl AsRef<Path>) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_can_be_read() {
        let machine = Machine::read();
        assert!(machine.cores >= 1);
        assert!(machine.memory_bytes >= 64 << 20);
        assert!(machine.max_mappings >= 1_024);
    }
}
