//! What is outside of the node, and how much of it any guest may reach.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, OnceLock};

use tokio::runtime::Handle;

use crate::model::{Networks, Reach, reach};
use crate::upstream::Trust;

use super::resolve::{Resolve, SystemResolver};

/// The node's own half of every decision: what its operator allows, and where it listens itself.
pub struct Outside {
    /// Private networks that roles may open for their tasks.
    allowed: Networks,
    /// Where this node listens.
    own: OnceLock<Vec<SocketAddr>>,
    pub(super) resolver: Arc<dyn Resolve>,
    /// Whom to believe that a server is who it says.
    trust: OnceLock<Option<Trust>>,
    /// The threads that carry bytes.
    pub(super) io: Handle,
}

/// Why a guest is not led to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// The node itself listens there.
    Own,
    /// Nobody is led there.
    Never,
    /// The role does not name the network.
    Role,
    /// The node does not allow the network.
    Node,
}

impl Outside {
    /// The network as it is seen from here. Connections are carried by the threads of `io`.
    pub fn new(allowed: Networks, resolver: Arc<dyn Resolve>, io: Handle) -> Self {
        Self { allowed, own: OnceLock::new(), resolver, trust: OnceLock::new(), io }
    }

    /// The network that the system sees, without any private part of it.
    pub fn public(io: Handle) -> Self {
        Self::new(Networks::default(), Arc::new(SystemResolver::default()), io)
    }

    /// Says where the node listens. No guest is led there, whatever is allowed. Only the first
    /// word counts: a node keeps its addresses.
    pub fn listens_at(&self, addresses: Vec<SocketAddr>) {
        let _ = self.own.set(addresses);
    }

    /// Whether a guest may be led to this address.
    ///
    /// `networks` are those of its role, and `named` says that the role names the very address.
    pub(super) fn admit(
        &self,
        address: SocketAddr,
        networks: &Networks,
        named: bool,
    ) -> Result<(), Closed> {
        let ip = address.ip().to_canonical();
        match reach(ip) {
            Reach::Never => Err(Closed::Never),
            _ if self.is_own(SocketAddr::new(ip, address.port())) => Err(Closed::Own),
            Reach::Public => Ok(()),
            Reach::Private if !named && !networks.contain(ip) => Err(Closed::Role),
            Reach::Private if !self.allowed.contain(ip) => Err(Closed::Node),
            Reach::Private => Ok(()),
        }
    }

    /// The authorities of the system. They are read when the first server has to prove itself.
    pub(super) fn trust(&self) -> Option<&Trust> {
        self.trust.get_or_init(|| Trust::new(None)).as_ref()
    }

    fn is_own(&self, address: SocketAddr) -> bool {
        let own = self.own.get().map_or(&[][..], Vec::as_slice);
        own.iter().filter(|listener| listener.port() == address.port()).any(|listener| {
            let at = listener.ip().to_canonical();
            at == address.ip() || (at.is_unspecified() && is_of_this_machine(address.ip()))
        })
    }
}

/// Whether packets to the address stay on this machine: then the way to it begins where it ends.
/// Connecting a datagram socket chooses the way and sends nothing. Where that cannot be told, it
/// is believed to be so.
fn is_of_this_machine(address: IpAddr) -> bool {
    let any: IpAddr = match address {
        IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let from = || {
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect((address, 9))?;
        Ok::<_, std::io::Error>(socket.local_addr()?.ip())
    };
    address.is_loopback() || from().map_or(true, |from| from == address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Networks {
        texts.iter().map(|text| text.parse::<ipnet::IpNet>().expect("a network")).collect()
    }

    fn outside(allowed: &[&str]) -> Outside {
        Outside::new(networks(allowed), Arc::new(SystemResolver::default()), Handle::current())
    }

    #[tokio::test]
    async fn a_private_network_needs_the_role_and_the_node() {
        let outside = outside(&["10.0.0.0/8", "127.0.0.0/8"]);
        let admit = |address: &str, role: &[&str], named| {
            outside.admit(address.parse().expect("an address"), &networks(role), named)
        };
        assert_eq!(admit("8.8.8.8:80", &[], false), Ok(()));
        assert_eq!(admit("10.1.2.3:80", &[], false), Err(Closed::Role));
        assert_eq!(admit("10.1.2.3:80", &["10.1.0.0/16"], false), Ok(()));
        assert_eq!(admit("[::ffff:10.1.2.3]:80", &["10.1.0.0/16"], false), Ok(()));
        assert_eq!(admit("10.1.2.3:80", &[], true), Ok(()));
        assert_eq!(admit("192.168.0.1:80", &["0.0.0.0/0"], true), Err(Closed::Node));
        assert_eq!(admit("169.254.169.254:80", &["0.0.0.0/0"], true), Err(Closed::Never));
        assert_eq!(admit("[::ffff:169.254.169.254]:80", &[], true), Err(Closed::Never));
    }

    #[tokio::test]
    async fn the_node_itself_is_never_reached() {
        let outside = outside(&["0.0.0.0/0", "::/0"]);
        let everything = networks(&["0.0.0.0/0", "::/0"]);
        outside.listens_at(vec![
            "127.0.0.1:7300".parse().expect("an address"),
            "0.0.0.0:80".parse().expect("an address"),
        ]);
        for (address, expected) in [
            ("127.0.0.1:7300", Err(Closed::Own)),
            ("[::ffff:127.0.0.1]:7300", Err(Closed::Own)),
            ("127.0.0.2:7300", Ok(())),
            ("127.0.0.1:7301", Ok(())),
            ("127.0.0.2:80", Err(Closed::Own)),
            ("[::1]:80", Err(Closed::Own)),
        ] {
            let address = address.parse().expect(address);
            assert_eq!(outside.admit(address, &everything, true), expected, "{address}");
        }
    }
}
