//! Asks the servers of an upstream whether they are well.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::header::{HOST, USER_AGENT};
use http::{HeaderValue, Request, Uri};

use crate::model::{HostPattern, Probe, Upstream};
use crate::routing::Tally;

use super::cell::UpstreamCell;
use super::connect::{Alpn, Trust};
use super::send::{Outgoing, exchange};
use super::server::Server;

const AGENT: HeaderValue = HeaderValue::from_static(concat!("wharf/", env!("CARGO_PKG_VERSION")));

/// Asks until it is dropped.
pub struct Prober {
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Prober {
    /// Asks every server of the upstream as it says now, if it says anything.
    pub fn start(cell: &Arc<UpstreamCell>) -> Option<Self> {
        let state = cell.current();
        let probe = state.upstream.policy.health.clone()?;
        let host = host(&state.upstream);
        let tasks = state.servers.iter().map(|server| {
            let asked = Asked {
                cell: Arc::clone(cell),
                server: Arc::clone(server),
                probe: probe.clone(),
                host: host.clone(),
                upstream: Arc::clone(&state.upstream),
                trust: state.trust.clone(),
            };
            tokio::spawn(asked.run())
        });
        Some(Self { tasks: tasks.collect() })
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

/// The host that is asked for: that of the first route which names one.
fn host(upstream: &Upstream) -> HeaderValue {
    let exact = upstream.routes.iter().find_map(|route| match &route.pattern.host {
        HostPattern::Exact(host) => HeaderValue::try_from(&**host).ok(),
        HostPattern::Wildcard(_) | HostPattern::Any => None,
    });
    exact.unwrap_or(HeaderValue::from_static("localhost"))
}

struct Asked {
    cell: Arc<UpstreamCell>,
    server: Arc<Server>,
    probe: Probe,
    host: HeaderValue,
    upstream: Arc<Upstream>,
    trust: Trust,
}

impl Asked {
    async fn run(self) {
        let mut tally = Tally::default();
        tokio::time::sleep(self.probe.delay).await;
        loop {
            let answer = match tokio::time::timeout(self.probe.timeout, self.once()).await {
                Ok(answer) => answer,
                Err(_) => Err("no answer in time".to_owned()),
            };
            let counts = &self.server.counts;
            let count = if answer.is_ok() { &counts.probes_passed } else { &counts.probes_failed };
            count.fetch_add(1, Ordering::Relaxed);
            if let Some(passes) = tally.note(answer.is_ok(), &self.probe) {
                self.decide(passes, answer.err());
            }
            tokio::time::sleep(self.probe.interval).await;
        }
    }

    fn decide(&self, passes: bool, why: Option<String>) {
        if self.server.healthy.swap(passes, Ordering::Relaxed) == passes {
            return;
        }
        let (upstream, server) = (self.cell.name(), &self.server.name);
        let why = why.unwrap_or_default();
        match passes {
            true => tracing::info!(%upstream, %server, "the server passes its probes again"),
            false => tracing::warn!(%upstream, %server, why, "the server fails its probes"),
        }
        self.cell.look_again();
    }

    /// One question on a connection of its own: what is asked is whether the server takes those.
    async fn once(&self) -> Result<(), String> {
        let mut request = Request::new(Outgoing::Empty);
        let path: http::uri::PathAndQuery = self.probe.path.clone().into();
        *request.uri_mut() = Uri::from(path);
        request.headers_mut().insert(HOST, self.host.clone());
        request.headers_mut().insert(USER_AGENT, AGENT);
        let policy = &self.upstream.policy;
        let connection = self.server.open(policy, &self.trust, Alpn::Any).await;
        let connection = connection.map_err(|error| error.to_string())?;
        let answered = exchange(connection, request, &self.server, policy).await;
        let (response, http1) = answered.map_err(|unanswered| unanswered.error.to_string())?;
        let status = response.status();
        drop((response, http1));
        match status.as_u16() {
            200..400 => Ok(()),
            status => Err(format!("status {status}")),
        }
    }
}
