//! The writer: the one thread that changes a store.
//!
//! *Invariant:* a write is applied to the shared state, and published, after `Log::write` has
//! returned, and answered after that.
//!
//! *Invariant:* after a failure that leaves a write in doubt nothing is written, and nothing is
//! read linearizably, until the log was read back.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::Shared;
use super::disk::{Log, WriteError};
use super::rows::Write;
use crate::store::draft::{Changes, Draft};
use crate::store::error::{Error, Reason};
use crate::store::expiry;
use crate::store::mvcc::{Mvcc, Version};
use crate::store::types::{Lease, LeaseId, Revision, Txn, TxnResp};

/// Writes of one SQLite transaction: enough to share an fsync among all who wait, little enough
/// that the first of them does not wait for long.
const GROUP_MAX: usize = 256;

/// What the writer is asked for.
#[derive(Debug)]
pub(super) enum Command {
    /// Write something.
    Job(Job),
    /// Forget history.
    Compact { before: Revision, reply: oneshot::Sender<Result<(), Error>> },
    /// Try to recover from a failure of the disk.
    Heal,
    /// Write what is waiting, release the file, and end.
    Close { reply: oneshot::Sender<()> },
}

/// A write and who waits for it.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) work: Work,
    pub(super) reply: oneshot::Sender<Result<Done, Error>>,
}

/// What to write.
#[derive(Debug)]
pub(super) enum Work {
    Txn(Txn),
    Grant(Duration),
    Revoke(LeaseId),
}

/// What was written.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Done {
    Txn(TxnResp),
    Grant(Lease),
    Revoke,
}

/// See the module documentation.
pub(super) struct Writer<L> {
    shared: Arc<Shared>,
    log: L,
    /// Versions that memory has forgotten and the log has not; it does with the next write.
    dead: Vec<Version>,
    /// Whether the log must be reopened before the next write.
    broken: bool,
}

impl<L: Log> Writer<L> {
    pub(super) fn new(shared: Arc<Shared>, log: L) -> Self {
        shared.used_bytes.store(log.used_bytes(), Ordering::Relaxed);
        let dead = shared.live.write().compact_overdue();
        Self { shared, log, dead, broken: false }
    }

