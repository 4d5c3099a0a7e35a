//! Says that the node serves: in the log, in the ready file, and to the service manager.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use sd_notify::NotifyState;

use crate::config::NodeConfig;

use super::error::ServeError;

/// Where the node serves.
pub(super) struct Addresses {
    pub(super) http: SocketAddr,
    pub(super) https: Option<SocketAddr>,
    pub(super) api: SocketAddr,
}

impl Addresses {
    /// All of them.
    pub(super) fn all(&self) -> Vec<SocketAddr> {
        [self.http, self.api].into_iter().chain(self.https).collect()
    }
}

/// Makes sure that the ready file can be written: whoever waits for it must not learn late that it
/// cannot come.
pub(super) fn check(config: &NodeConfig) -> Result<(), ServeError> {
    config.ready_file.as_deref().map_or(Ok(()), |path| draft_beside(path).map(drop))
}

/// Takes the word back.
pub(super) fn forget(config: &NodeConfig) {
    if let Some(path) = &config.ready_file {
        let _ = std::fs::remove_file(path);
    }
}

pub(super) fn say(config: &NodeConfig, addresses: &Addresses) -> Result<(), ServeError> {
    let Addresses { http, https, api } = addresses;
    let tls = https.map(tracing::field::display);
    let data_dir = config.data_dir.display();
    tracing::info!(%http, https = tls, %api, %data_dir, "the node serves");
    if let Some(path) = &config.ready_file {
        let mut ready = serde_json::json!({ "http": http, "api": api, "pid": std::process::id() });
        if let Some(https) = https {
            ready["https"] = https.to_string().into();
        }
        let failed = |source| ServeError::ReadyFile { path: path.clone(), source };
        let mut temp = draft_beside(path)?;
        writeln!(temp, "{ready}").map_err(failed)?;
        temp.persist(path).map(drop).map_err(|error| failed(error.error))?;
    }
    tell_manager(NotifyState::Ready);
    Ok(())
}

/// Tells systemd, if it has started the node and asked for it (`Type=notify`).
pub(super) fn tell_manager(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "the service manager cannot be told how the node fares");
    }
}

/// A file that may become the ready file.
fn draft_beside(path: &Path) -> Result<tempfile::NamedTempFile, ServeError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let made = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")));
    made.map_err(|source| ServeError::ReadyFile { path: path.to_owned(), source })
}
