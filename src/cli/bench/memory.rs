//! How much memory a process has, as the kernel counts it.

use std::time::Duration;

use anyhow::Context;

use super::results::MemoryPoint;

/// How often it is looked whether memory still changes.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// Looks until it counts as it is: 5 s.
const MOST_LOOKS: u32 = 20;
/// Changes below this are not waited for: one page in a thousand.
const STILL: f64 = 0.001;

/// Waits until the process's memory hardly changes, and reads it.
pub(super) async fn settled(pid: u32, count: u32) -> anyhow::Result<MemoryPoint> {
    let mut before = read(pid, count)?;
    for _ in 0..MOST_LOOKS {
        tokio::time::sleep(LOOK_INTERVAL).await;
        let now = read(pid, count)?;
        let moved = (now.bytes() - before.bytes()).abs();
        before = now;
        if moved < before.bytes() * STILL {
            break;
        }
    }
    Ok(before)
}

/// Proportional set size, page tables and mappings (proc_pid_smaps_rollup(5), proc_pid_status(5),
/// proc_pid_maps(5)).
fn read(pid: u32, count: u32) -> anyhow::Result<MemoryPoint> {
    let of = |name: &str| {
        let path = format!("/proc/{pid}/{name}");
        std::fs::read_to_string(&path).with_context(|| format!("{path} cannot be read"))
    };
    Ok(MemoryPoint {
        count,
        pss_bytes: kib(&of("smaps_rollup")?, "Pss:")? << 10,
        page_table_bytes: kib(&of("status")?, "VmPTE:")? << 10,
        mappings: of("maps")?.lines().count() as u64,
    })
}

fn kib(text: &str, field: &str) -> anyhow::Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.with_context(|| format!("the kernel does not tell {field}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_can_be_read() {
        let point = read(std::process::id(), 7).expect("Linux");
        assert_eq!(point.count, 7);
        assert!(point.pss_bytes > 100 << 10 && point.page_table_bytes > 0, "{point:?}");
        assert!(point.mappings > 5, "{point:?}");
        assert!(kib("Rss: 1 kB\n", "Pss:").is_err());
    }
}