    /// Works until nobody can send commands any more, or it is told to end.
    pub(super) fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let closing = self.work(&mut commands);
        // Another process may have the file from now on.
        drop((self, commands));
        if let Some(reply) = closing {
            let _ = reply.send(());
        }
    }

    /// Who is to be told that the file is released, if somebody asked for it.
    fn work(&mut self, commands: &mut mpsc::Receiver<Command>) -> Option<oneshot::Sender<()>> {
        while let Some(first) = commands.blocking_recv() {
            let mut jobs = Vec::new();
            let mut next = Some(first);
            while let Some(command) = next {
                match command {
                    Command::Job(job) => jobs.push(job),
                    Command::Compact { before, reply } => {
                        self.write_all(std::mem::take(&mut jobs));
                        // Whoever asked may have gone.
                        let _ = reply.send(self.compact(before));
                    }
                    Command::Heal => {
                        self.heal();
                    }
                    Command::Close { reply } => {
                        self.write_all(jobs);
                        return Some(reply);
                    }
                }
                next = if jobs.len() < GROUP_MAX { commands.try_recv().ok() } else { None };
            }
            self.write_all(jobs);
        }
        None
    }

    /// Writes a group in one transaction, or, when there is no room for all of it, one by one:
    /// deletes may still fit.
    fn write_all(&mut self, jobs: Vec<Job>) {
        if jobs.is_empty() {
            return;
        }
        match self.write_group(&jobs) {
            Ok(answers) => {
                for (job, answer) in jobs.into_iter().zip(answers) {
                    let _ = job.reply.send(answer);
                }
            }
            Err(Error::NotApplied(Reason::QuotaFull)) if jobs.len() > 1 => {
                for job in jobs {
                    self.write_all(vec![job]);
                }
            }
            Err(error) => {
                for job in jobs {
                    let _ = job.reply.send(Err(error.clone()));
                }
            }
        }
    }

    fn write_group(&mut self, jobs: &[Job]) -> Result<Vec<Result<Done, Error>>, Error> {
        if !self.heal() {
            return Err(Reason::Unavailable.into());
        }
        let (changes, answers) = self.decide(jobs);
        if !changes.is_empty() {
            self.persist(&changes)?;
            self.apply(changes);
        }
        Ok(answers)
    }

    fn decide(&self, jobs: &[Job]) -> (Changes, Vec<Result<Done, Error>>) {
        let live = self.shared.live.read();
        let full = self.log.used_bytes() >= self.shared.quota_bytes;
        let mut draft = Draft::new(live.state(), full);
        let answers = jobs.iter().map(|job| match &job.work {
            Work::Txn(txn) => draft.txn(txn).map(Done::Txn),
            Work::Grant(ttl) => draft.grant(*ttl).map(Done::Grant),
            Work::Revoke(id) => draft.revoke(*id).map(|()| Done::Revoke),
        });
        let answers = answers.collect();
        (draft.finish(), answers)
    }

    /// Makes changes durable, together with the compaction that is due.
    fn persist(&mut self, changes: &Changes) -> Result<(), Error> {
        let counters = self.shared.live.read().state().counters();
        let revision = changes.batches.last().map_or(counters.revision, |batch| batch.revision);
        let compacted = counters.compacted;
        let write = Write { dead: &self.dead, changes, compacted, revision };
        let written = self.log.write(&write);
        let healthy = matches!(written, Ok(()) | Err(WriteError::Busy));
        self.shared.healthy.store(healthy, Ordering::Relaxed);
        match written {
            Ok(()) => {
                self.dead.clear();
                self.shared.used_bytes.store(self.log.used_bytes(), Ordering::Relaxed);
                Ok(())
            }
            Err(WriteError::Full) => Err(Reason::QuotaFull.into()),
            Err(WriteError::Busy) => Err(Reason::Unavailable.into()),
            Err(WriteError::Failed(_)) => {
                self.broken = true;
                self.heal();
                Err(Reason::Unavailable.into())
            }
            Err(WriteError::InDoubt(detail)) => {
                self.broken = true;
                self.shared.in_doubt.store(true, Ordering::Release);
                self.heal();
                Err(Error::Unknown(detail))
            }
        }
    }

    fn apply(&mut self, changes: Changes) {
        let granted = changes.granted.clone();
        let revoked = changes.revoked.clone();
        let dead = self.shared.live.write().apply(changes);
        self.dead.extend(dead);
        let mut deadlines = self.shared.deadlines.lock();
        for (id, ttl) in granted {
            deadlines.start(id, ttl, expiry::now());
        }
        for (id, _) in revoked {
            deadlines.stop(id);
        }
    }

    fn compact(&mut self, before: Revision) -> Result<(), Error> {
        if !self.heal() {
            return Err(Reason::Unavailable.into());
        }
        let (dead, last_lease) = {
            let mut live = self.shared.live.write();
            (live.compact(before)?, live.state().counters().last_lease)
        };
        self.dead.extend(dead);
        match self.persist(&Changes { last_lease, ..Changes::default() }) {
            // Memory has forgotten already; the log follows with the first write that fits.
            Err(Error::NotApplied(Reason::QuotaFull)) => Ok(()),
            persisted => persisted,
        }
    }

    /// Reads the log back after a failure; false when that fails, too.
    fn heal(&mut self) -> bool {
        if !self.broken {
            return true;
        }
        let Ok(state) = self.log.reopen() else {
            return false;
        };
        if !self.take_over(state) {
            return false;
        }
        self.broken = false;
        self.shared.used_bytes.store(self.log.used_bytes(), Ordering::Relaxed);
        self.shared.in_doubt.store(false, Ordering::Release);
        self.shared.healthy.store(true, Ordering::Relaxed);
        true
    }

    /// Makes a state that was read back the shared one; false when acknowledged writes are missing
    /// in it, which no later write may paper over.
    fn take_over(&mut self, state: Mvcc) -> bool {
        let mut live = self.shared.live.write();
        if live.replace(state).is_err() {
            return false;
        }
        self.dead = live.compact_overdue();
        let leases = live.state().leases().map(|(id, grant)| (id, grant.ttl));
        self.shared.deadlines.lock().sync(leases, expiry::now());
        true
    }
}

#[cfg(test)]
mod tests;
