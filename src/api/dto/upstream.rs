//! Upstreams as the API shows them.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model;
use crate::upstream::ServerView;

use super::Stats;

/// An upstream in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Upstream {
    /// Its name.
    pub name: String,
    /// Which requests are forwarded.
    pub routes: Vec<String>,
    /// Its servers, as the node that answers sees them.
    pub targets: Vec<UpstreamTarget>,
    /// Counts its changes, from 1.
    pub generation: u64,
    /// The generation that the node which answers forwards by; 0 for none yet.
    pub in_force: u64,
}

/// One server of an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UpstreamTarget {
    /// Where it is.
    #[schema(example = "http://10.0.0.7:8080")]
    pub target: String,
    /// Whether it takes requests.
    pub state: TargetState,
    /// Requests that it answers now.
    pub in_flight: u32,
    /// Requests that it has answered, or failed to, since the node started.
    pub requests: u64,
    /// Those of them that failed: status 5xx, no connection, no response, a broken one.
    pub failures: u64,
    /// How often it was left alone because it answered badly.
    pub ejections: u64,
    /// Connections that were opened to it.
    pub connects: u64,
    /// Probes that passed.
    pub probes_passed: u64,
    /// Probes that failed.
    pub probes_failed: u64,
}

/// Whether a server takes requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TargetState {
    /// It does.
    Well,
    /// It fails its probes: it takes none unless all servers do.
    Unhealthy,
    /// It answered badly: it takes none for a while, unless nobody else is well.
    Ejected,
    /// The node has not taken the upstream up yet.
    Unknown,
}

impl fmt::Display for TargetState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Well => "well",
            Self::Unhealthy => "unhealthy",
            Self::Ejected => "ejected",
            Self::Unknown => "unknown",
        })
    }
}

/// Everything about one upstream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UpstreamDetail {
    /// What the list shows.
    #[serde(flatten)]
    pub upstream: Upstream,
    /// How its servers are used, as in its manifest.
    #[schema(value_type = Object)]
    pub policy: model::UpstreamPolicy,
    /// The routes that ask something of their requests, as in its manifest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Object>)]
    pub rules: Vec<model::Route>,
    /// Attempts that were not the first of their request.
    pub retries: u64,
    /// What was counted since the node started, if it has had a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stats: Option<Stats>,
}

impl From<ServerView> for UpstreamTarget {
    fn from(view: ServerView) -> Self {
        let state = match (view.healthy, view.ejected) {
            (false, _) => TargetState::Unhealthy,
            (true, true) => TargetState::Ejected,
            (true, false) => TargetState::Well,
        };
        Self {
            target: view.target.to_string(),
            state,
            in_flight: view.in_flight,
            requests: view.requests,
            failures: view.failures,
            ejections: view.ejections,
            connects: view.connects,
            probes_passed: view.probes.0,
            probes_failed: view.probes.1,
        }
    }
}

impl UpstreamTarget {
    /// A target that the node does not know yet.
    pub(in crate::api) fn unknown(target: &model::TargetUrl) -> Self {
        Self {
            target: target.to_string(),
            state: TargetState::Unknown,
            in_flight: 0,
            requests: 0,
            failures: 0,
            ejections: 0,
            connects: 0,
            probes_passed: 0,
            probes_failed: 0,
        }
    }
}
