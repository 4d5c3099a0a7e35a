//! Files that are not what was written, and files that somebody else has open.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use tempfile::TempDir;
use wharf::store::{Batch, LEASE_TTL_MIN, Op, OpenError, SqliteOptions, SqliteStore, Store};

use super::harness::{delete, open, options, put, sqlite, txn};
use super::reopen::dump;

/// Random places that are flipped, beside every byte of the header.
const FLIPS: usize = 300;

#[tokio::test]
async fn a_flipped_bit_is_refused_or_harmless() {
    let (bytes, expected) = sample().await;
    let mut rng = SplitMix(1);
    let header = 0..100;
    let places = header.chain((0..FLIPS).map(|_| rng.below(bytes.len()))).collect::<Vec<_>>();
    let mut refused = 0;
    for place in places {
        let mut flipped = bytes.clone();
        flipped[place] ^= 1 << rng.below(8);
        let dir = folder_with(&flipped);
        match SqliteStore::open(options(&dir)).await {
            Ok(store) => assert_eq!(dump(&store).await, expected, "byte {place}"),
            Err(error) => {
                refused += 1;
                assert_untouched(&dir, &flipped, &error);
            }
        }
    }
    assert!(refused > FLIPS / 2, "only {refused} flips were noticed");
}

#[tokio::test]
async fn a_truncated_file_is_refused() {
    let (bytes, _) = sample().await;
    let lengths = [0, 1, 15, 16, 50, 99, 100, 511, 4095, 4096, 4097, 8192, bytes.len() / 2];
    for length in lengths.into_iter().chain([bytes.len() - 4096, bytes.len() - 1]) {
        let dir = folder_with(&bytes[..length]);
        let error = SqliteStore::open(options(&dir)).await.expect_err("a truncated file");
        assert!(matches!(error, OpenError::Corrupt { .. }), "{length} bytes: {error:?}");
        assert_untouched(&dir, &bytes[..length], &error);
    }
}

#[tokio::test]
async fn what_is_not_a_database_is_refused() {
    let text = b"This is a text of somebody who would be sad to lose it.\n".repeat(100);
    let dir = folder_with(&text);
    let error = SqliteStore::open(options(&dir)).await.expect_err("a text");
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error:?}");
    assert_untouched(&dir, &text, &error);
}

#[tokio::test]
async fn a_foreign_database_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let conn = rusqlite::Connection::open(path(&dir)).expect("a database");
    conn.execute_batch("CREATE TABLE songs (title TEXT)").expect("a table");
    drop(conn);
    let bytes = std::fs::read(path(&dir)).expect("the file");
    let error = SqliteStore::open(options(&dir)).await.expect_err("a foreign database");
    assert!(matches!(error, OpenError::NotAStore { .. }), "{error:?}");
    assert_untouched(&dir, &bytes, &error);
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let (store, dir) = sqlite().await;
    drop(store);
    let conn = rusqlite::Connection::open(path(&dir)).expect("a database");
    conn.pragma_update(None, "user_version", 99).expect("a new version");
    drop(conn);
    let error = SqliteStore::open(options(&dir)).await.expect_err("a newer schema");
    assert!(matches!(error, OpenError::NewerSchema { found: 99, .. }), "{error:?}");
    assert!(error.to_string().contains("schema 99"), "{error}");
}

#[tokio::test]
async fn a_row_that_somebody_deleted_is_missed() {
    let (store, dir) = sqlite().await;
    put(&store, "a", "1").await;
    let newest = put(&store, "b", "1").await;
    // Below the compaction revisions have gaps anyway: only the digest knows of the row.
    store.compact(newest).await.expect("compacts");
    drop(store);
    let conn = rusqlite::Connection::open(path(&dir)).expect("a database");
    conn.execute("DELETE FROM log WHERE key = CAST('a' AS BLOB)", []).expect("a row less");
    drop(conn);
    let error = SqliteStore::open(options(&dir)).await.expect_err("a row less");
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error:?}");
}

#[tokio::test]
async fn a_log_without_its_database_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let wal = dir.path().join("store.db-wal");
    std::fs::write(&wal, b"the last writes").expect("a file");
    let error = SqliteStore::open(options(&dir)).await.expect_err("half a database");
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error:?}");
    assert_eq!(std::fs::read(wal).expect("still there"), b"the last writes");
}

#[tokio::test]
async fn a_folder_that_does_not_exist_is_an_error() {
    let options = SqliteOptions::new("/nonexistent/folder/store.db");
    let error = SqliteStore::open(options).await.expect_err("no folder");
    assert!(matches!(error, OpenError::Io { .. }), "{error:?}");
}

#[tokio::test]
async fn only_one_can_open_it() {
    let (store, dir) = sqlite().await;
    put(&store, "a", "1").await;
    let error = SqliteStore::open(options(&dir)).await.expect_err("it is open");
    let me = std::process::id();
    assert!(matches!(error, OpenError::Locked { pid: Some(pid), .. } if pid == me), "{error:?}");
    assert!(error.to_string().contains(&format!("process {me}")), "{error}");
    put(&store, "a", "2").await;
    drop(store);
    open(&dir).await;
}

#[tokio::test]
async fn others_cannot_read_the_files() {
    let (store, dir) = sqlite().await;
    put(&store, "a", "1").await;
    let mode = |path: PathBuf| {
        let metadata = std::fs::metadata(path).expect("the file is there");
        metadata.permissions().mode() & 0o777
    };
    for entry in std::fs::read_dir(dir.path()).expect("a folder") {
        let path = entry.expect("an entry").path();
        assert_eq!(mode(path.clone()), 0o600, "{}", path.display());
    }
    drop(store);
    std::fs::set_permissions(path(&dir), PermissionsExt::from_mode(0o644)).expect("wider");
    let _store = open(&dir).await;
    assert_eq!(mode(path(&dir)), 0o600, "opening tightens it");
}

/// A closed store with a bit of everything: its file, and what it says.
async fn sample() -> (Vec<u8>, Vec<Batch>) {
    let (store, dir) = sqlite().await;
    let lease = store.lease_grant(LEASE_TTL_MIN * 1000).await.expect("a lease").id;
    for n in 0..40 {
        put(&store, &format!("key/{}", n % 25), &"v".repeat(n * 37)).await;
    }
    put(&store, "large", &"l".repeat(30_000)).await;
    txn(&store, vec![Op::put_leased("leased", "x", lease), Op::delete("key/3")]).await;
    delete(&store, "key/4").await;
    let batches = dump(&store).await;
    drop(store);
    (std::fs::read(path(&dir)).expect("the file"), batches)
}

fn path(dir: &TempDir) -> PathBuf {
    options(dir).path
}

fn folder_with(bytes: &[u8]) -> TempDir {
    let dir = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(path(&dir), bytes).expect("a copy");
    dir
}

/// What is refused is left as it is, and the message says what to do.
fn assert_untouched(dir: &TempDir, bytes: &[u8], error: &OpenError) {
    assert!(error.to_string().contains("hint: "), "{error}");
    let now = std::fs::read(path(dir)).expect("the file is still there");
    assert!(now == bytes, "the file was changed; {error}");
}

/// SplitMix64 (Steele, Lea and Flood, 2014): the same places in every run.
struct SplitMix(u64);

impl SplitMix {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % end as u64) as usize
    }
}
