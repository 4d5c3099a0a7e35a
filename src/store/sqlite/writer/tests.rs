//! The writer over a disk that fails on command.

use parking_lot::{Mutex, RwLock};
use std::sync::atomic::{AtomicBool, AtomicU64};

use super::*;
use crate::store::expiry::Deadlines;
use crate::store::live::Live;
use crate::store::sqlite::OpenError;
use crate::store::types::{Consistency, Op, RangeReq};

/// What the next write, or reopening, shall do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    Full,
    /// Answers that it is in doubt, and has written or not.
    InDoubt {
        written: bool,
    },
    /// As `InDoubt`, and reopening fails once.
    Unreachable,
}

/// A log in memory: what was written is a state of its own.
struct FaultyLog {
    durable: Mvcc,
    fault: Fault,
}

impl Log for FaultyLog {
    fn write(&mut self, write: &Write) -> Result<(), WriteError> {
        let fault = std::mem::replace(&mut self.fault, Fault::None);
        let written = matches!(fault, Fault::None | Fault::InDoubt { written: true });
        if written {
            self.durable.apply(write.changes.clone());
            self.durable.compact(write.compacted);
        }
        match fault {
            Fault::None => Ok(()),
            Fault::Full => Err(WriteError::Full),
            Fault::InDoubt { .. } => Err(WriteError::InDoubt("EIO".into())),
            Fault::Unreachable => {
                self.fault = Fault::Unreachable;
                Err(WriteError::InDoubt("EIO".into()))
            }
        }
    }

    fn reopen(&mut self) -> Result<Mvcc, OpenError> {
        if self.fault == Fault::Unreachable {
            self.fault = Fault::None;
            let source = std::io::Error::other("EIO");
            return Err(OpenError::Io { path: "store".into(), source });
        }
        Ok(self.durable.clone())
    }

    fn used_bytes(&self) -> u64 {
        0
    }
}

fn writer() -> Writer<FaultyLog> {
    let shared = Shared {
        quota_bytes: u64::MAX,
        live: RwLock::new(Live::default()),
        deadlines: Mutex::new(Deadlines::default()),
        used_bytes: AtomicU64::new(0),
        healthy: AtomicBool::new(true),
        in_doubt: AtomicBool::new(false),
    };
    Writer::new(Arc::new(shared), FaultyLog { durable: Mvcc::default(), fault: Fault::None })
}

fn put(writer: &mut Writer<FaultyLog>, key: &'static str) -> Result<Done, Error> {
    let (reply, mut answer) = oneshot::channel();
    let work = Work::Txn(Txn::of(vec![Op::put(key, "value")]));
    writer.write_all(vec![Job { work, reply }]);
    answer.try_recv().expect("every job is answered")
}

fn revision_of(done: Result<Done, Error>) -> u64 {
    match done {
        Ok(Done::Txn(answer)) => answer.revision.0,
        other => panic!("not a transaction: {other:?}"),
    }
}

fn keys(writer: &Writer<FaultyLog>) -> Vec<String> {
    let live = writer.shared.live.read();
    let all = live.range(&RangeReq::prefix(""), Consistency::Linearizable).expect("readable");
    all.kvs.iter().map(|kv| String::from_utf8_lossy(&kv.key).into_owned()).collect()
}

#[test]
fn a_write_in_doubt_that_happened_is_visible_before_it_is_answered() {
    let mut writer = writer();
    let mut watch = writer.shared.live.write().watch("".into(), Revision(1)).expect("watch");
    writer.log.fault = Fault::InDoubt { written: true };
    assert_eq!(put(&mut writer, "a"), Err(Error::Unknown("EIO".into())));
    assert_eq!(keys(&writer), ["a"]);
    assert!(!writer.shared.in_doubt.load(Ordering::Relaxed));
    assert_eq!(revision_of(put(&mut writer, "b")), 2);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
    let revisions: Vec<u64> = runtime.block_on(async {
        let mut next = async || watch.next().await.expect("batch").expect("open").revision.0;
        vec![next().await, next().await]
    });
    assert_eq!(revisions, [1, 2], "published once each");
}

#[test]
fn a_write_in_doubt_that_did_not_happen_leaves_no_trace() {
    let mut writer = writer();
    writer.log.fault = Fault::InDoubt { written: false };
    assert_eq!(put(&mut writer, "a"), Err(Error::Unknown("EIO".into())));
    assert!(keys(&writer).is_empty());
    assert_eq!(revision_of(put(&mut writer, "b")), 1);
}

