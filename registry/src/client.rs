//! Pulls Wasm from OCI registries and pushes it to them.
//!
//! The HTTP is our own, over reqwest: `oci-client` 0.17 reads manifests, token answers and
//! error bodies without a limit, sends the credentials of a registry to whatever absolute
//! `Location` or token realm that registry names, and cannot bound a blob by its promised
//! size. Its documents (manifest, config, media types) and those of `oci-wasm` are used as
//! they are.
//!
//! *Invariant:* nothing that a registry sends is read without a limit or trusted without its
//! digest.
//!
//! *Invariant:* credentials go to the registry they are for and to the token service it
//! names, never along a redirect to another origin.
//!
//! *Invariant:* a registry cannot send this machine where the registry itself is not: see
//! `guard`.
//!
//! Start reading at [`Client::pull`], then `transport`.

mod auth;
mod credentials;
mod error;
mod guard;
mod pull;
mod push;
mod transport;
mod upload;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::artifact::Layout;
use crate::content::{ContentStore, Pin};
use crate::digest::Digest;
use crate::reference::Reference;
use transport::Transport;

pub use credentials::{Error as CredentialsError, HelperError};
pub use error::Error;

/// What an operation of the client returns.
pub type Result<T> = std::result::Result<T, Error>;

/// How a [`Client`] behaves.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Registries that may speak plain HTTP, as `host` (any port) or `host:port`. Loopback
    /// addresses and `localhost` always may, as with Docker.
    pub insecure_registries: Vec<String>,
    /// Docker's `config.json`, or the folder that holds it; `None` means `$DOCKER_CONFIG`,
    /// else `~/.docker`. The file need not exist.
    pub docker_config: Option<PathBuf>,
    /// Certificates in PEM that are trusted besides those of the system.
    pub extra_ca_pem: Option<Vec<u8>>,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// How long a registry may be silent while it answers.
    pub read_timeout: Duration,
    /// How long one request may take as a whole, the transfer of a blob included.
    pub request_timeout: Duration,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            insecure_registries: Vec::new(),
            docker_config: None,
            extra_ca_pem: None,
            connect_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(30),
            // 64 MiB, the largest image, at 1 Mbit/s.
            request_timeout: Duration::from_secs(600),
        }
    }
}

/// A client of OCI registries; a cheap handle, clones share connections and tokens.
#[derive(Clone)]
pub struct Client {
    transport: Arc<Transport>,
}

/// What a pull brought.
#[derive(Debug, Clone)]
pub struct Artifact {
    /// The digest of the manifest that holds the Wasm: behind an index, that of its entry.
    pub manifest: Digest,
    /// The digest of the Wasm bytes, as they are in the content store.
    pub component: Digest,
    /// Their size in bytes.
    pub size_bytes: u64,
    /// How the image carried them.
    pub layout: Layout,
    /// Keeps the component in the content store while it lives.
    pub pin: Pin,
}

/// How far a transfer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Progress {
    /// The manifest is known.
    Manifest {
        /// Its digest.
        digest: Digest,
    },
    /// A blob is on its way; `done_bytes == total_bytes` is its last report.
    Blob {
        /// Its digest.
        digest: Digest,
        /// How much was transferred, in bytes.
        done_bytes: u64,
        /// Its size in bytes.
        total_bytes: u64,
    },
    /// A blob is where it is wanted already, and is not transferred.
    Present {
        /// Its digest.
        digest: Digest,
        /// Its size in bytes.
        total_bytes: u64,
    },
    /// The layers of a container image are being unpacked.
    Unpacking,
}

impl Client {
    /// A client with this configuration. Nothing is contacted or read yet, apart from the
    /// certificates of the system.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] if the certificates cannot be used.
    pub fn new(config: ClientConfig) -> Result<Self> {
        Ok(Self { transport: Arc::new(Transport::new(config)?) })
    }

    /// The digest of the manifest that `reference` stands for now. If that is an index, it is
    /// the digest of its entry for Wasm.
    pub async fn resolve(&self, reference: &Reference) -> Result<Digest> {
        pull::resolve(&self.transport, reference).await
    }

    /// Brings the Wasm of `reference` into `store`. What is there already is not downloaded;
    /// a reference with a digest whose parts are all there needs no registry at all.
    pub async fn pull(
        &self,
        reference: &Reference,
        store: &ContentStore,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Artifact> {
        pull::pull(&self.transport, reference, store, progress).await
    }

    /// Pushes `wasm`, a component or a core module, in the CNCF layout, and returns the digest
    /// of the manifest. The same bytes always give the same digest.
    pub async fn push(
        &self,
        reference: &Reference,
        wasm: Bytes,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Digest> {
        push::push(&self.transport, reference, wasm, progress).await
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}
