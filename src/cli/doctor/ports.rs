//! Whether a node runs, and whether its ports are free if none does.

use std::net::{SocketAddr, TcpListener};

use crate::api::Version;

use super::super::client::ApiClient;
use super::Check;

pub(super) async fn check(
    api: &ApiClient,
    listen: SocketAddr,
    api_listen: SocketAddr,
) -> Vec<Check> {
    if let Ok(version) = api.get::<Version>(&["v1", "version"]).await {
        return vec![node(&version)];
    }
    vec![port("http port", listen, "--listen"), port("API port", api_listen, "--api-listen")]
}

fn node(running: &Version) -> Check {
    let Version { node, version, wasmtime, .. } = running;
    let detail = format!("{node} runs, version {version} (wasmtime {wasmtime})");
    let own = env!("CARGO_PKG_VERSION");
    match (running.ready, version == own) {
        (false, _) => Check::fail("node", format!("{detail}, and is not ready"), "see its log"),
        (true, false) => {
            Check::warn("node", detail, format!("this program is {own}: use the same"))
        }
        (true, true) => Check::ok("node", format!("{detail}, and is ready")),
    }
}

fn port(name: &'static str, address: SocketAddr, flag: &str) -> Check {
    match TcpListener::bind(address) {
        Ok(_) => Check::ok(name, format!("{address} is free")),
        Err(error) => Check::fail(
            name,
            format!("{address} cannot be listened on: {error}"),
            format!("choose another with {flag}, or see who has it (`ss -ltnp`)"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_taken_port_fails() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = taken.local_addr().expect("its address");
        assert_eq!(port("http port", address, "--listen").verdict, Verdict::Fail);
        drop(taken);
        assert_eq!(port("http port", address, "--listen").verdict, Verdict::Ok);
    }
}
