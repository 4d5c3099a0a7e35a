//! Why a node does not start, and what to do about it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::proxy::ProxyError;
use crate::runtime::EngineError;
use crate::store::OpenError;
use crate::tls;

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The data folder cannot be used.
    #[error("the data folder {} cannot be used", .path.display())]
    DataDir {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The state cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The content store cannot be opened.
    #[error("the content store cannot be opened")]
    Content(#[from] registry::content::Error),
    /// The embedded registry cannot be opened.
    #[error("the embedded registry cannot be opened")]
    Registry(#[source] registry::server::Error),
    /// The registry client cannot be made.
    #[error("the registry client cannot be made")]
    Client(#[from] registry::client::Error),
    /// The engine cannot be made.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The load balancer cannot listen.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// The certificates of the load balancer cannot be used.
    #[error("the certificates cannot be used")]
    Certificates(#[from] tls::Error),
    /// TLS cannot be spoken with them.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
    /// The API cannot listen.
    #[error("the API cannot listen on {address}")]
    ApiListen {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The process before this one cannot be talked to.
    #[error("the process that serves cannot be asked at {} to let go", .path.display())]
    Predecessor {
        /// Where it listens.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The process before this one goes on.
    #[error("the process that serves does not let go")]
    Refused,
    /// A service manager has opened the API to others.
    #[error("the API would listen on {0}, where others reach it")]
    RemoteApi(SocketAddr),
    /// It cannot be said that the node serves.
    #[error("the ready file {} cannot be written", .path.display())]
    ReadyFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Something that every process needs cannot be had.
    #[error("the node cannot start")]
    Start(#[source] io::Error),
}

impl ServeError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let taken = |error: &io::Error| error.kind() == io::ErrorKind::AddrInUse;
        match self {
            Self::Proxy(error) if taken(&error.source) => {
                let option = if error.tls { "--tls-listen" } else { "--listen" };
                Some(format!(
                    "another process has the address; choose one with {option}, or stop it"
                ))
            }
            Self::Certificates(error) => Some(error.hint()),
            Self::ApiListen { source, .. } if taken(source) => Some(
                "another process has the address, perhaps another node; choose one with \
                 --api-listen, or stop it"
                    .to_owned(),
            ),
            Self::DataDir { path, .. } => {
                Some(format!("check that {} can be written to, or give --data-dir", path.display()))
            }
            Self::ReadyFile { .. } => {
                Some("name a file in a folder that is there and can be written to".to_owned())
            }
            Self::Predecessor { .. } => Some(
                "start without --take-over once the process that serves has stopped".to_owned(),
            ),
            Self::Refused => Some("it goes on serving; its log says why".to_owned()),
            Self::RemoteApi(_) => Some(
                "whoever reaches the API controls the node; if only people whom you trust can, \
                 add --allow-remote-api"
                    .to_owned(),
            ),
            Self::Engine(_) => Some("`wharf doctor` shows the limits of this machine".to_owned()),
            _ => None,
        }
    }
}
