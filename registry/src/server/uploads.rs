//! Uploads in progress. Bookkeeping only; time is an argument.
//!
//! *Invariant:* at most [`UPLOADS_MAX`] exist at once, and an upload that nobody continued for
//! [`UPLOAD_IDLE_MAX`] is gone, with its temporary file, at the latest when the next begins.
//!
//! *Invariant:* uploads that were begun and left keep nobody out: the one that rested longest
//! makes room. One that is being written is never ended for another.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crate::content::Writer;

/// How many uploads may be in progress: with the largest blobs, 4 GiB of temporary files, and
/// as many of the runtime's blocking threads, of which it has 512.
pub(super) const UPLOADS_MAX: usize = 64;

/// How long an upload may rest.
pub(super) const UPLOAD_IDLE_MAX: Duration = Duration::from_secs(3600);

/// The length of an upload's name in random bytes: it cannot be guessed.
const ID_BYTES: usize = 16;

/// All uploads in progress, by their names.
#[derive(Default)]
pub(super) struct Uploads {
    sessions: Mutex<HashMap<String, Arc<Session>>>,
}

/// One upload in progress.
pub(super) struct Session {
    repository: String,
    /// Where the writer is between two bodies; `None` while one is being written.
    slot: Mutex<Option<Writer>>,
    touched: Mutex<SystemTime>,
}

/// There are too many uploads, all of them being written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Uploads {
    /// Begins an upload; returns its name.
    pub(super) fn begin(
        &self,
        repository: &str,
        writer: Writer,
        now: SystemTime,
    ) -> Result<String, Full> {
        let mut sessions = self.sessions();
        sessions.retain(|_, session| !session.is_stale(now));
        if sessions.len() >= UPLOADS_MAX {
            let id = longest_at_rest(&sessions).ok_or(Full)?;
            tracing::info!(repository = sessions[&id].repository, "a resting upload made room");
            sessions.remove(&id);
        }
        let id = random_id();
        let session = Session {
            repository: repository.to_owned(),
            slot: Mutex::new(Some(writer)),
            touched: Mutex::new(now),
        };
        sessions.insert(id.clone(), Arc::new(session));
        Ok(id)
    }

    /// Ends the uploads that nobody continued.
    pub(super) fn expire(&self, now: SystemTime) {
        self.sessions().retain(|_, session| !session.is_stale(now));
    }

    /// The upload with this name in this repository, which counts as continued.
    pub(super) fn get(&self, repository: &str, id: &str, now: SystemTime) -> Option<Arc<Session>> {
        let mut sessions = self.sessions();
        let session = sessions.get(id).filter(|session| session.repository == repository)?.clone();
        if session.is_stale(now) {
            sessions.remove(id);
            return None;
        }
        *lock(&session.touched) = now;
        Some(session)
    }

    /// Ends the upload; its temporary file goes with its last user.
    pub(super) fn remove(&self, id: &str) {
        self.sessions().remove(id);
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<String, Arc<Session>>> {
        lock(&self.sessions)
    }
}

impl Session {
    /// How many bytes have arrived; `None` while more are arriving.
    pub(super) fn written_bytes(&self) -> Option<u64> {
        lock(&self.slot).as_ref().map(Writer::written_bytes)
    }

    /// Takes the writer, if nobody is writing.
    pub(super) fn take(&self) -> Option<Writer> {
        lock(&self.slot).take()
    }

    /// Gives the writer back. The upload rests from now on.
    pub(super) fn put_back(&self, writer: Writer, now: SystemTime) {
        *lock(&self.touched) = now;
        *lock(&self.slot) = Some(writer);
    }

    fn is_at_rest(&self) -> bool {
        lock(&self.slot).is_some()
    }

    fn is_stale(&self, now: SystemTime) -> bool {
        now.duration_since(*lock(&self.touched)).is_ok_and(|idle| idle > UPLOAD_IDLE_MAX)
    }
}

fn longest_at_rest(sessions: &HashMap<String, Arc<Session>>) -> Option<String> {
    let resting = sessions.iter().filter(|(_, session)| session.is_at_rest());
    let oldest = resting.min_by_key(|(id, session)| (*lock(&session.touched), (*id).clone()));
    oldest.map(|(id, _)| id.clone())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn random_id() -> String {
    let mut bytes = [0; ID_BYTES];
    let random = rustls::crypto::ring::default_provider().secure_random;
    // The system's randomness fails only where nothing else works either; an id of zeros is
    // then still one that works, for one upload at a time.
    let _ = random.fill(&mut bytes);
    hex::encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::ContentStore;

    fn temporary_files(dir: &tempfile::TempDir) -> usize {
        std::fs::read_dir(dir.path().join("sha256")).expect("the folder").count()
    }

    #[test]
    fn uploads_are_bounded_and_stale_ones_go_with_their_files() {
        let dir = tempfile::tempdir().expect("a scratch folder");
        let store = ContentStore::open(dir.path(), u64::MAX).expect("a store");
        let uploads = Uploads::default();
        let now = crate::clock::now();
        let begin = |now| uploads.begin("a", store.writer(None, 10).expect("a writer"), now);
        let ids: Vec<_> = (0..UPLOADS_MAX).map(|_| begin(now).expect("room")).collect();
        let almost = now + UPLOAD_IDLE_MAX;
        assert!(uploads.get("a", &ids[0], almost).is_some());
        assert!(uploads.get("b", &ids[0], almost).is_none());
        let later = almost + Duration::from_secs(1);
        assert!(uploads.get("a", &ids[1], later).is_none());
        begin(later).expect("the stale ones made room");
        assert!(uploads.get("a", &ids[0], later).is_some());
        assert_eq!(temporary_files(&dir), 2);
        uploads.expire(later + UPLOAD_IDLE_MAX * 2);
        assert_eq!(temporary_files(&dir), 0);
    }

    #[test]
    fn the_upload_that_rested_longest_makes_room_and_none_that_is_written() {
        let dir = tempfile::tempdir().expect("a scratch folder");
        let store = ContentStore::open(dir.path(), u64::MAX).expect("a store");
        let uploads = Uploads::default();
        let start = crate::clock::now();
        let at = |second: usize| start + Duration::from_secs(second as u64);
        let begin = |now| uploads.begin("a", store.writer(None, 10).expect("a writer"), now);
        let get = |id: &String, now| uploads.get("a", id, now);
        let ids: Vec<_> = (0..UPLOADS_MAX).map(|n| begin(at(n)).expect("room")).collect();
        // The first is being written, and the second was continued.
        let written = get(&ids[0], at(0)).expect("known");
        let writer = written.take().expect("at rest");
        get(&ids[1], at(100)).expect("known");
        let next = begin(at(100)).expect("the third makes room");
        assert!(get(&ids[2], at(101)).is_none());
        assert_eq!(temporary_files(&dir), UPLOADS_MAX);
        let kept = [&ids[0], &ids[1], &ids[3], &next].map(|id| get(id, at(101)).is_some());
        assert_eq!(kept, [true; 4]);
        // When it rests it is the youngest.
        written.put_back(writer, at(200));
        let others: Vec<_> = (1..UPLOADS_MAX).map(|_| begin(at(300)).expect("room")).collect();
        assert!(get(&ids[0], at(300)).is_some());
        let all = others.iter().chain([&ids[0]]);
        let _writers: Vec<_> = all.map(|id| get(id, at(300)).expect("known").take()).collect();
        assert_eq!(begin(at(300)), Err(Full));
    }
}
