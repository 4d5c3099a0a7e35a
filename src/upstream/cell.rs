//! One upstream: its servers, and which of them takes a request.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::model::{Ejection, Name, Upstream};
use crate::routing::{RetryBudget, STRIDE, may_eject, mix, power_of_two};
use crate::telemetry::ServiceStats;

use super::connect::Trust;
use super::server::{InFlight, Server};

/// An upstream on this node.
pub struct UpstreamCell {
    name: Name,
    stats: OnceLock<Arc<ServiceStats>>,
    state: ArcSwap<State>,
    /// Held by whoever changes `state`.
    changing: Mutex<()>,
    pub(super) budget: RetryBudget,
    pub(super) retries: AtomicU64,
    pub(super) closing: CancellationToken,
    random: AtomicU64,
}

/// What is in force.
pub(super) struct State {
    pub(super) upstream: Arc<Upstream>,
    pub(super) trust: Trust,
    pub(super) servers: Vec<Arc<Server>>,
    /// Those that take requests.
    usable: Vec<Arc<Server>>,
    /// When one comes back that is left alone now.
    readmit_at: Option<Instant>,
}

/// How one server is.
#[derive(Clone, Debug)]
pub struct ServerView {
    /// Its target.
    pub target: Arc<str>,
    /// Whether its last probes passed; true where nothing is asked.
    pub healthy: bool,
    /// Whether it is left alone because it answered badly.
    pub ejected: bool,
    /// Requests that it answers now.
    pub in_flight: u32,
    /// Requests that it has answered, or failed to.
    pub requests: u64,
    /// Those of them that failed: status 5xx, no connection, no response, a broken one.
    pub failures: u64,
    /// How often it was left alone.
    pub ejections: u64,
    /// Connections that were opened to it.
    pub connects: u64,
    /// Probes that passed, and that failed.
    pub probes: (u64, u64),
}

impl std::fmt::Debug for UpstreamCell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpstreamCell").field("name", &self.name).finish_non_exhaustive()
    }
}

impl UpstreamCell {
    /// An upstream that forwards as it is told here.
    pub fn new(upstream: Arc<Upstream>, trust: Trust) -> Arc<Self> {
        let servers = upstream.targets.iter().cloned().map(Server::new).collect();
        Arc::new(Self {
            name: upstream.name.clone(),
            stats: OnceLock::new(),
            state: ArcSwap::from_pointee(State::new(upstream, trust, servers)),
            changing: Mutex::default(),
            budget: RetryBudget::default(),
            retries: AtomicU64::new(0),
            closing: CancellationToken::new(),
            random: AtomicU64::new(rand::random()),
        })
    }

    /// Its name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// What is in force.
    pub fn upstream(&self) -> Arc<Upstream> {
        Arc::clone(&self.state.load().upstream)
    }

    /// Its counters, made with the first request.
    pub fn stats(&self) -> &Arc<ServiceStats> {
        self.stats.get_or_init(Arc::default)
    }

    /// Its counters, if it has had a request.
    pub fn stats_if_any(&self) -> Option<&Arc<ServiceStats>> {
        self.stats.get()
    }

    /// Attempts that were not the first of their request.
    pub fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    /// How each server is, in the order of the manifest.
    pub fn view(&self) -> Vec<ServerView> {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let state = self.state.load();
        let views = state.servers.iter().map(|server| ServerView {
            target: Arc::clone(&server.name),
            healthy: server.is_healthy(),
            ejected: server.is_out(),
            in_flight: server.in_flight.load(Ordering::Relaxed),
            requests: read(&server.counts.requests),
            failures: read(&server.counts.failures),
            ejections: read(&server.counts.ejections),
            connects: read(&server.counts.connects),
            probes: (read(&server.counts.probes_passed), read(&server.counts.probes_failed)),
        });
        views.collect()
    }

    /// Forwards in another way from now on. Servers that stay keep their connections and what is
    /// known of them.
    pub fn change(&self, upstream: Arc<Upstream>, trust: Trust) {
        let _turn = self.changing.lock();
        let before = self.state.load_full();
        // Another authority may not vouch for the connections that there are.
        let keep = before.upstream.policy.ca == upstream.policy.ca;
        let servers = upstream.targets.iter().map(|target| {
            let same = before.servers.iter().find(|server| keep && server.target == *target);
            same.cloned().unwrap_or_else(|| Server::new(target.clone()))
        });
        let servers: Vec<_> = servers.collect();
        let gone = before.servers.iter().filter(|old| !servers.iter().any(|s| Arc::ptr_eq(s, old)));
        let gone: Vec<_> = gone.cloned().collect();
        if upstream.policy.health.is_none() {
            // Nobody would ever say that it is well again.
            servers.iter().for_each(|server| server.healthy.store(true, Ordering::Relaxed));
        }
        self.state.store(Arc::new(State::new(upstream, trust, servers)));
        gone.iter().for_each(|server| server.close());
    }

