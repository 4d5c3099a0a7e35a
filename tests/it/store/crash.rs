//! Rule 8: a process that is killed at any moment loses nothing that it acknowledged.
//!
//! The child is this very test binary, told to run [`child`] alone. It writes with some clients at
//! once and prints what was acknowledged; the parent kills it and reads the store.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

use futures_util::future::join_all;
use tempfile::TempDir;
use wharf::store::{Consistency, RangeReq, Revision, SqliteOptions, SqliteStore, Store};

use super::harness::{open, options, put, revision, text};

const ROUNDS: u64 = 30;
const CLIENTS: usize = 4;
const PATH: &str = "WHARF_TEST_CRASH_STORE";

/// A write that was acknowledged.
struct Ack {
    revision: Revision,
    key: String,
    value: String,
}

#[tokio::test]
async fn a_kill_loses_nothing_acknowledged() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut newest = Revision::ZERO;
    let mut checked = 0;
    for round in 0..ROUNDS {
        let acks = run_and_kill(&dir, 1 + round * 37 % 150);
        let store = open(&dir).await;
        let now = revision(&store).await;
        assert!(now >= newest, "round {round}: revision {now} after {newest}");
        let compacted = store.status().await.expect("a status").compacted;
        for ack in &acks {
            assert!(ack.revision > newest && ack.revision <= now, "round {round}");
            if ack.revision >= compacted {
                check(&store, ack, round).await;
                checked += 1;
            }
        }
        newest = put(&store, "parent", &round.to_string()).await;
        assert!(newest > now);
    }
    assert!(checked > ROUNDS, "the children acknowledged next to nothing");
}

async fn check(store: &SqliteStore, ack: &Ack, round: u64) {
    let req = RangeReq::key(ack.key.clone()).at(ack.revision);
    let read = store.range(req, Consistency::Linearizable).await.expect("readable");
    let kv = read.kvs.first().unwrap_or_else(|| panic!("round {round}: {} is lost", ack.key));
    assert_eq!((text(&kv.value), kv.mod_rev), (ack.value.clone(), ack.revision));
}

/// Kills a child after so many acknowledgements, in the middle of its next writes.
fn run_and_kill(dir: &TempDir, after: u64) -> Vec<Ack> {
    let (_, module) = module_path!().split_once("::").expect("a module of the test binary");
    let mut child = Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", &format!("{module}::child"), "--ignored", "--nocapture"])
        .env(PATH, options(dir).path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the child starts");
    let mut lines = BufReader::new(child.stdout.take().expect("its output"));
    let mut acks = Vec::new();
    while (acks.len() as u64) < after {
        let line = read_line(&mut lines).unwrap_or_else(|| ended(&mut child));
        acks.extend(parse(&line));
    }
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
    while let Some(line) = read_line(&mut lines) {
        acks.extend(parse(&line));
    }
    acks
}

fn ended(child: &mut Child) -> ! {
    panic!("the child ended by itself: {:?}", child.wait());
}

/// The next whole line.
fn read_line(lines: &mut BufReader<ChildStdout>) -> Option<String> {
    let mut line = String::new();
    lines.read_line(&mut line).ok()?;
    line.ends_with('\n').then_some(line)
}

fn parse(line: &str) -> Option<Ack> {
    let mut words = line.trim_end().strip_prefix("ack ")?.split(' ');
    let revision = Revision(words.next()?.parse().ok()?);
    Some(Ack { revision, key: words.next()?.to_owned(), value: words.next()?.to_owned() })
}

#[test]
#[ignore = "the child of a_kill_loses_nothing_acknowledged"]
fn child() {
    let Some(path) = std::env::var_os(PATH) else {
        return;
    };
    println!();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let store = SqliteStore::open(SqliteOptions::new(path)).await.expect("the store opens");
        join_all((0..CLIENTS).map(|client| write_for_ever(&store, client))).await;
    });
}

async fn write_for_ever(store: &SqliteStore, client: usize) {
    let mut revision = Revision::ZERO;
    for n in 0_u64.. {
        let (key, value) = (format!("client/{client}"), format!("{}.{n}", revision));
        revision = put(store, &key, &value).await;
        let ack = format!("ack {revision} {key} {value}\n");
        std::io::stdout().lock().write_all(ack.as_bytes()).expect("the parent reads");
        if n % 50 == 49 {
            // Far enough back for the parent to find the newest acknowledgements.
            let before = Revision(revision.0.saturating_sub(1000));
            store.compact(before).await.expect("compacts");
        }
    }
}
