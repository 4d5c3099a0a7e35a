//! Memory caps: of an instance, of its task, and of the node.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wasmtime::ResourceLimiter;

use crate::model::Limits;

/// Bytes of one table element.
const ELEMENT_BYTES: u64 = 8;
/// Bytes of a handle, whatever it stands for: its entries in the host's table and the guest's.
const HANDLE_BYTES: u64 = 256;
/// Most bytes of body that are on their way at once: a frame of the request, and of the response
/// two chunks that the guest wrote, one that is held and one that the connection was given.
const BODY_BYTES: u64 = 5 * (64 << 10);
/// What the host may keep of a response that is not sent yet: two chunks and its trailers.
pub(super) fn prepaid_bytes(limits: &Limits) -> u64 {
    UNCOUNTED_BYTES + 2 * (64 << 10) + limits.headers.0
}

/// What the host may keep beyond what was counted last, before it counts again.
const UNCOUNTED_BYTES: u64 = 64 << 10;

/// Host memory that an instance is charged from its start: the bodies, the fields of request and
/// response, and as many handles as it may hold.
pub(super) fn base_bytes(limits: &Limits) -> u64 {
    let handles = u64::from(limits.handles) * HANDLE_BYTES;
    BODY_BYTES + UNCOUNTED_BYTES + handles.saturating_add(2 * limits.headers.0)
}

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

/// Whose limit growth met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// The instance's or its task's: the guest wants more than it may have.
    Own,
    /// The node's: the guest is not to blame.
    Node,
}

/// The host will not keep more for the guest.
#[derive(Debug, thiserror::Error)]
#[error("the host would keep {0} bytes more for the guest than its memory limit allows")]
pub(super) struct HostMemoryFull(u64);

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
    denied: Option<Denied>,
    /// Bytes that the host may yet keep within what is charged for it.
    prepaid: u64,
    /// What is charged for the host beyond the base.
    charged_for_host: u64,
}

impl InstanceMemory {
    /// Begins with `base` bytes charged for the host; `None` if not even those fit.
    ///
    /// `prepaid` of them are for what the host keeps beyond the bytes under way: the response's
    /// body and fields, as every guest makes them.
    pub(super) fn begin(
        base: u64,
        prepaid: u64,
        max: u64,
        task: Arc<Budget>,
        node: Arc<Budget>,
    ) -> Option<Self> {
        let mut memory = Self {
            used: 0,
            peak: 0,
            max,
            last_charge: 0,
            task,
            node,
            denied: None,
            prepaid,
            charged_for_host: 0,
        };
        memory.charge(base).then_some(memory)
    }

    /// The host is to keep up to `bytes` more. `count` tells how much it keeps now; it is asked
    /// only when what was charged may not suffice, and then a quarter more is charged, so that
    /// counting costs a constant for each byte that is kept.
    pub(super) fn host_keeps(
        &mut self,
        bytes: u64,
        count: impl FnOnce() -> u64,
    ) -> Result<(), HostMemoryFull> {
        if let Some(left) = self.prepaid.checked_sub(bytes) {
            self.prepaid = left;
            return Ok(());
        }
        let kept = count().saturating_add(bytes);
        let spare = UNCOUNTED_BYTES.max(kept / 4);
        // The first of the spare bytes are part of the base.
        let wanted = kept + spare - UNCOUNTED_BYTES;
        match wanted.checked_sub(self.charged_for_host) {
            Some(more) if !self.charge(more) => return Err(HostMemoryFull(more)),
            Some(_) => {}
            None => self.refund(self.charged_for_host - wanted),
        }
        self.charged_for_host = wanted;
        self.prepaid = spare;
        Ok(())
    }

    /// Most bytes that were held at once.
    pub(super) fn peak(&self) -> u64 {
        self.peak
    }

    /// Whose limit refused the growth that was refused last.
    pub(super) fn denied(&self) -> Option<Denied> {
        self.denied
    }

    fn charge(&mut self, bytes: u64) -> bool {
        let fits = self.used.checked_add(bytes).is_some_and(|sum| sum <= self.max);
        if !fits || !self.task.charge(bytes) {
            self.denied = Some(Denied::Own);
            return false;
        }
        if !self.node.charge(bytes) {
            self.task.refund(bytes);
            self.denied = Some(Denied::Node);
            return false;
        }
        self.last_charge = bytes;
        self.used += bytes;
        self.peak = self.peak.max(self.used);
        true
    }

