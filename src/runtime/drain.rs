//! The end of a task that has requests: they are finished, or stopped when their time is over.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::unconstrained;

use super::revision::RevisionCell;
use super::task::Task;

/// Stops the requests of a task. Given once, for good.
///
/// A request that is done when it is first polled, as most are, costs this nothing but two loads.
#[derive(Debug, Default)]
pub(super) struct Stop {
    given: AtomicBool,
    told: Notify,
}

impl Stop {
    /// Stops what runs, and what begins from now on.
    pub(super) fn give(&self) {
        self.given.store(true, Ordering::SeqCst);
        self.told.notify_waiters();
    }

    /// Runs the work until it completes or the stop is given; `None` in the second case.
    pub(super) async fn unless_given<F: Future>(&self, work: F) -> Option<F::Output> {
        let mut work = pin!(work);
        // Without a budget: it is polled once, and must have noted down then whom to wake.
        let mut told = pin!(unconstrained(self.told.notified()));
        let mut waits = false;
        poll_fn(|cx| {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(Some(done));
            }
            // Noting it down takes a lock that all requests of the task share, so it is done once:
            // the waker of a tokio task never changes.
            if !std::mem::replace(&mut waits, true) {
                let _ = told.as_mut().poll(cx);
            }
            match self.given.load(Ordering::SeqCst) {
                true => Poll::Ready(None),
                false => Poll::Pending,
            }
        })
        .await
    }
}

/// Stops what these tasks still do when the time of their requests is over.
pub(super) fn stop_after(drain: Duration, tasks: &[Arc<Task>], cell: &RevisionCell) {
    let tasks: Vec<Weak<Task>> = tasks.iter().map(Arc::downgrade).collect();
    let (service, revision) = (cell.service().clone(), cell.number());
    tokio::spawn(async move {
        tokio::time::sleep(drain).await;
        let late: Vec<Arc<Task>> = tasks.iter().filter_map(Weak::upgrade).collect();
        let requests: u32 = late.iter().map(|task| task.in_flight()).sum();
        if requests > 0 {
            let drain_ms = drain.as_millis();
            tracing::warn!(%service, revision, requests, drain_ms, "requests outlived the drain");
        }
        late.iter().for_each(|task| task.stop.give());
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_that_is_done_at_once_is_never_stopped() {
        let stop = Stop::default();
        stop.give();
        assert_eq!(stop.unless_given(async { 7 }).await, Some(7));
    }

    #[tokio::test]
    async fn work_under_way_and_work_that_comes_later_is_stopped() {
        let stop = Arc::new(Stop::default());
        let under_way = tokio::spawn({
            let stop = Arc::clone(&stop);
            async move { stop.unless_given(std::future::pending::<()>()).await }
        });
        tokio::task::yield_now().await;
        stop.give();
        assert_eq!(under_way.await.expect("no panic"), None);
        assert_eq!(stop.unless_given(std::future::pending::<()>()).await, None);
    }
}
