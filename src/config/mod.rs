//! What a node is told when it starts.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::listener::{Inherited, Networks};
use crate::model::NodeId;
use crate::runtime::ResetPolicy;
use crate::telemetry::AccessTarget;
use crate::tls::Sources;

/// The configuration of a node.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Where the load balancer listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// TLS, and whom the load balancer believes.
    pub edge: EdgeConfig,
    /// Where the API and the embedded registry listen; port 0 takes a free one.
    pub api_listen: SocketAddr,
    /// Host names by which the API may be asked for, besides addresses and `localhost`.
    pub api_hosts: Vec<String>,
    /// Where everything that outlives the process is kept.
    pub data_dir: PathBuf,
    /// Where to say, as one JSON object, that the node serves.
    pub ready_file: Option<PathBuf>,
    /// The node's name.
    pub node: NodeId,
    /// How instances are made clean.
    pub reset: ResetPolicy,
    /// Where access lines go.
    pub access_log: AccessTarget,
    /// How registries are talked to.
    pub registry: registry::ClientConfig,
    /// Private networks that roles may open for their tasks.
    pub guest_networks: Networks,
    /// Whether the API may listen where other machines reach it.
    pub remote_api: bool,
    /// Listening sockets that a service manager has opened.
    pub inherited: Arc<Inherited>,
    /// Whether to take over from a process that serves from the same folder.
    pub take_over: bool,
    /// How long another process may take to take over from this one.
    pub take_over_wait: Duration,
    /// The program and its arguments that take over when the node is told to replace itself.
    pub successor: Option<Vec<OsString>>,
}

/// How clients reach the load balancer, besides cleartext.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EdgeConfig {
    /// Where TLS is spoken, and with which certificates.
    pub tls: Option<TlsConfig>,
    /// The port of HTTPS that requests in cleartext are sent to; 0 is that of `tls`, or 443.
    pub redirect: Option<u16>,
    /// How long browsers are told to come by HTTPS only.
    pub hsts: Option<Duration>,
    /// Proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed.
    pub trusted_proxies: Networks,
    /// Senders that begin each connection with a header of the PROXY protocol.
    pub proxy_protocol: Networks,
}

/// A listener for TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// The address; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where its certificates come from.
    pub sources: Sources,
}
