//! Rate limits of one route, and what they have counted.
//!
//! *Invariant:* bounded. A limit by client knows so many clients and no more; what becomes of the
//! others is said at [`Buckets`].
//!
//! *Invariant:* no two routes share a lock. A table is made with the first request that is counted
//! in it.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use crate::clock;
use crate::model::{RateKey, RateLimit};
use crate::routing::{Buckets, Client, Rate, Standing};

/// Clients that one limit knows at once: some 600 KiB when all are there.
const MOST_CLIENTS: usize = 16_384;
/// Parts of a table, each with a lock of its own.
const SHARDS: usize = 16;

/// The limits of a route, all of which hold.
#[derive(Debug)]
pub struct RateLimits {
    started: Instant,
    limits: Box<[Limit]>,
}

#[derive(Debug)]
struct Limit {
    rate: Rate,
    counted: Counted,
}

#[derive(Debug)]
enum Counted {
    /// When the one bucket is full again, in nanoseconds since the start.
    Together(AtomicU64),
    ByClient(OnceLock<Box<Clients>>),
}

#[derive(Debug)]
struct Clients {
    hasher: RandomState,
    shards: Box<[Mutex<Buckets<Client>>]>,
}

impl RateLimits {
    /// Limits that have counted nothing.
    pub fn of(limits: &[RateLimit]) -> Self {
        let limits = limits.iter().map(|limit| {
            let counted = match limit.by {
                RateKey::Route => Counted::Together(AtomicU64::new(0)),
                RateKey::Client => Counted::ByClient(OnceLock::new()),
            };
            Limit { rate: Rate::of(&limit.rate), counted }
        });
        Self { started: clock::now(), limits: limits.collect() }
    }

    /// Takes a token of every limit, and says where each stands. The first that has none is the
    /// last that is asked, and the request counts for no limit then.
    pub fn take(&self, client: IpAddr, now: Instant) -> Vec<Standing> {
        let since = now.saturating_duration_since(self.started);
        let now = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        let client = Client::from(client);
        let mut standings = Vec::with_capacity(self.limits.len());
        for limit in &self.limits {
            let standing = limit.take(client, now);
            standings.push(standing);
            if standing.refused_for.is_some() {
                let taken = &self.limits[..standings.len() - 1];
                taken.iter().for_each(|limit| limit.give_back(client));
                break;
            }
        }
        standings
    }
}

impl Limit {
    fn take(&self, client: Client, now: u64) -> Standing {
        let rate = self.rate;
        let full_at = match &self.counted {
            Counted::ByClient(table) => {
                let table = table.get_or_init(Box::default);
                return table.shard(client).lock().take(rate, client, now);
            }
            Counted::Together(full_at) => full_at,
        };
        let order = Ordering::Relaxed;
        let taken = full_at.fetch_update(order, order, |full_at| rate.take(full_at, now).ok());
        match taken {
            Ok(before) => rate.standing(rate.take(before, now).unwrap_or(before), now, None),
            Err(before) => rate.standing(before, now, rate.take(before, now).err()),
        }
    }

    fn give_back(&self, client: Client) {
        let rate = self.rate;
        match &self.counted {
            Counted::Together(full_at) => {
                let order = Ordering::Relaxed;
                let _ = full_at.fetch_update(order, order, |at| Some(rate.give_back(at)));
            }
            Counted::ByClient(table) => {
                if let Some(table) = table.get() {
                    table.shard(client).lock().give_back(rate, &client);
                }
            }
        }
    }
}

impl Default for Clients {
    fn default() -> Self {
        let shard = || Mutex::new(Buckets::new(MOST_CLIENTS / SHARDS));
        let shards = std::iter::repeat_with(shard).take(SHARDS).collect();
        Self { hasher: RandomState::new(), shards }
    }
}

impl Clients {
    fn shard(&self, client: Client) -> &Mutex<Buckets<Client>> {
        // The top bits: the shard's own map uses the low ones of another hash.
        &self.shards[(self.hasher.hash_one(client) >> 56) as usize % SHARDS]
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model;

    fn limit(requests: u32, by: RateKey) -> RateLimit {
        let rate = model::Rate { requests, per: Duration::from_secs(3_600), burst: requests };
        RateLimit { rate, by }
    }

    fn takes(limits: &RateLimits, client: &str) -> bool {
        let client = client.parse().expect("an address");
        let standings = limits.take(client, limits.started);
        standings.iter().all(|standing| standing.refused_for.is_none())
    }

    #[test]
    fn a_client_is_an_address_or_a_network_of_ipv6() {
        let limits = RateLimits::of(&[limit(1, RateKey::Client)]);
        assert!(takes(&limits, "10.0.0.1") && takes(&limits, "10.0.0.2"));
        assert!(!takes(&limits, "::ffff:10.0.0.1"), "however it is written");
        assert!(takes(&limits, "2001:db8::1"));
        assert!(!takes(&limits, "2001:db8::ffff:2"));
        assert!(takes(&limits, "2001:db8:0:1::1"));
    }

    #[test]
    fn what_one_limit_refuses_counts_for_no_other() {
        let limits = RateLimits::of(&[limit(3, RateKey::Route), limit(1, RateKey::Client)]);
        assert!(takes(&limits, "10.0.0.1"));
        assert!((0..100).all(|_| !takes(&limits, "10.0.0.1")));
        assert!(takes(&limits, "10.0.0.2") && takes(&limits, "10.0.0.3"));
        assert!(!takes(&limits, "10.0.0.4"), "the route has had its three");
    }

    #[test]
    fn threads_together_are_held_to_the_limit() {
        let limits = RateLimits::of(&[limit(60, RateKey::Client), limit(100, RateKey::Route)]);
        let taken = || (0..200).filter(|_| takes(&limits, "10.0.0.1")).count();
        let taken: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(taken)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
        });
        assert_eq!(taken, 60);
    }
}
