//! Removes what nobody refers to.
//!
//! A client uploads blobs first and the manifest that names them last, and it skips blobs
//! that it was told are there. So a blob that a client was told of within the last hour is
//! kept, whether or not a manifest names it.
//!
//! *Invariant:* nothing that a manifest of any repository refers to is removed.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use super::storage::{Result, Storage};
use crate::digest::Digest;

/// How long a blob waits for its manifest: longer than any push takes.
pub(super) const GRACE: Duration = Duration::from_secs(3600);

/// Marks what is referred to and removes the rest. Reads every manifest: a registry of this
/// kind has some thousand, and deletes seldom.
pub(super) fn collect(storage: &Storage, now: SystemTime) -> Result<()> {
    let _gate = storage.collecting();
    let mut kept = BTreeSet::new();
    for repository in storage.all_repositories()? {
        let referenced = referenced(storage, &repository)?;
        for (digest, told) in storage.blob_links(&repository)? {
            if referenced.contains(&digest) || is_recent(told, now) {
                kept.insert(digest);
            } else {
                storage.unlink_blob(&repository, &digest)?;
            }
        }
        kept.extend(referenced);
        storage.remove_if_empty(&repository);
    }
    let mut removed = 0;
    for digest in storage.blobs.digests() {
        if !kept.contains(&digest) {
            storage.blobs.remove(&digest)?;
            removed += 1;
        }
    }
    if removed > 0 {
        tracing::info!(removed, "collected blobs that nothing refers to");
    }
    Ok(())
}

/// The manifests of a repository and all that they name.
fn referenced(storage: &Storage, repository: &str) -> Result<BTreeSet<Digest>> {
    let mut referenced = BTreeSet::new();
    for manifest in storage.manifests(repository)? {
        referenced.insert(manifest);
        if let Some(document) = storage.document(repository, &manifest)? {
            referenced.extend(document.references());
        }
    }
    Ok(referenced)
}

/// A time in the future is a clock that was set back: recent as well.
fn is_recent(told: SystemTime, now: SystemTime) -> bool {
    now.duration_since(told).map_or(true, |age| age < GRACE)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::document::Document;
    use super::super::storage::Put;
    use super::*;

    struct Case {
        storage: Storage,
        _dir: tempfile::TempDir,
    }

    fn case() -> Case {
        let dir = tempfile::tempdir().expect("a scratch folder");
        Case { storage: Storage::open(dir.path()).expect("opens"), _dir: dir }
    }

    impl Case {
        fn blob(&self, repository: &str, content: &[u8]) -> Digest {
            let mut writer = self.storage.blobs.writer(None, 100).expect("a writer");
            writer.write(content).expect("fits");
            self.storage.commit_blob(repository, writer).expect("stored")
        }

        fn manifest(&self, repository: &str, blobs: &[Digest]) -> Digest {
            let layers: Vec<_> = blobs.iter().map(|digest| json!({"digest": digest})).collect();
            let manifest = json!({"schemaVersion": 2, "artifactType": "x/y", "layers": layers});
            let content = manifest.to_string().into_bytes();
            let document = Document::parse(&content, None).expect("sound");
            let put = self.storage.put_manifest(repository, Some("t"), &document, &content);
            assert!(matches!(put.expect("stored"), Put::Done));
            Digest::of(&content)
        }

        fn collect_in(&self, seconds: u64) {
            let now = crate::clock::now() + Duration::from_secs(seconds);
            collect(&self.storage, now).expect("collected");
        }
    }

    #[test]
    fn a_blob_waits_an_hour_for_its_manifest() {
        let case = case();
        let digest = case.blob("a", b"blob");
        case.collect_in(GRACE.as_secs() - 60);
        assert!(case.storage.has_blob("a", &digest));
        case.collect_in(GRACE.as_secs() + 60);
        assert!(!case.storage.blobs.contains(&digest));
        assert!(!case.storage.has_repository("a"));
    }

    #[test]
    fn what_any_manifest_names_stays_and_the_rest_goes_with_its_last_manifest() {
        let case = case();
        let (shared, own) = (case.blob("a", b"shared"), case.blob("a", b"own"));
        assert!(case.storage.mount_blob("a", "b", &shared).expect("mounted"));
        let (first, second) = (case.manifest("a", &[shared, own]), case.manifest("b", &[shared]));
        let later = GRACE.as_secs() + 60;
        case.collect_in(later);
        assert!(case.storage.has_blob("a", &own) && case.storage.has_manifest("a", &first));
        assert!(case.storage.delete_manifest("a", &first).expect("deleted"));
        assert_eq!(case.storage.tags("a").expect("readable"), [""; 0]);
        case.collect_in(later);
        assert!(!case.storage.blobs.contains(&own) && !case.storage.blobs.contains(&first));
        assert!(!case.storage.has_blob("a", &shared));
        assert!(case.storage.has_blob("b", &shared) && case.storage.has_manifest("b", &second));
    }

    #[test]
    fn a_blob_that_a_client_was_told_of_is_as_good_as_new() {
        let case = case();
        let digest = case.blob("a", b"blob");
        let told = crate::clock::now() + Duration::from_secs(7200);
        case.storage.touch_blob("a", &digest, told);
        case.collect_in(7200 + 60);
        assert!(case.storage.has_blob("a", &digest));
    }

    #[test]
    fn damage_to_one_manifest_stops_nothing() {
        let case = case();
        let manifest = case.manifest("a", &[case.blob("a", b"x")]);
        std::fs::write(case.storage.blobs.path(&manifest), b"damaged").expect("written");
        let sound = case.manifest("b", &[]);
        case.collect_in(0);
        assert!(!case.storage.has_manifest("a", &manifest));
        assert!(case.storage.has_manifest("b", &sound));
    }
}