    fn refund_last(&mut self) {
        let bytes = std::mem::take(&mut self.last_charge);
        self.refund(bytes);
    }

    fn refund(&mut self, bytes: u64) {
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
    const BASE: u64 = 256 << 10;

    fn begin(max: u64, task: &Arc<Budget>, node: &Arc<Budget>) -> Option<InstanceMemory> {
        InstanceMemory::begin(BASE, UNCOUNTED_BYTES, max, task.clone(), node.clone())
    }

    #[test]
    fn memories_and_tables_of_an_instance_are_summed() {
        let (task, node) = (Budget::new(10 * MIB), Budget::new(100 * MIB));
        let mut memory = begin(4 * MIB, &task, &node).expect("fits");
        let mib = MIB as usize;
        assert!(memory.memory_growing(0, 2 * mib, None).expect("no error"));
        assert!(memory.table_growing(0, mib / 8, None).expect("no error"));
        assert!(!memory.memory_growing(0, mib, None).expect("no error"), "a third memory");
        assert_eq!(memory.denied(), Some(Denied::Own));
        assert_eq!(memory.peak(), 3 * MIB + BASE);
        drop(memory);
        assert_eq!((task.used(), node.used()), (0, 0));
    }

    #[test]
    fn the_task_and_the_node_cap_the_sum_of_their_instances() {
        let (task, node) = (Budget::new(3 * MIB), Budget::new(100 * MIB));
        let mut first = begin(2 * MIB, &task, &node).expect("fits");
        let mut second = begin(2 * MIB, &task, &node).expect("fits");
        let step = 3 * (MIB as usize) / 2;
        assert!(first.memory_growing(0, step, None).expect("no error"));
        assert!(!second.memory_growing(0, step, None).expect("no error"), "the task is full");
        drop(first);
        assert!(second.memory_growing(0, step, None).expect("no error"));
        let crowded = Budget::new(BASE);
        let mut one = begin(MIB, &task, &crowded).expect("fits");
        let before = task.used();
        assert!(begin(MIB, &task, &crowded).is_none(), "the node is full");
        assert!(!one.memory_growing(0, 1, None).expect("no error"), "the node is full");
        assert_eq!(one.denied(), Some(Denied::Node), "which is not the guest's fault");
        assert_eq!(task.used(), before, "a refused charge leaves nothing behind");
    }

    #[test]
    fn growth_that_failed_after_all_is_given_back() {
        let (task, node) = (Budget::new(10 * MIB), Budget::new(10 * MIB));
        let mut memory = begin(10 * MIB, &task, &node).expect("fits");
        assert!(memory.memory_growing(0, MIB as usize, None).expect("no error"));
        memory.memory_grow_failed(wasmtime::Error::msg("no slot")).expect("no error");
        assert_eq!(task.used(), BASE);
    }
    #[test]
    fn what_the_host_keeps_is_counted_and_given_back() {
        let (task, node) = (Budget::new(4 * MIB), Budget::new(10 * MIB));
        let mut memory = begin(4 * MIB, &task, &node).expect("fits");
        memory.host_keeps(UNCOUNTED_BYTES, || unreachable!("it is prepaid")).expect("fits");
        assert_eq!(task.used(), BASE);
        memory.host_keeps(1, || MIB).expect("fits");
        assert!(task.used() >= BASE + MIB, "what was counted is charged");
        memory.host_keeps(MIB / 2, || 0).expect("fits");
        let given_back = task.used();
        assert!(given_back < BASE + MIB, "and given back when it is gone");
        assert!(memory.host_keeps(4 * MIB, || 0).is_err());
        assert_eq!((memory.denied(), task.used()), (Some(Denied::Own), given_back));
    }

    #[test]
    fn counting_costs_a_constant_for_each_byte() {
        let (task, node) = (Budget::new(100 * MIB), Budget::new(100 * MIB));
        let mut memory = begin(100 * MIB, &task, &node).expect("fits");
        let (mut kept, mut counted) = (0, 0);
        while kept < 50 * MIB {
            memory
                .host_keeps(1_000, || {
                    counted += kept;
                    kept
                })
                .expect("fits");
            kept += 1_000;
            assert!(task.used() >= BASE - UNCOUNTED_BYTES + kept, "never less than what is kept");
        }
        assert!(counted < 6 * kept, "{counted}");
    }
}
