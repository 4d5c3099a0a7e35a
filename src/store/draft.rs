//! What writes would do to a state, decided before anything is done.
//!
//! A draft lies over a state that it only reads. The writer decides a whole group of writes in
//! one draft, makes the [`Changes`] durable, and applies them; if that fails, it forgets them.
//!
//! *Invariant:* a write that is refused leaves no trace in the draft: everything that can refuse
//! it is checked before its first change.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::Peekable;
use std::time::Duration;

use bytes::Bytes;

use super::error::{Error, Reason};
use super::limits::{LEASE_KEYS_MAX, LEASES_MAX, lease_ttl};
use super::mvcc::{Mvcc, page};
use super::span;
use super::types::{
    Batch, Cond, Event, EventKind, Kv, Lease, LeaseId, Op, OpResult, RangeReq, RangeResp, Revision,
    Txn, TxnResp,
};

/// What a draft decided: to be made durable, then applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// One for each new revision, in order.
    pub(super) batches: Vec<Batch>,
    pub(super) granted: Vec<(LeaseId, Duration)>,
    /// A lease may be granted and revoked in the same draft.
    pub(super) revoked: Vec<(LeaseId, Duration)>,
    pub(super) last_lease: u64,
}

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty() && self.granted.is_empty() && self.revoked.is_empty()
    }
}

/// See the module documentation.
pub(super) struct Draft<'a> {
    base: &'a Mvcc,
    /// Whether puts are refused, because the quota is used up.
    full: bool,
    revision: Revision,
    /// Keys changed so far; `None` is deleted.
    changed: BTreeMap<Bytes, Option<Kv>>,
    /// How many keys each lease got from this draft.
    attached: BTreeMap<LeaseId, usize>,
    changes: Changes,
}

impl<'a> Draft<'a> {
    pub(super) fn new(base: &'a Mvcc, full: bool) -> Self {
        let counters = base.counters();
        Self {
            base,
            full,
            revision: counters.revision,
            changed: BTreeMap::new(),
            attached: BTreeMap::new(),
            changes: Changes { last_lease: counters.last_lease, ..Changes::default() },
        }
    }

    /// Everything that was decided.
    pub(super) fn finish(self) -> Changes {
        self.changes
    }

    /// Decides a transaction that `limits::check_txn` has accepted.
    ///
    /// # Errors
    /// `LeaseNotFound`, `TooMany`, `QuotaFull`; `Compacted` and `FutureRevision` for a get.
    pub(super) fn txn(&mut self, txn: &Txn) -> Result<TxnResp, Error> {
        let succeeded = txn.when.iter().all(|cond| self.holds(cond));
        let branch = if succeeded { &txn.then } else { &txn.otherwise };
        self.check_branch(branch)?;
        let revision = self.revision.next();
        let mut events = Vec::new();
        let mut results = Vec::with_capacity(branch.len());
        for op in branch {
            results.push(self.op(op, revision, &mut events)?);
        }
        self.record(revision, events);
        for (op, result) in branch.iter().zip(&mut results) {
            if let (Op::Get(RangeReq { at: None, .. }), OpResult::Got(got)) = (op, result) {
                got.revision = self.revision;
            }
        }
        Ok(TxnResp { revision: self.revision, succeeded, results })
    }

    /// Decides a new lease.
    ///
    /// # Errors
    /// `TooMany`, `QuotaFull`.
    pub(super) fn grant(&mut self, ttl: Duration) -> Result<Lease, Error> {
        if self.full {
            return Err(Reason::QuotaFull.into());
        }
        if self.base.leases().len() + self.changes.granted.len() >= LEASES_MAX {
            return Err(Reason::TooMany { what: "leases", max: LEASES_MAX }.into());
        }
        self.changes.last_lease += 1;
        let lease = Lease { id: LeaseId(self.changes.last_lease), ttl_granted: lease_ttl(ttl) };
        self.changes.granted.push((lease.id, lease.ttl_granted));
        Ok(lease)
    }

    /// Decides the end of a lease, which deletes its keys.
    ///
    /// # Errors
    /// `LeaseNotFound`.
    pub(super) fn revoke(&mut self, id: LeaseId) -> Result<(), Error> {
        let ttl = self.lease_ttl(id).ok_or(Reason::LeaseNotFound)?;
        let revision = self.revision.next();
        let mut events = Vec::new();
        for key in self.keys_of(id) {
            self.delete(&key, revision, &mut events);
        }
        self.record(revision, events);
        self.changes.revoked.push((id, ttl));
        Ok(())
    }

    fn holds(&self, cond: &Cond) -> bool {
        let current = self.get(cond.key());
        match cond {
            Cond::ModRev { is, .. } => current.map_or(Revision::ZERO, |kv| kv.mod_rev) == *is,
            Cond::CreateRev { is, .. } => current.map_or(Revision::ZERO, |kv| kv.create_rev) == *is,
            Cond::Exists(_) => current.is_some(),
            Cond::Absent(_) => current.is_none(),
        }
    }

