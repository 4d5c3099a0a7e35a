//! TLS, and proxies before the load balancer.

mod handshake;
mod proxies;
mod redirect;
mod reload;
mod start;

use std::sync::Arc;

use wharf::proxy::{Edge, ProxyConfig, TlsListen};
use wharf::tls::{Certificates, Sources};

use crate::support::{Front, Pair, ServiceOptions, guest};

/// What a front needs to speak TLS on a free port, with the certificates of a folder.
fn with_certificates(dir: &std::path::Path) -> (Edge, Arc<Certificates>) {
    let sources = Sources { pairs: Vec::new(), dir: Some(dir.to_owned()) };
    let certificates = Certificates::open(sources).expect("certificates");
    let config = Arc::new(certificates.server_config().expect("versions"));
    let tls = TlsListen { address: ([127, 0, 0, 1], 0).into(), config };
    (Edge { tls: Some(tls), ..Edge::default() }, certificates)
}

/// A front with one certificate and the task `env` behind it.
async fn front(change: impl FnOnce(&mut ProxyConfig, &mut Edge)) -> (Front, Pair) {
    let (dir, pair) = (tempfile::tempdir().expect("a folder"), Pair::for_names(&["env.test"]));
    pair.write(dir.path(), "env");
    let (mut edge, _) = with_certificates(dir.path());
    let mut config = ProxyConfig::default();
    change(&mut config, &mut edge);
    let front = Front::start_at_edge(config, edge).await;
    front.deploy("env", &guest("env"), ServiceOptions::default()).await;
    (front, pair)
}
