//! The files that certificates and keys are kept in.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::chosen::Certified;

/// Bytes of a file: a chain of certificates and a key have some ten thousand.
const MOST_FILE_BYTES: u64 = 1 << 20;
/// Pairs of a node. Each is read again every few seconds.
const MOST_PAIRS: usize = 1_000;

/// Where certificates come from. The first pair, in this order, is the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// Files of certificates, each with the file of its key.
    pub pairs: Vec<(PathBuf, PathBuf)>,
    /// A folder of `NAME.crt` or `NAME.pem`, in the order of their names. The key is in
    /// `NAME.key`, or in the same file.
    pub dir: Option<PathBuf>,
}

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder cannot be read.
    #[error("{} cannot be read", .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file is far too large.
    #[error("{} has more than 1 MiB", .0.display())]
    TooLarge(PathBuf),
    /// There is nothing to show a client.
    #[error("{} has no certificates: no NAME.crt and no NAME.pem", .0.display())]
    Empty(PathBuf),
    /// There are too many pairs.
    #[error("there are more than {MOST_PAIRS} certificates")]
    TooMany,
    /// A file is not PEM.
    #[error("{} is not PEM", .path.display())]
    Pem {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: pem::Error,
    },
    /// A file has no certificate in it.
    #[error("there is no certificate in {}", .0.display())]
    NoCertificate(PathBuf),
    /// A file has no private key in it.
    #[error("there is no private key in {}", .0.display())]
    NoKey(PathBuf),
    /// The certificate is not one that can be served.
    #[error("the certificate in {} cannot be used", .path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: webpki::Error,
    },
    /// The key is none, or not that of the certificate.
    #[error(
        "the key in {} does not fit the certificate in {}", .key.display(), .certificate.display()
    )]
    Pair {
        /// The file of the certificate.
        certificate: PathBuf,
        /// That of the key.
        key: PathBuf,
        /// What rustls said.
        #[source]
        source: rustls::Error,
    },
}

impl Error {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Read { path, .. } => {
                format!(
                    "check that {} is there and that the node's user may read it",
                    path.display()
                )
            }
            Self::TooLarge(_) => "name a file of one certificate chain or one key".to_owned(),
            Self::Empty(_) => "put NAME.crt and NAME.key, or NAME.pem with both, there".to_owned(),
            Self::TooMany => "serve some of the names from another node".to_owned(),
            Self::Pem { .. } | Self::NoCertificate(_) => {
                "give a PEM file: it has a line -----BEGIN CERTIFICATE-----".to_owned()
            }
            Self::NoKey(path) => format!(
                "put the key beside it as {}, in PEM and without a passphrase",
                path.with_extension("key").display()
            ),
            Self::Certificate { .. } => {
                "it must be an X.509 certificate of version 3; ask your authority for a new one"
                    .to_owned()
            }
            Self::Pair { .. } => "name the key that the certificate was requested with; the \
                certificate of the server itself stands first in its file"
                .to_owned(),
        }
    }
}

impl Sources {
    /// Reads all files. There is at least one pair.
    pub(super) fn read(&self) -> Result<Vec<Pair>, Error> {
        let mut places = self.pairs.clone();
        if let Some(dir) = &self.dir {
            let found = places_in(dir)?;
            if found.is_empty() && places.is_empty() {
                return Err(Error::Empty(dir.clone()));
            }
            places.extend(found);
        }
        if places.len() > MOST_PAIRS {
            return Err(Error::TooMany);
        }
        places.into_iter().map(|(certificate, key)| Pair::read(certificate, key)).collect()
    }
}

/// The pairs of a folder. What is hidden is not looked at: volumes of Kubernetes keep their own
/// files there.
fn places_in(dir: &Path) -> Result<Vec<(PathBuf, PathBuf)>, Error> {
    let failed = |source| Error::Read { path: dir.to_owned(), source };
    let mut places = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        if hidden || !path.extension().is_some_and(|kind| kind == "crt" || kind == "pem") {
            continue;
        }
        if places.len() == MOST_PAIRS {
            return Err(Error::TooMany);
        }
        let beside = path.with_extension("key");
        let key = if beside.exists() { beside } else { path.clone() };
        places.push((path, key));
    }
    places.sort();
    Ok(places)
}

/// A certificate and a key as they are in their files.
pub(super) struct Pair {
    certificate: (PathBuf, Vec<u8>),
    key: (PathBuf, Vec<u8>),
}

impl Pair {
    fn read(certificate: PathBuf, key: PathBuf) -> Result<Self, Error> {
        let (chain, secret) = (bytes_of(&certificate)?, bytes_of(&key)?);
        Ok(Self { certificate: (certificate, chain), key: (key, secret) })
    }

    /// Makes a difference of every byte, and of the names of files.
    pub(super) fn digest_into(&self, digest: &mut blake3::Hasher) {
        for (path, bytes) in [&self.certificate, &self.key] {
            for part in [path.as_os_str().as_encoded_bytes(), bytes] {
                digest.update(&(part.len() as u64).to_le_bytes()).update(part);
            }
        }
    }

    /// The certificate with its key, if they fit.
    pub(super) fn certified(&self) -> Result<Certified, Error> {
        let ((certificate, chain), (key, secret)) = (&self.certificate, &self.key);
        let not_pem = |path: &Path, source| Error::Pem { path: path.to_owned(), source };
        let chain = CertificateDer::pem_slice_iter(chain).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|source| not_pem(certificate, source))?;
        let leaf = chain.first().ok_or_else(|| Error::NoCertificate(certificate.clone()))?;
        let names = names_of(leaf)
            .map_err(|source| Error::Certificate { path: certificate.clone(), source })?;
        let secret = PrivateKeyDer::from_pem_slice(secret).map_err(|source| match source {
            pem::Error::NoItemsFound => Error::NoKey(key.clone()),
            source => not_pem(key, source),
        })?;
        let certified = CertifiedKey::from_der(chain, secret, &ring::default_provider());
        let certified = certified.map_err(|source| Error::Pair {
            certificate: certificate.clone(),
            key: key.clone(),
            source,
        })?;
        Ok(Certified { key: Arc::new(certified), names })
    }
}

fn bytes_of(path: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path);
    let read = file.and_then(|file| file.take(MOST_FILE_BYTES + 1).read_to_end(&mut bytes));
    match read {
        Err(source) => Err(Error::Read { path: path.to_owned(), source }),
        Ok(read) if read as u64 > MOST_FILE_BYTES => Err(Error::TooLarge(path.to_owned())),
        Ok(_) => Ok(bytes),
    }
}

/// The host names that a certificate is for.
fn names_of(certificate: &CertificateDer<'_>) -> Result<Vec<String>, webpki::Error> {
    let certificate = webpki::EndEntityCert::try_from(certificate)?;
    Ok(certificate.valid_dns_names().map(str::to_owned).collect())
}
