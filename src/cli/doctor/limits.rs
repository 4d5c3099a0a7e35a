//! Limits of the machine and of this process.

use crate::runtime::{Machine, ResetMode, ResetPolicy, Sizing};

use super::super::output::bytes;
use super::Check;

/// Instances below which a node is smaller than most machines could carry.
const FEW_SLOTS: u32 = 1_000;
/// Components below which a node cannot hold many services awake.
const FEW_LOADED: u32 = 250;
/// Memory below which compiling a large component, some 400 MB, hurts what runs.
const LITTLE_MEMORY: u64 = 1 << 30;

pub(super) fn check(machine: &Machine) -> Vec<Check> {
    let mut checks = vec![memory(machine)];
    match Sizing::decide(machine, ResetPolicy::Auto) {
        Ok(sizing) => {
            checks.push(instances(machine, &sizing));
            checks.push(open_files(machine, &sizing));
            checks.push(reset(&sizing));
        }
        Err(error) => {
            checks.push(Check::fail("instances", error.to_string(), raise_mappings()));
        }
    }
    checks
}

fn memory(machine: &Machine) -> Check {
    let detail = format!("{} cores, {}", machine.cores, bytes(machine.memory_bytes));
    match machine.memory_bytes < LITTLE_MEMORY {
        true => {
            Check::warn("machine", detail, "components of several MB take some 400 MB to compile")
        }
        false => Check::ok("machine", detail),
    }
}

fn instances(machine: &Machine, sizing: &Sizing) -> Check {
    let (slots, because) = (sizing.slots, sizing.slots_because);
    let mappings = machine.max_mappings;
    let detail = format!("{slots} at once, bounded by {because} (vm.max_map_count is {mappings})");
    match slots < FEW_SLOTS {
        true => Check::warn("instances", detail, raise_mappings()),
        false => Check::ok("instances", detail),
    }
}

fn raise_mappings() -> String {
    "raise the limits: `sysctl -w vm.max_map_count=262144`, `ulimit -v unlimited`".to_owned()
}

fn open_files(machine: &Machine, sizing: &Sizing) -> Check {
    let (files, loaded) = (machine.max_open_files, sizing.loaded);
    let detail = format!("{files} per process, so {loaded} components in memory at once");
    match loaded < FEW_LOADED {
        true => Check::warn("open files", detail, "raise the limit: `ulimit -n 65536`"),
        false => Check::ok("open files", detail),
    }
}

fn reset(sizing: &Sizing) -> Check {
    let because = &sizing.reset_because;
    match sizing.reset {
        ResetMode::Fast => Check::ok("memory reset", format!("fast: {because}")),
        ResetMode::Safe => Check::warn(
            "memory reset",
            format!("safe, which takes more CPU per request: {because}"),
            "for the fast reset turn swap and zswap off (`swapoff -a`), on Linux 6.7 or newer",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn machine() -> Machine {
        Machine {
            cores: 2,
            memory_bytes: 24 << 30,
            max_mappings: 65_530,
            max_open_files: 20_000,
            max_address_space: None,
            swap: None,
            tells_written_pages: true,
        }
    }

    fn verdicts(machine: &Machine) -> Vec<(&'static str, Verdict)> {
        check(machine).iter().map(|check| (check.name, check.verdict)).collect()
    }

    #[test]
    fn a_good_machine_has_nothing_to_say() {
        assert!(verdicts(&machine()).iter().all(|(_, verdict)| *verdict == Verdict::Ok));
    }

    #[test]
    fn each_limit_has_its_line() {
        let swapping = Machine { swap: Some("swap is on (/dev/sdb)".to_owned()), ..machine() };
        assert!(verdicts(&swapping).contains(&("memory reset", Verdict::Warn)));
        let files = Machine { max_open_files: 256, ..machine() };
        assert!(verdicts(&files).contains(&("open files", Verdict::Warn)));
        let mappings = Machine { max_mappings: 4_096, ..machine() };
        assert!(verdicts(&mappings).contains(&("instances", Verdict::Fail)));
        let memory = Machine { memory_bytes: 512 << 20, ..machine() };
        assert!(verdicts(&memory).contains(&("machine", Verdict::Warn)));
    }
}
