//! Memory caps: of an instance, of its task, and of the node.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wasmtime::ResourceLimiter;

/// Host memory that an instance is charged from its start: two chunks of response body and one
/// frame of request body of 64 KiB each, and its header fields.
pub(super) const HOST_BUFFER_BYTES: u64 = 256 << 10;

/// Bytes of one table element.
const ELEMENT_BYTES: u64 = 8;

/// A number of bytes that many may charge, up to a maximum.
#[derive(Debug)]
pub struct Budget {
    used: AtomicU64,
    max: u64,
}

impl Budget {
    /// A budget of `max` bytes, all of it free.
    pub fn new(max: u64) -> Arc<Self> {
        Arc::new(Self { used: AtomicU64::new(0), max })
    }

    /// Bytes that are charged now.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// The maximum.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// Charges the bytes, or leaves the budget as it was and returns false.
    fn charge(&self, bytes: u64) -> bool {
        let charged = self.used.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |used| {
            used.checked_add(bytes).filter(|sum| *sum <= self.max)
        });
        charged.is_ok()
    }

    fn refund(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::AcqRel);
    }
}

/// What one instance may hold: the sum of all its memories, tables and host-side buffers.
///
/// wasmtime's own limiter bounds each memory by itself, so a component with several memories
/// would get the limit several times.
#[derive(Debug)]
pub(super) struct InstanceMemory {
    used: u64,
    peak: u64,
    max: u64,
    last_charge: u64,
    task: Arc<Budget>,
    node: Arc<Budget>,
    denied: bool,
}

impl InstanceMemory {
    /// Begins with the host's buffers charged; `None` if not even those fit.
    pub(super) fn begin(max: u64, task: Arc<Budget>, node: Arc<Budget>) -> Option<Self> {
        let mut memory = Self { used: 0, peak: 0, max, last_charge: 0, task, node, denied: false };
        memory.charge(HOST_BUFFER_BYTES).then_some(memory)
    }

    /// Most bytes that were held at once.
    pub(super) fn peak(&self) -> u64 {
        self.peak
    }

    /// Whether growth was refused.
    pub(super) fn denied(&self) -> bool {
        self.denied
    }

    fn charge(&mut self, bytes: u64) -> bool {
        let fits = self.used.checked_add(bytes).is_some_and(|sum| sum <= self.max);
        if !fits || !self.task.charge(bytes) {
            self.denied = true;
            return false;
        }
        if !self.node.charge(bytes) {
            self.task.refund(bytes);
            self.denied = true;
            return false;
        }
        self.last_charge = bytes;
        self.used += bytes;
        self.peak = self.peak.max(self.used);
        true
    }

    fn refund_last(&mut self) {
        let bytes = std::mem::take(&mut self.last_charge);
        self.used -= bytes;
        self.task.refund(bytes);
        self.node.refund(bytes);
    }
}

impl Drop for InstanceMemory {
    fn drop(&mut self) {
        self.task.refund(self.used);
        self.node.refund(self.used);
    }
}

impl ResourceLimiter for InstanceMemory {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        Ok(self.charge(desired.saturating_sub(current) as u64))
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.refund_last();
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let elements = desired.saturating_sub(current) as u64;
        Ok(self.charge(elements.saturating_mul(ELEMENT_BYTES)))
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.refund_last();
        Ok(())
    }

    fn instances(&self) -> usize {
        64
    }

    fn tables(&self) -> usize {
        super::engine::TABLES_PER_COMPONENT as usize
    }

    fn memories(&self) -> usize {
        super::engine::MEMORIES_PER_COMPONENT as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn memories_and_tables_of_an_instance_are_summed() {
        let (task, node) = (Budget::new(10 * MIB), Budget::new(100 * MIB));
        let mut memory = InstanceMemory::begin(4 * MIB, task.clone(), node.clone()).expect("fits");
        let mib = MIB as usize;
        assert!(memory.memory_growing(0, 2 * mib, None).expect("no error"));
        assert!(memory.table_growing(0, mib / 8, None).expect("no error"));
        assert!(!memory.memory_growing(0, mib, None).expect("no error"), "a third memory");
        assert!(memory.denied());
        assert_eq!(memory.peak(), 3 * MIB + HOST_BUFFER_BYTES);
        drop(memory);
        assert_eq!((task.used(), node.used()), (0, 0));
    }

    #[test]
    fn the_task_and_the_node_cap_the_sum_of_their_instances() {
        let (task, node) = (Budget::new(3 * MIB), Budget::new(100 * MIB));
        let begin = || InstanceMemory::begin(2 * MIB, task.clone(), node.clone());
        let (mut first, mut second) = (begin().expect("fits"), begin().expect("fits"));
        let step = 3 * (MIB as usize) / 2;
        assert!(first.memory_growing(0, step, None).expect("no error"));
        assert!(!second.memory_growing(0, step, None).expect("no error"), "the task is full");
        drop(first);
        assert!(second.memory_growing(0, step, None).expect("no error"));
        let crowded = Budget::new(HOST_BUFFER_BYTES);
        let _one = InstanceMemory::begin(MIB, task.clone(), crowded.clone()).expect("fits");
        let before = task.used();
        assert!(InstanceMemory::begin(MIB, task.clone(), crowded).is_none(), "the node is full");
        assert_eq!(task.used(), before, "a refused charge leaves nothing behind");
    }

    #[test]
    fn growth_that_failed_after_all_is_given_back() {
        let (task, node) = (Budget::new(10 * MIB), Budget::new(10 * MIB));
        let mut memory = InstanceMemory::begin(10 * MIB, task.clone(), node).expect("fits");
        assert!(memory.memory_growing(0, MIB as usize, None).expect("no error"));
        memory.memory_grow_failed(wasmtime::Error::msg("no slot")).expect("no error");
        assert_eq!(task.used(), HOST_BUFFER_BYTES);
    }
}
