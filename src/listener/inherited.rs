//! Listening sockets that another process has opened: a service manager, or the node before this.
//!
//! Whoever keeps a listening socket open keeps the connections that wait in it: while one process
//! ends and the next begins, nobody is refused.

use std::io;
use std::net::{SocketAddr, TcpListener};

use parking_lot::Mutex;
use tokio::net::TcpListener as TokioListener;

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The load balancer, in cleartext.
    Http,
    /// The load balancer, with TLS.
    Https,
    /// The API.
    Api,
}

impl Role {
    const ALL: [Self; 3] = [Self::Http, Self::Https, Self::Api];

    /// Its word, as in `FileDescriptorName=` of a socket unit.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Api => "api",
        }
    }

    /// The role of this word.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// Sockets, each of which is taken once.
#[derive(Debug, Default)]
pub struct Inherited {
    sockets: Mutex<Vec<(Option<Role>, TcpListener)>>,
    /// Whether a role is enough: whoever opened the sockets decides on their addresses.
    by_role: bool,
}

impl Inherited {
    /// Sockets of a service manager, whose word on addresses counts. A single one without a role
    /// is for the load balancer.
    pub fn of_manager(mut sockets: Vec<(Option<Role>, TcpListener)>) -> Self {
        if let [(role @ None, _)] = &mut sockets[..] {
            *role = Some(Role::Http);
        }
        Self { sockets: Mutex::new(sockets), by_role: true }
    }

    /// Sockets of the node before this one. An address that was changed since is opened anew.
    pub fn of_node(sockets: Vec<(Role, TcpListener)>) -> Self {
        let sockets = sockets.into_iter().map(|(role, socket)| (Some(role), socket)).collect();
        Self { sockets: Mutex::new(sockets), by_role: false }
    }

    /// The socket that was opened for this, or a new one.
    pub(super) async fn bind(&self, role: Role, address: SocketAddr) -> io::Result<TokioListener> {
        let Some(socket) = self.take(role, address) else {
            return TokioListener::bind(address).await;
        };
        socket.set_nonblocking(true)?;
        TokioListener::from_std(socket)
    }

    fn take(&self, role: Role, address: SocketAddr) -> Option<TcpListener> {
        let mut sockets = self.sockets.lock();
        let fits =
            |socket: &TcpListener| socket.local_addr().is_ok_and(|own| is_meant(address, own));
        let of_role = sockets
            .iter()
            .position(|(of, socket)| *of == Some(role) && (self.by_role || fits(socket)));
        let nameless = || sockets.iter().position(|(of, socket)| of.is_none() && fits(socket));
        let position = of_role.or_else(nameless)?;
        Some(sockets.swap_remove(position).1)
    }

    /// The addresses of those that nobody took. They are closed.
    pub fn close_rest(&self) -> Vec<SocketAddr> {
        let rest = std::mem::take(&mut *self.sockets.lock());
        rest.iter().filter_map(|(_, socket)| socket.local_addr().ok()).collect()
    }
}

/// Whether the address of a socket is what was asked for; port 0 asks for any.
fn is_meant(asked: SocketAddr, own: SocketAddr) -> bool {
    asked.ip() == own.ip() && (asked.port() == 0 || asked.port() == own.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket() -> (TcpListener, SocketAddr) {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = socket.local_addr().expect("an address");
        (socket, address)
    }

    #[test]
    fn a_manager_decides_by_role_and_a_node_by_address() {
        let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        let (http, other) = (socket(), socket().1);
        let again = http.0.try_clone().expect("a socket");
        let managed = Inherited::of_manager(vec![(Some(Role::Http), http.0)]);
        assert!(managed.take(Role::Api, any).is_none());
        assert!(managed.take(Role::Http, other).is_some(), "whatever its address");
        let before = Inherited::of_node(vec![(Role::Http, again)]);
        assert!(before.take(Role::Http, other).is_none(), "another address is opened anew");
        assert!(before.take(Role::Http, any).is_some());
        assert!(before.take(Role::Http, any).is_none(), "each is taken once");
    }

    #[test]
    fn sockets_without_a_role_are_found_by_address() {
        let (one, two) = (socket(), socket());
        let sockets = Inherited::of_manager(vec![(None, one.0), (None, two.0)]);
        assert!(sockets.take(Role::Api, two.1).is_some());
        assert_eq!(sockets.close_rest(), [one.1]);
        let (single, other) = (socket().0, socket().1);
        let single = Inherited::of_manager(vec![(None, single)]);
        assert!(single.take(Role::Http, other).is_some(), "a single one is for the load balancer");
    }

    #[test]
    fn roles_have_words() {
        for role in Role::ALL {
            assert_eq!(Role::named(role.name()), Some(role));
        }
        assert_eq!(Role::named("wharf.socket"), None);
    }
}
