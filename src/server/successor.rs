//! The process that takes over from this one.

use std::ffi::OsString;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use crate::clock;
use crate::listener::Role;

use super::ready;
use super::wire::{DONE, FILE, NO, SERVING, TAKE, Wire, YOURS};

/// Tells a process that it is to take over.
const TAKE_OVER: &str = "WHARF_TAKE_OVER";
/// How long accepting pauses after a failure.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(100);

/// Everything that listens for clients.
pub(super) type Sockets = Arc<Vec<(Role, TcpListener)>>;

/// Where a process knocks that takes over.
pub(super) struct Door {
    path: PathBuf,
    knocks: mpsc::Receiver<Successor>,
    answering: JoinHandle<()>,
}

impl Door {
    /// Opens the door in the data folder, in place of that of the process before.
    pub(super) fn open(data_dir: &Path, sockets: Sockets, wait: Duration) -> io::Result<Self> {
        let path = data_dir.join(FILE);
        let draft = path.with_extension("new");
        let _ = std::fs::remove_file(&draft);
        let listener = UnixListener::bind(&draft)?;
        std::fs::rename(&draft, &path)?;
        let (knock, knocks) = mpsc::channel(1);
        let answering = tokio::spawn(answer(listener, sockets, wait, knock));
        Ok(Self { path, knocks, answering })
    }

    /// Whoever is ready to take over.
    pub(super) async fn knock(&mut self) -> Successor {
        match self.knocks.recv().await {
            Some(successor) => successor,
            None => std::future::pending().await,
        }
    }

    /// Closes it. Where nobody has taken over, nobody finds a door any more.
    pub(super) async fn close(self, is_replaced: bool) {
        self.answering.abort();
        // With it go the sockets that it has to hand over.
        let _ = self.answering.await;
        if !is_replaced {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

async fn answer(
    listener: UnixListener,
    sockets: Sockets,
    wait: Duration,
    knock: mpsc::Sender<Successor>,
) {
    let mut talks = JoinSet::new();
    loop {
        while talks.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
            continue;
        };
        let (sockets, knock, mut wire) = (Arc::clone(&sockets), knock.clone(), Wire::new(stream));
        talks.spawn(async move {
            let greeted = async {
                wire.greet(&sockets, wait).await.ok()?;
                wire.hear().await.ok().flatten()
            };
            // A process that does not say what it wants has changed nothing yet.
            if tokio::time::timeout(wait, greeted).await.ok().flatten().as_deref() == Some(TAKE) {
                let _ = knock.send(Successor { wire }).await;
            }
        });
    }
}

/// A process that is ready to take over.
pub(super) struct Successor {
    wire: Wire,
}

impl Successor {
    /// Gives it the state, which this process has released, and waits until it serves. Or says why
    /// it does not: then this process goes on, and it is to be refused. So it is if the future is
    /// dropped: it has no consent before this returns.
    pub(super) async fn give(&mut self, wait: Duration) -> Result<(), String> {
        let heard = async {
            self.wire.say(YOURS).await?;
            self.wire.hear().await
        };
        match tokio::time::timeout(wait, heard).await {
            Ok(Ok(Some(word))) if word == SERVING => {
                if let Some(pid) = self.wire.peer() {
                    ready::tell_manager(sd_notify::NotifyState::MainPid(pid));
                }
                self.wire.say(DONE).await.map_err(|_| "it ended".to_owned())
            }
            Ok(Ok(Some(word))) => Err(format!("it said {word:?}")),
            Ok(Ok(None) | Err(_)) => Err("it ended before it served".to_owned()),
            Err(_) => Err(format!("it did not serve within {} ms", wait.as_millis())),
        }
    }

    /// Says that it is not to serve. Silence would mean that this process has died.
    pub(super) async fn refuse(&mut self) {
        let _ = self.wire.say(NO).await;
    }
}

/// The process that this one has started to take over, if there is one.
pub(super) struct Started {
    program: Option<Vec<OsString>>,
    wait: Duration,
    child: Option<(Child, Instant)>,
}

impl Started {
    pub(super) fn new(program: Option<Vec<OsString>>, wait: Duration) -> Self {
        Self { program, wait, child: None }
    }

    /// Starts the program anew, unless that is under way.
    pub(super) fn start(&mut self) {
        let Some([program, args @ ..]) = self.program.as_deref() else { return };
        if self.child.is_some() {
            tracing::warn!("a process that takes over was started already");
            return;
        }
        let path = Path::new(program).display();
        match Command::new(program).args(args).env(TAKE_OVER, "1").spawn() {
            Ok(child) => {
                tracing::info!(program = %path, pid = child.id(), "a new process takes over");
                self.child = Some((child, Instant::from_std(clock::now()) + self.wait));
            }
            Err(error) => tracing::error!(program = %path, %error, "the program does not start"),
        }
    }

    /// Completes when the process has ended, or was stopped because it does nothing. It has not
    /// taken over then.
    pub(super) async fn ended(&mut self) {
        let Some((child, until)) = &mut self.child else { return std::future::pending().await };
        match tokio::time::timeout_at(*until, child.wait()).await {
            Ok(status) => {
                let status = status.ok().map(|status: ExitStatus| status.to_string());
                tracing::error!(status, "the new process ended; this one goes on");
                self.child = None;
            }
            Err(_) => {
                tracing::error!("the new process does not take over; this one goes on");
                self.stop().await;
            }
        }
    }

    /// Ends the process.
    pub(super) async fn stop(&mut self) {
        if let Some((mut child, _)) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill().await;
        }
    }
}
