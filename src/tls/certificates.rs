//! The certificates in force.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::chosen::Chosen;
use super::files::{Error, Sources};

/// Protocols that are spoken inside of TLS, the better one first (RFC 7301).
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The certificates of a node. Handshakes see those that were put in force last; connections keep
/// the one that they began with.
pub struct Certificates {
    sources: Sources,
    current: ArcSwap<Current>,
}

struct Current {
    chosen: Chosen,
    digest: blake3::Hash,
}

impl Certificates {
    /// Reads the files.
    pub fn open(sources: Sources) -> Result<Arc<Self>, Error> {
        let current = Current::read(&sources)?;
        tracing::info!(certificates = current.chosen.count(), "certificates read");
        Ok(Arc::new(Self { sources, current: ArcSwap::from_pointee(current) }))
    }

    /// What a listener needs: rustls' own choice of versions and cipher suites.
    pub fn server_config(self: &Arc<Self>) -> Result<ServerConfig, rustls::Error> {
        let provider = Arc::new(ring::default_provider());
        let versions =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let mut config = versions.with_no_client_auth().with_cert_resolver(self.clone());
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        Ok(config)
    }

    /// Reads the files again, and puts them in force if they can be used and differ. Says whether
    /// they did.
    pub fn reload(&self) -> Result<bool, Error> {
        let current = Current::read(&self.sources)?;
        if current.digest == self.current.load().digest {
            return Ok(false);
        }
        tracing::info!(certificates = current.chosen.count(), "changed certificates are in force");
        self.current.store(Arc::new(current));
        Ok(true)
    }
}

impl Current {
    fn read(sources: &Sources) -> Result<Self, Error> {
        let pairs = sources.read()?;
        let mut digest = blake3::Hasher::new();
        for pair in &pairs {
            pair.digest_into(&mut digest);
        }
        let certified = pairs.iter().map(|pair| pair.certified()).collect::<Result<_, _>>()?;
        Ok(Self { chosen: Chosen::among(certified), digest: digest.finalize() })
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current.load().chosen.for_name(hello.server_name())
    }
}

/// Keys are nobody's business.
impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("sources", &self.sources).finish_non_exhaustive()
    }
}