    /// Ends what would go on for ever, such as a WebSocket: the upstream was taken away.
    pub fn close(&self) {
        self.closing.cancel();
        self.state.load().servers.iter().for_each(|server| server.close());
    }

    pub(super) fn current(&self) -> Guard<Arc<State>> {
        let state = self.state.load();
        match state.readmit_at {
            Some(at) if clock::now() >= at => {
                drop(state);
                self.look_again();
                self.state.load()
            }
            _ => state,
        }
    }

    /// Decides anew which servers take requests.
    pub(super) fn look_again(&self) {
        let _turn = self.changing.lock();
        let before = self.state.load_full();
        let (upstream, trust) = (Arc::clone(&before.upstream), before.trust.clone());
        self.state.store(Arc::new(State::new(upstream, trust, before.servers.clone())));
    }

    /// Takes an answer into account, and leaves the server alone if it answers badly.
    pub(super) fn note(&self, server: &Arc<Server>, failed: bool, policy: &Ejection) {
        if !server.note(failed, policy) {
            return;
        }
        let ejected = {
            let _turn = self.changing.lock();
            let (state, now) = (self.state.load(), clock::now());
            let out = state.servers.iter().filter(|other| other.out_until(now).is_some()).count();
            let may = may_eject(out, state.servers.len()) && !server.is_out();
            may.then(|| server.eject(policy, now))
        };
        if ejected.is_some() {
            tracing::warn!(upstream = %self.name, server = %server.name,
                "the server answers badly and is left alone for a while");
            self.look_again();
        }
    }

    pub(super) fn random(&self) -> u64 {
        mix(self.random.fetch_add(STRIDE, Ordering::Relaxed))
    }
}

impl State {
    fn new(upstream: Arc<Upstream>, trust: Trust, servers: Vec<Arc<Server>>) -> Self {
        let now = clock::now();
        let is_in = |server: &&Arc<Server>| server.out_until(now).is_none();
        let well: Vec<_> = servers.iter().filter(|server| server.is_healthy()).collect();
        let pick = |servers: Vec<&Arc<Server>>| servers.into_iter().cloned().collect::<Vec<_>>();
        let mut usable = pick(well.iter().copied().filter(|server| is_in(server)).collect());
        if usable.is_empty() {
            // Fail open: a server that is ill may be well again, and nobody is certainly not.
            usable = pick(if well.is_empty() { servers.iter().collect() } else { well });
        }
        let readmit_at = servers.iter().filter_map(|server| server.out_until(now)).min();
        Self { upstream, trust, servers, usable, readmit_at }
    }

    /// A place at one of the servers that take requests and were not tried, if there is any such.
    pub(super) fn choose(
        &self,
        tried: &[Arc<Server>],
        point: Option<u32>,
        random: impl Fn() -> u64,
    ) -> Option<InFlight> {
        let most = self.upstream.policy.max_in_flight;
        let is_new = |server: &&Arc<Server>| !tried.iter().any(|one| Arc::ptr_eq(one, server));
        let rest: Vec<Arc<Server>>;
        let servers = match tried.is_empty() {
            true => &self.usable[..],
            false => {
                rest = self.usable.iter().filter(is_new).cloned().collect();
                if rest.is_empty() { &self.usable[..] } else { &rest[..] }
            }
        };
        let load = |at: usize| servers[at].in_flight.load(Ordering::Relaxed);
        let first = match point {
            Some(point) => closest(servers, point),
            None => power_of_two(servers.len(), random(), load),
        };
        let first = first.map(|at| &servers[at]);
        // Where the choice is full, anybody who is not will do.
        first.into_iter().chain(servers).find_map(|server| InFlight::take(server, most))
    }
}

/// The server that a client stays with: the one whose mark is the highest of all. When one goes,
/// only its own clients move (Thaler and Ravishankar, "A Name-Based Mapping Scheme for
/// Rendezvous", 1996).
fn closest(servers: &[Arc<Server>], point: u32) -> Option<usize> {
    let mark = |server: &Server| mix((u64::from(server.point) << 32) | u64::from(point));
    (0..servers.len()).max_by_key(|at| mark(&servers[*at]))
}
