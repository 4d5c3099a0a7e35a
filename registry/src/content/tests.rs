//! Tests of the content store.

use super::*;

const ROOMY: u64 = 1 << 20;

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().expect("a scratch folder")
}

fn open(dir: &tempfile::TempDir, max_bytes: u64) -> ContentStore {
    ContentStore::open(dir.path(), max_bytes).expect("the store opens")
}

fn files(dir: &tempfile::TempDir) -> usize {
    fs::read_dir(dir.path().join("sha256")).expect("the folder").count()
}

#[test]
fn what_was_written_is_read_back_also_after_reopening() {
    let dir = scratch();
    let stored = open(&dir, ROOMY).put(b"hello").expect("written");
    assert_eq!((stored.digest, stored.size_bytes), (Digest::of(b"hello"), 5));
    let store = open(&dir, ROOMY);
    assert!(store.contains(&stored.digest));
    assert_eq!(store.read(&stored.digest).expect("readable").as_deref(), Some(&b"hello"[..]));
    assert_eq!(store.read(&Digest::of(b"other")).expect("no error"), None);
    assert_eq!(store.usage().used_bytes, 5);
}

#[test]
fn a_lying_digest_leaves_nothing() {
    let dir = scratch();
    let store = open(&dir, ROOMY);
    let mut writer = store.writer(Some(Digest::of(b"promised")), ROOMY).expect("a writer");
    writer.write(b"delivered").expect("fits");
    assert!(matches!(writer.commit(), Err(Error::DigestMismatch { .. })));
    assert_eq!(files(&dir), 0);
    assert_eq!(store.usage(), Usage { blobs: 0, used_bytes: 0, pinned_bytes: 0, max_bytes: ROOMY });
}

#[test]
fn a_write_stops_at_its_limit_and_at_the_bound_of_the_store() {
    let dir = scratch();
    let store = open(&dir, 10);
    let mut writer = store.writer(None, 4).expect("a writer");
    writer.write(b"1234").expect("fits");
    assert!(matches!(writer.write(b"5"), Err(Error::TooLarge { max_bytes: 4 })));
    drop(writer);
    let mut writer = store.writer(None, 100).expect("a writer");
    assert!(matches!(writer.write(&[0; 11]), Err(Error::LargerThanStore { max_bytes: 10 })));
    drop(writer);
    assert_eq!(files(&dir), 0);
}

#[test]
fn the_least_recently_used_goes_first_and_a_pinned_one_never() {
    let dir = scratch();
    let store = open(&dir, 12);
    let [a, b, c] = [b"aaaa", b"bbbb", b"cccc"].map(|x| store.put(x).expect("fits").digest);
    store.get(&a).expect("readable");
    let pin = store.pin(&b);
    let again = pin.clone();
    drop(pin);
    store.put(b"dddd").expect("c makes room");
    assert!(store.contains(&a) && store.contains(&b) && !store.contains(&c));
    store.put(b"eeeeeeee").expect("a and d make room");
    assert!(store.contains(&b) && !store.contains(&a));
    let pinned = store.pin(&Digest::of(b"eeeeeeee"));
    assert!(matches!(store.put(b"f"), Err(Error::Full { needed_bytes: 1, .. })));
    drop((again, pinned));
    store.put(b"f").expect("now there is room");
    assert!(store.usage().used_bytes <= 12);
}

#[test]
fn a_pin_may_come_before_its_blob() {
    let dir = scratch();
    let store = open(&dir, 4);
    let pin = store.pin(&Digest::of(b"aaaa"));
    drop(store.put(b"aaaa").expect("fits"));
    assert!(store.put(b"b").is_err());
    drop(pin);
    store.put(b"b").expect("fits");
}

#[test]
fn reopening_with_a_smaller_bound_evicts() {
    let dir = scratch();
    let store = open(&dir, ROOMY);
    for content in [b"aaaa", b"bbbb", b"cccc"] {
        store.put(content).expect("fits");
    }
    assert_eq!(open(&dir, 5).usage().blobs, 1);
}

#[test]
fn leftovers_go_and_live_writers_stay() {
    let dir = scratch();
    let store = open(&dir, ROOMY);
    fs::write(dir.path().join("sha256").join(".tmp-crashed"), b"half").expect("written");
    let mut live = store.writer(None, ROOMY).expect("a writer");
    live.write(b"in flight").expect("fits");
    let second = open(&dir, ROOMY);
    assert_eq!(files(&dir), 1);
    live.commit().expect("the live writer was not disturbed");
    assert_eq!(second.usage().blobs, 0);
    assert!(second.get(&Digest::of(b"in flight")).expect("readable").is_some());
}

#[test]
fn a_blob_that_is_written_again_replaces_a_damaged_one() {
    let dir = scratch();
    let store = open(&dir, 8);
    let digest = store.put(b"good").expect("written").digest;
    let open = store.get(&digest).expect("readable").expect("here");
    for damage in [&b"evil"[..], b"", b"longer than before"] {
        fs::write(store.path(&digest), damage).expect("damaged");
        store.put(b"good").expect("written again");
        assert!(store.check(&digest).expect("readable"));
        assert_eq!((store.usage().blobs, store.usage().used_bytes), (1, 4));
    }
    drop(open);
    fs::write(store.path(&digest), b"evil").expect("damaged");
    assert!(!store.check(&digest).expect("readable"));
    assert!(!store.contains(&digest) && files(&dir) == 0);
    assert!(!store.check(&digest).expect("gone"));
}

#[test]
fn a_damaged_blob_is_reported_and_removed() {
    let dir = scratch();
    let store = open(&dir, ROOMY);
    let digest = store.put(b"good").expect("written").digest;
    fs::write(store.path(&digest), b"evil").expect("damaged");
    assert!(matches!(store.read(&digest), Err(Error::Corrupt { .. })));
    assert_eq!(store.read(&digest).expect("gone"), None);
}

#[test]
fn a_full_disk_has_its_own_error() {
    let full = Error::at(Path::new("/x"), std::io::Error::from_raw_os_error(28));
    assert!(matches!(full, Error::NoSpace { .. }) && full.is_retryable());
    let other = Error::at(Path::new("/x"), std::io::Error::from_raw_os_error(13));
    assert!(matches!(other, Error::Io { .. }) && !other.is_retryable());
}

#[test]
fn writers_of_the_same_content_do_not_disturb_each_other() {
    let dir = scratch();
    let store = open(&dir, ROOMY);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| store.put(b"same").expect("written"));
        }
    });
    assert_eq!((store.usage().blobs, store.usage().used_bytes, files(&dir)), (1, 4, 1));
}