    /// Checks everything that could stop the branch half-way.
    fn check_branch(&self, ops: &[Op]) -> Result<(), Error> {
        let mut attached: BTreeMap<LeaseId, usize> = BTreeMap::new();
        for op in ops {
            match op {
                Op::Put { .. } if self.full => return Err(Reason::QuotaFull.into()),
                Op::Put { lease: Some(id), .. } => *attached.entry(*id).or_default() += 1,
                Op::Get(RangeReq { at: Some(at), .. }) => self.base.check_at(*at)?,
                Op::Put { .. } | Op::Delete { .. } | Op::Get(_) => {}
            }
        }
        for (id, more) in attached {
            self.lease_ttl(id).ok_or(Reason::LeaseNotFound)?;
            let now = self.base.lease(id).map_or(0, |grant| grant.keys.len());
            let drafted = self.attached.get(&id).copied().unwrap_or(0);
            if now + drafted + more > LEASE_KEYS_MAX {
                return Err(Reason::TooMany { what: "keys of a lease", max: LEASE_KEYS_MAX }.into());
            }
        }
        Ok(())
    }

    fn op(&mut self, op: &Op, at: Revision, events: &mut Vec<Event>) -> Result<OpResult, Error> {
        Ok(match op {
            Op::Get(req) => OpResult::Got(self.range(req)?),
            Op::Delete { key } => OpResult::Deleted(self.delete(key, at, events)),
            Op::Put { key, value, lease } => {
                let prev = self.get(key).cloned();
                let kv = Kv {
                    key: key.clone(),
                    value: value.clone(),
                    create_rev: prev.as_ref().map_or(at, |prev| prev.create_rev),
                    mod_rev: at,
                    version: prev.as_ref().map_or(0, |prev| prev.version) + 1,
                    lease: *lease,
                };
                if let Some(id) = lease {
                    *self.attached.entry(*id).or_default() += 1;
                }
                self.changed.insert(key.clone(), Some(kv.clone()));
                events.push(Event { kind: EventKind::Put, kv, prev });
                OpResult::Put
            }
        })
    }

    fn delete(&mut self, key: &Bytes, at: Revision, events: &mut Vec<Event>) -> bool {
        let Some(prev) = self.get(key).cloned() else {
            return false;
        };
        let kv = Kv {
            key: prev.key.clone(),
            value: Bytes::new(),
            create_rev: Revision::ZERO,
            mod_rev: at,
            version: 0,
            lease: None,
        };
        self.changed.insert(prev.key.clone(), None);
        events.push(Event { kind: EventKind::Delete, kv, prev: Some(prev) });
        true
    }

    fn record(&mut self, revision: Revision, events: Vec<Event>) {
        if !events.is_empty() {
            self.revision = revision;
            self.changes.batches.push(Batch { revision, events });
        }
    }

    fn get(&self, key: &[u8]) -> Option<&Kv> {
        match self.changed.get(key) {
            Some(changed) => changed.as_ref(),
            None => self.base.get(key),
        }
    }

    /// Reads over the draft; the revision of a newest read is filled in at the end.
    fn range(&self, req: &RangeReq) -> Result<RangeResp, Error> {
        if req.at.is_some() {
            return self.base.range(req);
        }
        let Some(bounds) = span::bounds(req) else {
            return Ok(RangeResp::default());
        };
        let merged = Merged {
            base: self.base.scan(&bounds, self.base.revision()).peekable(),
            changed: self.changed.range::<[u8], _>(span::borrow(&bounds)).peekable(),
        };
        Ok(page(merged, req, Revision::ZERO))
    }

    fn lease_ttl(&self, id: LeaseId) -> Option<Duration> {
        if self.changes.revoked.iter().any(|(revoked, _)| *revoked == id) {
            return None;
        }
        let granted = self.changes.granted.iter().find(|(granted, _)| *granted == id);
        granted.map(|(_, ttl)| *ttl).or_else(|| self.base.lease(id).map(|grant| grant.ttl))
    }

    fn keys_of(&self, id: LeaseId) -> BTreeSet<Bytes> {
        let mut keys = self.base.lease(id).map(|grant| grant.keys.clone()).unwrap_or_default();
        for (key, kv) in &self.changed {
            if kv.as_ref().is_some_and(|kv| kv.lease == Some(id)) {
                keys.insert(key.clone());
            } else {
                keys.remove(key);
            }
        }
        keys
    }
}

/// The keys of a state with the changes of a draft laid over them, ascending.
struct Merged<B: Iterator, C: Iterator> {
    base: Peekable<B>,
    changed: Peekable<C>,
}

impl<'a, B, C> Iterator for Merged<B, C>
where
    B: Iterator<Item = &'a Kv>,
    C: Iterator<Item = (&'a Bytes, &'a Option<Kv>)>,
{
    type Item = &'a Kv;

    fn next(&mut self) -> Option<&'a Kv> {
        loop {
            let Some((key, _)) = self.changed.peek() else {
                return self.base.next();
            };
            if let Some(kv) = self.base.next_if(|kv| kv.key < **key) {
                return Some(kv);
            }
            // A changed key hides the one below it.
            self.base.next_if(|kv| kv.key == **key);
            if let Some((_, Some(kv))) = self.changed.next() {
                return Some(kv);
            }
        }
    }
}
