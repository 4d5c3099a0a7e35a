//! Certificates of tests, and a client that looks at what it is shown.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::raw::within;

/// A certificate that signs itself, and its key.
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

impl Pair {
    pub fn for_names(names: &[&str]) -> Self {
        let names = names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let pair = rcgen::generate_simple_self_signed(names).expect("generated");
        Self { certificate: pair.cert.pem(), key: pair.signing_key.serialize_pem() }
    }

    pub fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.certificate.as_bytes()).expect("PEM")
    }

    /// A server with this certificate, and these protocols.
    pub fn server(&self, protocols: &[&str]) -> rustls::ServerConfig {
        let key = rustls::pki_types::PrivateKeyDer::from_pem_slice(self.key.as_bytes());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().expect("versions");
        let builder = builder.with_no_client_auth();
        let config = builder.with_single_cert(vec![self.der()], key.expect("a key"));
        let mut config = config.expect("a pair");
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }

    /// Writes `NAME.crt` and `NAME.key`, and returns their places.
    pub fn write(&self, dir: &Path, name: &str) -> (PathBuf, PathBuf) {
        let place = |kind| dir.join(format!("{name}.{kind}"));
        std::fs::write(place("crt"), &self.certificate).expect("writable");
        std::fs::write(place("key"), &self.key).expect("writable");
        (place("crt"), place("key"))
    }
}

/// A client that trusts these certificates and speaks these protocols.
pub fn tls_client(trusted: &[&Pair], protocols: &[&str]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for pair in trusted {
        roots.add(pair.der()).expect("a certificate");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().expect("versions");
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    config
}

/// An encrypted connection, if the handshake succeeds.
pub async fn shake_hands(
    address: SocketAddr,
    name: &str,
    config: ClientConfig,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = within("a connection", TcpStream::connect(address)).await?;
    shake_hands_on(stream, name, config).await
}

/// The same, on a connection that was used before.
pub async fn shake_hands_on(
    stream: TcpStream,
    name: &str,
    config: ClientConfig,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let connector = TlsConnector::from(Arc::new(config));
    within("a handshake", connector.connect(name, stream)).await
}

/// What comes as the answer to these bytes until the connection ends.
pub async fn exchange(stream: &mut TlsStream<TcpStream>, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.expect("bytes are taken");
    let mut answer = Vec::new();
    within("an answer", stream.read_to_end(&mut answer)).await.expect("an orderly end");
    String::from_utf8(answer).expect("text")
}

/// A request for `path` of a service, as the last one on its connection.
pub fn last_get(service: &str, path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: {service}.test\r\nconnection: close\r\n{fields}\r\n")
}
