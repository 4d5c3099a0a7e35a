//! The process that this one takes over from.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::net::UnixStream;

use crate::listener::Inherited;

use super::error::ServeError;
use super::wire::{DONE, FILE, SERVING, TAKE, Wire, YOURS};

/// A process that serves and will let go.
pub(super) struct Predecessor {
    wire: Wire,
    wait: Duration,
}

impl Predecessor {
    /// The process that serves from this data folder, and its sockets; `None` if there is none.
    pub(super) async fn find(data_dir: &Path) -> Result<Option<(Self, Inherited)>, ServeError> {
        let path = data_dir.join(FILE);
        let failed = |source| ServeError::Predecessor { path: path.clone(), source };
        let stream = match UnixStream::connect(&path).await {
            Ok(stream) => stream,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mut wire = Wire::new(stream);
        match wire.greeted().await {
            Ok((sockets, wait)) => Ok(Some((Self { wire, wait }, Inherited::of_node(sockets)))),
            Err(error) if has_died(&error) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// How long services may take to be in place: the rest of the time is for everything else.
    pub(super) fn patience(&self) -> Duration {
        self.wait / 2
    }

    /// Asks it to let go of the state. One that died has.
    pub(super) async fn take(&mut self) -> Result<(), ServeError> {
        self.ask(TAKE, YOURS).await
    }

    /// Says that this process serves. Without its consent it does not: the other one goes on.
    pub(super) async fn replace(mut self) -> Result<(), ServeError> {
        self.ask(SERVING, DONE).await
    }

    async fn ask(&mut self, word: &str, consent: &str) -> Result<(), ServeError> {
        let heard = async {
            self.wire.say(word).await?;
            self.wire.hear().await
        };
        match heard.await {
            Ok(Some(answer)) if answer == consent => Ok(()),
            Ok(Some(_)) => Err(ServeError::Refused),
            Ok(None) | Err(_) => {
                tracing::warn!("the process before this one died; this one goes on alone");
                Ok(())
            }
        }
    }
}

/// Whether the other one ended in the middle.
fn has_died(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset)
}

/// Whether nobody listens there: never, or not any more.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}
