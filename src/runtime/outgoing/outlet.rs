//! What one service sends: its connections, its requests under way, and what became of them.
//!
//! *Invariant:* a connection belongs to one service. No other service ever sends a request on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use tokio::sync::Notify;
use tokio::time::timeout_at;

use crate::clock;
use crate::model::{self, Name, RoleLimits};
use crate::routing::Rate;

use super::super::revision::RevisionCell;
use super::super::service::ServiceCell;
use super::failed::{Failed, Outcome};
use super::pool::{Connection, Pool};

/// See the module documentation. Made with the first request that a service sends.
pub struct Outlet {
    started: Instant,
    requests: AtomicU32,
    connections: AtomicU32,
    /// When the bucket of its rate is full again, in nanoseconds since the start.
    full_at: AtomicU64,
    /// Told when a connection has ended or can be used again.
    room: Notify,
    counts: [AtomicU64; Outcome::ALL.len()],
    pub(super) pool: Pool,
}

impl Default for Outlet {
    fn default() -> Self {
        Self {
            started: clock::now(),
            requests: AtomicU32::new(0),
            connections: AtomicU32::new(0),
            full_at: AtomicU64::new(0),
            room: Notify::new(),
            counts: Default::default(),
            pool: Pool::default(),
        }
    }
}

impl RevisionCell {
    /// What its service sends; made with the first request.
    pub(in crate::runtime) fn outlet(&self) -> &Arc<Outlet> {
        self.outlet.get_or_init(Arc::default)
    }

    /// Another service of this node.
    pub(in crate::runtime) fn other_service(&self, name: &Name) -> Option<Arc<ServiceCell>> {
        let services = self.shared.services.upgrade()?;
        services.get(name).map(|service| Arc::clone(&service))
    }
}

impl Outlet {
    /// What became of the requests, by outcome.
    pub fn counted(&self) -> impl Iterator<Item = (Outcome, u64)> + use<'_> {
        Outcome::ALL.into_iter().map(|one| (one, self.counts[one as usize].load(Relaxed)))
    }

    pub(super) fn count(&self, outcome: Outcome) {
        self.counts[outcome as usize].fetch_add(1, Relaxed);
    }

    /// A place among the requests under way, if rate and number allow it.
    pub(super) fn enter(self: &Arc<Self>, limits: &RoleLimits) -> Result<UnderWay, Failed> {
        let one_more = |count| (count < limits.requests).then_some(count + 1);
        if self.requests.fetch_update(Relaxed, Relaxed, one_more).is_err() {
            let most = limits.requests;
            return Err(Failed::limited(format!("{most} requests are under way: `requests`")));
        }
        let place = UnderWay(Arc::clone(self));
        match limits.rate.as_ref().is_none_or(|rate| self.take_token(rate)) {
            true => Ok(place),
            false => Err(Failed::limited("the rate is used up: `rate`".to_owned())),
        }
    }

    fn take_token(&self, rate: &model::Rate) -> bool {
        let since = clock::now().saturating_duration_since(self.started);
        let now = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        let rate = Rate::of(rate);
        self.full_at.fetch_update(Relaxed, Relaxed, |full_at| rate.take(full_at, now).ok()).is_ok()
    }

    /// The permission for one more connection, or a connection that waits and that `find` likes.
    ///
    /// Where all are in use it waits for one, at most until `until`; where some wait for requests
    /// to other servers, the oldest of those is closed.
    pub(super) async fn room(
        self: &Arc<Self>,
        most: u32,
        until: tokio::time::Instant,
        find: impl Fn(&Pool) -> Option<Connection>,
    ) -> Result<Room, Failed> {
        loop {
            let mut told = std::pin::pin!(self.room.notified());
            told.as_mut().enable();
            if let Some(connection) = find(&self.pool) {
                return Ok(Room::There(connection));
            }
            let one_more = |count| (count < most).then_some(count + 1);
            if self.connections.fetch_update(Relaxed, Relaxed, one_more).is_ok() {
                return Ok(Room::New(Place(Arc::clone(self))));
            }
            self.pool.close_oldest();
            if timeout_at(until, told).await.is_err() {
                return Err(Failed::limited(format!(
                    "{most} connections are in use: `connections`"
                )));
            }
        }
    }

    /// Keeps a connection that has carried a request. Whether somebody has to sweep from now on.
    pub(super) fn keep(&self, connection: Connection) -> bool {
        let must_sweep = self.pool.put(connection);
        self.room.notify_one();
        must_sweep
    }

    /// Tells all that wait that there is a connection which many can use.
    pub(super) fn share(&self, connection: Connection) -> bool {
        let must_sweep = self.pool.put(connection);
        self.room.notify_waiters();
        must_sweep
    }
}

/// What a request that needs a connection is given.
pub(super) enum Room {
    There(Connection),
    New(Place),
}

/// A connection's place, until it has ended.
pub(super) struct Place(Arc<Outlet>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Relaxed);
        self.0.room.notify_one();
    }
}

/// A request under way, until the last byte of its response.
pub(super) struct UnderWay(Arc<Outlet>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn requests_and_their_rate_have_an_end() {
        let outlet = Arc::new(Outlet::default());
        let limits = RoleLimits { requests: 2, ..RoleLimits::default() };
        let first = outlet.enter(&limits).ok();
        let _second = outlet.enter(&limits).expect("two");
        assert!(outlet.enter(&limits).is_err());
        drop(first);
        assert!(outlet.enter(&limits).is_ok(), "places come back");
        let rate = model::Rate { requests: 1, per: Duration::from_secs(3_600), burst: 3 };
        let limits = RoleLimits { rate: Some(rate), ..RoleLimits::default() };
        assert_eq!((0..9).filter(|_| outlet.enter(&limits).is_ok()).count(), 3);
    }

    #[tokio::test]
    async fn whoever_waits_for_a_connection_gets_the_next_or_is_told() {
        let outlet = Arc::new(Outlet::default());
        let after = |time| tokio::time::Instant::from_std(clock::now()) + time;
        let soon = || after(Duration::from_millis(1));
        let later = || after(Duration::from_secs(60));
        let Ok(Room::New(place)) = outlet.room(1, later(), |_| None).await else {
            panic!("there is room for one");
        };
        let refused = outlet.room(1, soon(), |_| None).await;
        assert!(matches!(refused, Err(Failed { outcome: Outcome::Limited, .. })));
        let waits = tokio::spawn({
            let outlet = Arc::clone(&outlet);
            let until = later();
            async move { outlet.room(1, until, |_| None).await.is_ok() }
        });
        tokio::task::yield_now().await;
        drop(place);
        assert!(waits.await.expect("no panic"));
    }
}
