//! Applying against a store, and against rivals.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use super::*;
use crate::store::{
    Consistency, Error, Lease, LeaseId, MemStore, Op, RangeReq, RangeResp, Reason, Revision,
    Status, Txn, TxnResp, WatchStream, codec, keys,
};

const HELLO: &str = "
    [task.hello]
    image = \"example.com/hello:1\"
    [service.hello]
    task = \"hello\"
    route = [\"hello.localhost/*\"]
    scale = { min = 0, max = 20 }
";

fn mem() -> Arc<dyn Store> {
    Arc::new(MemStore::new())
}

/// Work on a manifest whose images all stand for `content`.
fn work(text: &str, content: &str) -> Work {
    let manifest = spec::parse(text, Format::Toml).expect("a valid manifest");
    let digest = Digest::of(content.as_bytes());
    let digests = manifest.tasks.keys().map(|name| (name.clone(), digest)).collect();
    Work { manifest, digests, dry_run: false, now_ms: 7 }
}

fn changes(applied: &Applied) -> Vec<(String, Change)> {
    let tasks = applied.tasks.iter().map(|task| (task.id.clone(), task.change));
    let services = applied.services.iter().map(|s| (s.name.clone(), s.change));
    tasks.chain(services).collect()
}

fn pairs(expected: &[(&str, Change)]) -> Vec<(String, Change)> {
    expected.iter().map(|(name, change)| ((*name).to_owned(), *change)).collect()
}

#[tokio::test]
async fn what_is_new_is_created_once() {
    let store = mem();
    let first = apply(&store, &work(HELLO, "a")).await.expect("applied");
    assert_eq!(changes(&first), pairs(&[("hello:1", Change::Created), ("hello", Change::Created)]));
    assert_eq!((first.services[0].generation, first.services[0].task.as_str()), (1, "hello:1"));
    let again = apply(&store, &work(HELLO, "a")).await.expect("applied");
    assert_eq!(
        changes(&again),
        pairs(&[("hello:1", Change::Unchanged), ("hello", Change::Unchanged)])
    );
    assert_eq!(again.revision, first.revision, "nothing was written");
}

#[tokio::test]
async fn a_tag_that_moved_is_a_new_revision() {
    let store = mem();
    apply(&store, &work(HELLO, "a")).await.expect("applied");
    let moved = apply(&store, &work(HELLO, "b")).await.expect("applied");
    assert_eq!(changes(&moved), pairs(&[("hello:2", Change::Created), ("hello", Change::Updated)]));
    assert_eq!(moved.services[0].changes, ["task hello:1 → hello:2"]);
    assert_eq!(moved.services[0].generation, 2);
}

#[tokio::test]
async fn changes_are_told_in_words_and_a_dry_run_writes_nothing() {
    let store = mem();
    apply(&store, &work(HELLO, "a")).await.expect("applied");
    let text = HELLO.replace("20", "30").replace("hello.localhost/*", "hi.localhost/api");
    let dry = Work { dry_run: true, ..work(&text, "a") };
    let applied = apply(&store, &dry).await.expect("decided");
    assert_eq!(
        applied.services[0].changes,
        ["scale.max 20 → 30", "route + hi.localhost/api/*", "route - hello.localhost/*"]
    );
    assert!(applied.dry_run);
    let real = apply(&store, &work(&text, "a")).await.expect("applied");
    assert_eq!((real.services[0].generation, real.services[0].change), (2, Change::Updated));
}

#[tokio::test]
async fn a_route_belongs_to_one_service() {
    let store = mem();
    apply(&store, &work(HELLO, "a")).await.expect("applied");
    let thief = HELLO.replace("service.hello", "service.thief");
    let failure = apply(&store, &work(&thief, "a")).await.expect_err("taken");
    assert_eq!((failure.status().as_u16(), failure.code()), (409, "route-conflict"));
    let problem = &failure.problems()[0];
    assert_eq!(problem.path, "service.thief.route");
    assert!(problem.message.contains("service hello"), "{problem}");
    // Within one manifest a route may move from one service to another.
    let moved =
        format!("{thief}\n[service.hello]\ntask = \"hello\"\nroute = [\"old.localhost/*\"]\n");
    apply(&store, &work(&moved, "a")).await.expect("both are in the manifest");
}

#[tokio::test]
async fn copies_go_to_somebody_who_is_there() {
    let store = mem();
    let with = |mirror: &str| format!("{HELLO}mirror = {{ {mirror} }}\n");
    let hint = async |mirror: &str| {
        let failure = apply(&store, &work(&with(mirror), "a")).await.expect_err(mirror);
        assert_eq!(failure.code(), "manifest-invalid");
        let problem = failure.problems()[0].clone();
        (problem.path, problem.hint.unwrap_or_default())
    };
    let (path, said) = hint("revision = 1").await;
    assert_eq!(path, "service.hello.mirror.revision");
    assert!(said.contains("leave `mirror` out"), "{said}");
    let (path, said) = hint("service = \"other\"").await;
    assert_eq!(path, "service.hello.mirror.service");
    assert!(said.contains("declare it: `[service.other]`"), "{said}");
    let both = format!("{}[service.other]\ntask = \"hello\"\n", with("service = \"other\""));
    apply(&store, &work(&both, "a")).await.expect("both are in the manifest");
    assert_eq!(hint("revision = 7").await.1, "revisions that are kept: 1");
    assert_eq!(hint("service = \"othr\"").await.1, "services that exist: other");
    let changed = apply(&store, &work(&with("revision = 1, percent = 5"), "a")).await;
    let changes = &changed.expect("applied").services[0].changes;
    assert_eq!(*changes, ["mirror 100% to service other → 5% to revision 1"]);
}

#[tokio::test]
async fn a_service_names_a_task_that_exists() {
    let store = mem();
    let service = "[service.web]\ntask = \"helo\"\n";
    let failure = apply(&store, &work(service, "a")).await.expect_err("unknown");
    assert_eq!(failure.code(), "manifest-invalid");
    assert!(failure.problems()[0].hint.as_deref().is_some_and(|h| h.contains("[task.helo]")));
    apply(&store, &work(HELLO, "a")).await.expect("applied");
    let failure = apply(&store, &work(service, "a")).await.expect_err("unknown");
    assert_eq!(failure.problems()[0].hint.as_deref(), Some("tasks that exist: hello"));
    let service = "[service.web]\ntask = \"hello\"\n";
    let applied = apply(&store, &work(service, "a")).await.expect("registered before");
    assert_eq!(applied.services[0].task, "hello:1");
}

#[tokio::test]
async fn a_large_manifest_takes_several_transactions() {
    let mut text = String::new();
    for n in 0..250 {
        text += &format!("[task.t{n}]\nimage = \"example.com/t:{n}\"\n");
        text += &format!("[service.s{n}]\ntask = \"t{n}\"\nroute = \"s{n}.localhost/*\"\n");
    }
    let store = mem();
    let applied = apply(&store, &work(&text, "a")).await.expect("applied");
    assert_eq!((applied.tasks.len(), applied.services.len(), applied.revision), (250, 250, 11));
    let again = apply(&store, &work(&text, "a")).await.expect("applied");
    assert!(changes(&again).iter().all(|(_, change)| *change == Change::Unchanged));
}

#[tokio::test]
async fn a_lost_race_is_run_again() {
    let store: Arc<dyn Store> = Arc::new(Rival::new(1, Verdict::Interfere));
    let applied = apply(&store, &work(HELLO, "a")).await.expect("the second round wins");
    assert_eq!(applied.tasks[0].id, "hello:2");
    let store: Arc<dyn Store> = Arc::new(Rival::new(usize::MAX, Verdict::Interfere));
    let failure = apply(&store, &work(HELLO, "a")).await.expect_err("an endless rival");
    assert_eq!((failure.status().as_u16(), failure.code()), (409, "conflict"));
}

#[tokio::test]
async fn an_unknown_outcome_is_read_back() {
    let store: Arc<dyn Store> = Arc::new(Rival::new(1, Verdict::Unknown));
    let applied = apply(&store, &work(HELLO, "a")).await.expect("it had happened");
    assert_eq!(
        changes(&applied),
        pairs(&[("hello:1", Change::Created), ("hello", Change::Created)])
    );
}

#[tokio::test]
async fn a_full_store_says_so() {
    let store: Arc<dyn Store> = Arc::new(MemStore::with_quota(0));
    let failure = apply(&store, &work(HELLO, "a")).await.expect_err("full");
    assert_eq!((failure.status().as_u16(), failure.code()), (507, "no-space"));
    assert_eq!(failure.to_string().lines().count(), 1);
    let reason = Error::from(Reason::Unavailable);
    assert_eq!(Failure::from(reason).code(), "state-unavailable");
}

enum Verdict {
    /// Registers a revision of `hello` before the write.
    Interfere,
    /// Writes, and does not say so.
    Unknown,
}

/// A store in which somebody else is faster, the first so many times.
struct Rival {
    inner: MemStore,
    left: AtomicUsize,
    verdict: Verdict,
}

impl Rival {
    fn new(times: usize, verdict: Verdict) -> Self {
        Self { inner: MemStore::new(), left: AtomicUsize::new(times), verdict }
    }

    async fn register(&self) {
        let range = RangeReq::prefix(keys::task_family("hello"));
        let found = self.inner.range(range, Consistency::Linearizable).await.expect("read");
        let revision = u32::try_from(found.kvs.len()).expect("few") + 1;
        let text = "[task.hello]\nimage = \"example.com/rival:1\"\n";
        let work = work(text, &revision.to_string());
        let decided = decide::decide(&work.manifest, &work.digests, &Registered::default(), 1);
        let mut definition = decided.expect("valid").definitions.remove(0).definition;
        definition.id.revision = revision;
        let key = keys::task_definition("hello", revision);
        let put = Op::put(key, codec::encode(&definition).expect("plain data"));
        self.inner.txn(Txn::of(vec![put])).await.expect("written");
    }
}

#[async_trait]
impl Store for Rival {
    async fn range(&self, req: RangeReq, consistency: Consistency) -> Result<RangeResp, Error> {
        self.inner.range(req, consistency).await
    }

    async fn txn(&self, txn: Txn) -> Result<TxnResp, Error> {
        let writes = txn.then.iter().any(|op| matches!(op, Op::Put { .. }));
        let strike = writes && self.left.load(Ordering::Relaxed) > 0;
        if strike {
            self.left.fetch_sub(1, Ordering::Relaxed);
        }
        match (strike, &self.verdict) {
            (false, _) => self.inner.txn(txn).await,
            (true, Verdict::Interfere) => {
                self.register().await;
                self.inner.txn(txn).await
            }
            (true, Verdict::Unknown) => {
                self.inner.txn(txn).await?;
                Err(Error::Unknown("the line went dead".to_owned()))
            }
        }
    }

    async fn watch(&self, prefix: bytes::Bytes, from: Revision) -> Result<WatchStream, Error> {
        self.inner.watch(prefix, from).await
    }

    async fn lease_grant(&self, ttl: Duration) -> Result<Lease, Error> {
        self.inner.lease_grant(ttl).await
    }

    async fn lease_keepalive(&self, id: LeaseId) -> Result<Duration, Error> {
        self.inner.lease_keepalive(id).await
    }

    async fn lease_revoke(&self, id: LeaseId) -> Result<(), Error> {
        self.inner.lease_revoke(id).await
    }

    async fn compact(&self, before: Revision) -> Result<(), Error> {
        self.inner.compact(before).await
    }

    async fn status(&self) -> Result<Status, Error> {
        self.inner.status().await
    }
}
