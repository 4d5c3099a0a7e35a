//! What a compilation may use.

use std::time::Duration;

/// Most CPU time of any compilation, in seconds.
const MOST_CPU_S: u64 = 300;

/// What a compilation may use. The default leaves room for tenfold the time that compiling takes
/// on a machine of today: a component of 13 MB takes some 10 s of CPU time, and may take 160 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompileBounds {
    /// CPU time of all threads together, in seconds, however small the component is.
    pub cpu_s: u64,
    /// What each MiB of the component adds to it.
    pub cpu_s_per_mib: u64,
    /// Wall-clock time for each second of CPU time: the compiler steps back behind requests.
    pub wall_s_per_cpu_s: u64,
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// Compiled code, in bytes.
    pub code_bytes: u64,
}

impl Default for CompileBounds {
    fn default() -> Self {
        Self {
            cpu_s: 30,
            cpu_s_per_mib: 10,
            wall_s_per_cpu_s: 4,
            memory_bytes: 2 << 30,
            code_bytes: 512 << 20,
        }
    }
}

impl CompileBounds {
    /// CPU time for a component of so many bytes, in seconds.
    pub(super) fn cpu_s(&self, wasm_bytes: usize) -> u64 {
        let mib = (wasm_bytes >> 20) as u64;
        (self.cpu_s + self.cpu_s_per_mib.saturating_mul(mib)).min(MOST_CPU_S)
    }

    /// How long it may take.
    pub(super) fn wall(&self, wasm_bytes: usize) -> Duration {
        Duration::from_secs(self.cpu_s(wasm_bytes).saturating_mul(self.wall_s_per_cpu_s))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_grows_with_the_component_up_to_a_bound() {
        let bounds = CompileBounds::default();
        assert_eq!((bounds.cpu_s(0), bounds.wall(0)), (30, Duration::from_secs(120)));
        assert_eq!(bounds.cpu_s(13 << 20), 160);
        assert_eq!(bounds.cpu_s(256 << 20), MOST_CPU_S);
        assert_eq!(bounds.wall(256 << 20), Duration::from_secs(1_200));
    }
}