#[test]
fn nothing_is_written_until_the_log_was_read_back() {
    let mut writer = writer();
    writer.log.fault = Fault::Unreachable;
    assert_eq!(put(&mut writer, "a"), Err(Error::Unknown("EIO".into())));
    assert!(writer.broken);
    assert!(writer.shared.in_doubt.load(Ordering::Relaxed));
    assert!(!writer.shared.healthy.load(Ordering::Relaxed));
    assert!(writer.heal());
    assert!(!writer.shared.in_doubt.load(Ordering::Relaxed));
    assert!(writer.shared.healthy.load(Ordering::Relaxed));
    assert_eq!(revision_of(put(&mut writer, "b")), 1);
}

#[test]
fn a_log_that_lost_an_acknowledged_write_is_not_taken_over() {
    let mut writer = writer();
    assert_eq!(revision_of(put(&mut writer, "a")), 1);
    writer.log.durable = Mvcc::default();
    writer.log.fault = Fault::InDoubt { written: false };
    assert_eq!(put(&mut writer, "b"), Err(Error::Unknown("EIO".into())));
    assert_eq!(put(&mut writer, "c"), Err(Error::NotApplied(Reason::Unavailable)));
    assert_eq!(keys(&writer), ["a"], "reads go on");
}

#[test]
fn a_full_disk_refuses_and_recovers_on_the_same_handle() {
    let mut writer = writer();
    writer.log.fault = Fault::Full;
    assert_eq!(put(&mut writer, "a"), Err(Error::NotApplied(Reason::QuotaFull)));
    assert!(!writer.broken);
    assert_eq!(revision_of(put(&mut writer, "b")), 1);
}

#[test]
fn a_group_that_does_not_fit_is_tried_one_by_one() {
    let mut writer = writer();
    writer.log.fault = Fault::Full;
    let (jobs, answers): (Vec<Job>, Vec<_>) = ["a", "b"]
        .map(|key| {
            let (reply, answer) = oneshot::channel();
            (Job { work: Work::Txn(Txn::of(vec![Op::put(key, "")])), reply }, answer)
        })
        .into_iter()
        .unzip();
    writer.write_all(jobs);
    let answered: Vec<_> = answers.into_iter().map(|mut answer| answer.try_recv()).collect();
    assert!(answered.iter().all(|answer| matches!(answer, Ok(Ok(_)))), "{answered:?}");
    assert_eq!(keys(&writer), ["a", "b"]);
}

#[test]
fn one_group_decides_each_write_on_those_before_it() {
    let mut writer = writer();
    let once = || {
        let absent = crate::store::Cond::Absent("a".into());
        Work::Txn(Txn::of(vec![Op::put("a", "")]).when(absent))
    };
    let (jobs, mut answers): (Vec<Job>, Vec<_>) = [once(), once(), Work::Grant(Duration::ZERO)]
        .map(|work| {
            let (reply, answer) = oneshot::channel();
            (Job { work, reply }, answer)
        })
        .into_iter()
        .unzip();
    writer.write_all(jobs);
    let succeeded = |done: Result<Done, Error>| match done {
        Ok(Done::Txn(answer)) => (answer.revision.0, answer.succeeded),
        other => panic!("not a transaction: {other:?}"),
    };
    assert_eq!(succeeded(answers[0].try_recv().expect("answered")), (1, true));
    assert_eq!(succeeded(answers[1].try_recv().expect("answered")), (1, false));
    assert!(matches!(answers[2].try_recv(), Ok(Ok(Done::Grant(lease))) if lease.id == LeaseId(1)));
}

#[test]
fn a_lease_in_doubt_gets_a_deadline_if_it_exists() {
    let mut writer = writer();
    writer.log.fault = Fault::InDoubt { written: true };
    let (reply, mut answer) = oneshot::channel();
    writer.write_all(vec![Job { work: Work::Grant(Duration::from_secs(9)), reply }]);
    assert_eq!(answer.try_recv(), Ok(Err(Error::Unknown("EIO".into()))));
    let kept = writer.shared.deadlines.lock().keepalive(LeaseId(1), expiry::now());
    assert_eq!(kept, Some(Duration::from_secs(9)));
}
