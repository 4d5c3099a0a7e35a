//! What goes on with a connection after it has left HTTP.

use std::pin::Pin;
use std::sync::Arc;

use parking_lot::Mutex;

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// An extension of a response with status 101: work that begins when the connection has left HTTP.
/// The connection keeps its place, and is waited for when the node stops, until the work is done.
#[derive(Clone)]
pub struct AfterUpgrade(Arc<Mutex<Option<Work>>>);

impl AfterUpgrade {
    /// Work that takes the connection over, by the request's `OnUpgrade`.
    pub fn new(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Some(Box::pin(work)))))
    }

    /// Does the work. Only the first of all clones has any.
    pub(super) async fn run(self) {
        let work = self.0.lock().take();
        if let Some(work) = work {
            work.await;
        }
    }
}
