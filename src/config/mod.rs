//! What a node is told when it starts.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::model::NodeId;
use crate::runtime::ResetPolicy;
use crate::telemetry::AccessTarget;

/// The configuration of a node.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Where the load balancer listens; port 0 takes a free one.
    pub listen: SocketAddr,
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
}
