//! Reads certificates again.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::shutdown::Shutdown;

use super::certificates::Certificates;
use super::files::Error;

/// How often files are read again: whoever renews certificates need not tell the node.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

impl Certificates {
    /// Listens for SIGHUP from now on. The future then looks at the files every few seconds, and
    /// at once when the signal comes.
    pub fn watch(
        self: Arc<Self>,
        shutdown: Shutdown,
    ) -> std::io::Result<impl Future<Output = ()> + Send> {
        let hangup = signal(SignalKind::hangup())?;
        Ok(async move {
            let _ = shutdown.unless_begun(self.look_again_and_again(hangup)).await;
        })
    }

    async fn look_again_and_again(self: Arc<Self>, mut hangup: Signal) {
        let mut said = None;
        loop {
            let asked = tokio::time::timeout(LOOK_INTERVAL, hangup.recv()).await.is_ok();
            let certificates = Arc::clone(&self);
            match tokio::task::spawn_blocking(move || certificates.reload()).await {
                Ok(Ok(changed)) => {
                    said = None;
                    if asked && !changed {
                        tracing::info!("the certificates are unchanged");
                    }
                }
                Ok(Err(error)) => complain(&error, asked, &mut said),
                Err(panic) => tracing::error!(%panic, "the certificates could not be read"),
            }
        }
    }
}

/// Says what is wrong with the files: once, and again whenever somebody asks.
fn complain(error: &Error, asked: bool, said: &mut Option<String>) {
    let reason = reason(error);
    if asked || said.as_ref() != Some(&reason) {
        let hint = error.hint();
        tracing::error!(
            reason,
            hint,
            "the changed certificates are refused; the earlier ones stay"
        );
        *said = Some(reason);
    }
}

/// The error with its causes.
fn reason(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
