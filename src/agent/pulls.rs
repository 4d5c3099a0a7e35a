//! How far the images are that are being pulled, for whoever asks this node.
//!
//! Chunks come far too often for the store: this is in memory, and gone when the pull has ended.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use registry::{Digest, Progress};

use crate::model::Name;

/// The pulls of this node, by service. Cheap to clone.
#[derive(Clone, Default)]
pub struct Pulls(Arc<Mutex<HashMap<Name, Blobs>>>);

/// How far each blob of a pull is.
type Blobs = Arc<Mutex<BTreeMap<Digest, Pulled>>>;

/// How far a pull is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pulled {
    /// Bytes that are here.
    pub done_bytes: u64,
    /// Bytes of all blobs that are known of. Layers of a container image become known one after
    /// the other.
    pub total_bytes: u64,
}

impl Pulls {
    /// How far the image of a service is, if bytes of it are being pulled.
    pub fn get(&self, service: &Name) -> Option<Pulled> {
        let blobs = self.0.lock().get(service).cloned()?;
        let sum = blobs.lock().values().fold(Pulled::default(), |sum, blob| Pulled {
            done_bytes: sum.done_bytes + blob.done_bytes,
            total_bytes: sum.total_bytes + blob.total_bytes,
        });
        (sum.total_bytes > 0).then_some(sum)
    }

    /// Begins to follow a pull, which ends when the returned value is dropped.
    pub(super) fn begin(&self, service: &Name) -> Pull {
        let blobs = Blobs::default();
        self.0.lock().insert(service.clone(), Arc::clone(&blobs));
        Pull { pulls: self.clone(), service: service.clone(), blobs }
    }
}

/// A pull that is under way.
pub(super) struct Pull {
    pulls: Pulls,
    service: Name,
    blobs: Blobs,
}

impl Pull {
    /// Takes what the registry client reports.
    pub(super) fn report(&self, progress: Progress) {
        let (digest, done_bytes, total_bytes) = match progress {
            Progress::Blob { digest, done_bytes, total_bytes } => (digest, done_bytes, total_bytes),
            Progress::Present { digest, total_bytes } => (digest, total_bytes, total_bytes),
            _ => return,
        };
        self.blobs.lock().insert(digest, Pulled { done_bytes, total_bytes });
    }
}

impl Drop for Pull {
    fn drop(&mut self) {
        let mut pulls = self.pulls.0.lock();
        // The pull of a newer grant may have begun before this one noticed that it was stopped.
        if pulls.get(&self.service).is_some_and(|blobs| Arc::ptr_eq(blobs, &self.blobs)) {
            pulls.remove(&self.service);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_add_up_and_nothing_is_left_of_a_pull_that_ended() {
        let (pulls, service) = (Pulls::default(), "web".parse().expect("a name"));
        assert_eq!(pulls.get(&service), None);
        let pull = pulls.begin(&service);
        assert_eq!(pulls.get(&service), None, "nothing is known yet");
        let (first, second) = (Digest::of(b"1"), Digest::of(b"2"));
        pull.report(Progress::Present { digest: first, total_bytes: 5 });
        for done_bytes in [1, 7] {
            pull.report(Progress::Blob { digest: second, done_bytes, total_bytes: 10 });
        }
        pull.report(Progress::Unpacking);
        assert_eq!(pulls.get(&service), Some(Pulled { done_bytes: 12, total_bytes: 15 }));
        let newer = pulls.begin(&service);
        newer.report(Progress::Present { digest: first, total_bytes: 5 });
        drop(pull);
        assert_eq!(pulls.get(&service), Some(Pulled { done_bytes: 5, total_bytes: 5 }));
        drop(newer);
        assert_eq!(pulls.get(&service), None);
    }
}
