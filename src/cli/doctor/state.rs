//! What an earlier node left in the data folder.

use std::path::Path;

use crate::store::{OpenError, SqliteOptions, SqliteStore};

use super::Check;

const NAME: &str = "state";

/// Opens the state as a node does when it starts, if there is one.
pub(super) async fn check(folder: &Path) -> Option<Check> {
    let path = folder.join("state.db");
    if !path.exists() {
        return None;
    }
    let shown = path.display().to_string();
    match SqliteStore::open(SqliteOptions::new(path)).await {
        Ok(_) => Some(Check::ok(NAME, format!("{shown} can be read"))),
        Err(OpenError::Locked { pid, .. }) => {
            let holder = pid.map_or_else(|| "a node".to_owned(), |pid| format!("process {pid}"));
            Some(Check::ok(NAME, format!("{shown} is in use by {holder}")))
        }
        Err(error) => Some(broken(&error)),
    }
}

fn broken(error: &OpenError) -> Check {
    let text = error.to_string();
    let (message, hint) = text.split_once("\nhint: ").unwrap_or((&text, "see the node's log"));
    let cause = std::error::Error::source(error).map_or(String::new(), |e| format!(": {e}"));
    Check::fail(NAME, format!("{message}{cause}"), hint)
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[tokio::test]
    async fn good_and_damaged_states_are_told_apart_and_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state.db");
        assert_eq!(check(folder.path()).await, None);
        assert!(!path.exists(), "looking makes nothing");
        let store = SqliteStore::open(SqliteOptions::new(&path)).await.expect("made");
        let verdict = async || check(folder.path()).await.expect("there").verdict;
        assert_eq!(verdict().await, Verdict::Ok, "in use");
        drop(store);
        assert_eq!(verdict().await, Verdict::Ok);
        std::fs::write(&path, "no database").expect("written");
        let found = check(folder.path()).await.expect("there");
        assert_eq!(found.verdict, Verdict::Fail);
        assert!(found.hint.expect("a hint").contains("restore the file"), "{}", found.detail);
        assert_eq!(std::fs::read(&path).expect("readable"), b"no database");
    }
}
