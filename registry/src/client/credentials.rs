//! Credentials from Docker's `config.json`.
//!
//! The file is read anew for every registry that asks, so that a `docker login` takes effect
//! at once. Source of the format: the documentation of `docker login`, and the
//! `docker-credential-helpers` protocol.
//!
//! *Invariant:* secrets are never in an error, a log line or a `Debug` text.

mod helper;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

pub use helper::Error as HelperError;

/// The most of `config.json` that is read, in bytes; real files have a few kilobytes.
const CONFIG_MAX_BYTES: u64 = 1 << 20;

/// The name under which Docker keeps the credentials of Docker Hub.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// What proves who is asking.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Credentials {
    /// For HTTP basic authentication, at the registry or its token service.
    Basic { username: String, password: String },
    /// A refresh token for the OAuth2 flow of the token service.
    IdentityToken(String),
}

/// Why credentials could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file exists but cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file is not what Docker writes.
    #[error("{} is malformed\nhint: repair it, or remove it and log in again", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
    /// The `auth` of a registry is not base64 of `user:password`.
    #[error(
        "{} has an `auth` for `{registry}` that is not base64 of user:password\n\
         hint: log in again",
        path.display()
    )]
    Auth {
        /// The file.
        path: PathBuf,
        /// The registry.
        registry: String,
    },
    /// The credential helper failed.
    #[error("the credential helper docker-credential-{helper} failed")]
    Helper {
        /// The name of the helper.
        helper: String,
        /// Why.
        #[source]
        source: HelperError,
    },
}

/// Where Docker keeps its configuration, by the environment of this process.
pub(super) fn default_path() -> Option<PathBuf> {
    let folder = match std::env::var_os("DOCKER_CONFIG") {
        Some(folder) if !folder.is_empty() => PathBuf::from(folder),
        _ => std::env::home_dir()?.join(".docker"),
    };
    Some(folder.join("config.json"))
}

/// The credentials for `registry` by the file at `path`, if there are any.
pub(super) async fn lookup(path: &Path, registry: &str) -> Result<Option<Credentials>, Error> {
    let file = if path.is_dir() { path.join("config.json") } else { path.to_owned() };
    let Some(config) = read(&file).await? else {
        return Ok(None);
    };
    let key = if registry == "docker.io" { DOCKER_HUB_KEY } else { registry };
    let helper = config.cred_helpers.get(registry).or_else(|| config.cred_helpers.get(key));
    if let Some(helper) = helper.or(config.creds_store.as_ref()).filter(|name| !name.is_empty()) {
        let found = helper::get(helper, key)
            .await
            .map_err(|source| Error::Helper { helper: helper.clone(), source })?;
        if found.is_some() {
            return Ok(found);
        }
    }
    let entry = config.auths.get(key).or_else(|| {
        config.auths.iter().find(|(name, _)| host_of(name) == host_of(key)).map(|(_, e)| e)
    });
    entry.map_or(Ok(None), |entry| entry.credentials(&file, registry))
}

/// Docker's shape; it has many other fields.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Config {
    auths: HashMap<String, Entry>,
    #[serde(rename = "credHelpers")]
    cred_helpers: HashMap<String, String>,
    #[serde(rename = "credsStore")]
    creds_store: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
}

impl Entry {
    fn credentials(&self, file: &Path, registry: &str) -> Result<Option<Credentials>, Error> {
        if !self.identitytoken.is_empty() {
            return Ok(Some(Credentials::IdentityToken(self.identitytoken.clone())));
        }
        if self.auth.is_empty() {
            let (username, password) = (self.username.clone(), self.password.clone());
            return Ok((!username.is_empty()).then_some(Credentials::Basic { username, password }));
        }
        let malformed = || Error::Auth { path: file.to_owned(), registry: registry.to_owned() };
        let decoded = STANDARD.decode(self.auth.trim()).map_err(|_| malformed())?;
        let text = String::from_utf8(decoded).map_err(|_| malformed())?;
        let (username, password) = text.split_once(':').ok_or_else(malformed)?;
        // Docker pads the password with NUL bytes in some versions.
        let password = password.trim_end_matches('\0').to_owned();
        Ok(Some(Credentials::Basic { username: username.to_owned(), password }))
    }
}

async fn read(path: &Path) -> Result<Option<Config>, Error> {
    use tokio::io::AsyncReadExt as _;
    let failed = |source| Error::Read { path: path.to_owned(), source };
    let file = match tokio::fs::File::open(path).await {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut text = Vec::new();
    file.take(CONFIG_MAX_BYTES).read_to_end(&mut text).await.map_err(failed)?;
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|source| Error::Malformed { path: path.to_owned(), source })
}

/// Keys are hosts, or the URLs that older versions of Docker wrote.
fn host_of(key: &str) -> &str {
    let rest = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    let rest = rest.unwrap_or(key);
    rest.split_once('/').map_or(rest, |(host, _)| host)
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Basic { .. } => "Basic(…)",
            Self::IdentityToken(_) => "IdentityToken(…)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn find(config: &str, registry: &str) -> Result<Option<Credentials>, Error> {
        let dir = tempfile::tempdir().expect("a scratch folder");
        std::fs::write(dir.path().join("config.json"), config).expect("written");
        lookup(dir.path(), registry).await
    }

    fn basic(username: &str, password: &str) -> Option<Credentials> {
        Some(Credentials::Basic { username: username.into(), password: password.into() })
    }

    #[tokio::test]
    async fn every_form_of_an_entry_is_read() {
        let config = r#"{"auths": {
            "a.io": {"auth": "bWU6cDpx"},
            "b.io:5000": {"username": "me", "password": "pw"},
            "c.io": {"identitytoken": "refresh"},
            "https://d.io/v2/": {"auth": "bWU6cHc="},
            "https://index.docker.io/v1/": {"auth": "aHViOnB3"},
            "e.io": {}
        }, "HttpHeaders": {"x": "y"}}"#;
        let find = async |registry| find(config, registry).await.expect("sound");
        assert_eq!(find("a.io").await, basic("me", "p:q"));
        assert_eq!(find("b.io:5000").await, basic("me", "pw"));
        assert_eq!(find("b.io").await, None);
        assert_eq!(find("c.io").await, Some(Credentials::IdentityToken("refresh".into())));
        assert_eq!(find("d.io").await, basic("me", "pw"));
        assert_eq!(find("docker.io").await, basic("hub", "pw"));
        assert_eq!(find("e.io").await, None);
        assert_eq!(find("evil.a.io").await, None);
    }

    #[tokio::test]
    async fn a_missing_file_is_fine_and_a_malformed_one_is_not() {
        let missing = lookup(Path::new("/nonexistent/config.json"), "a.io").await;
        assert_eq!(missing.expect("fine"), None);
        for malformed in ["", "{", "3", "{\"auths\": 3}", "{\"auths\": {\"a.io\": 1}}"] {
            let outcome = find(malformed, "a.io").await;
            assert!(matches!(outcome, Err(Error::Malformed { .. })), "{malformed}: {outcome:?}");
        }
        for auth in ["!!!", "bm9jb2xvbg=="] {
            let config = format!("{{\"auths\": {{\"a.io\": {{\"auth\": \"{auth}\"}}}}}}");
            assert!(matches!(find(&config, "a.io").await, Err(Error::Auth { .. })));
            find(&config, "b.io").await.expect("another registry's entry does not matter");
        }
    }

    #[tokio::test]
    async fn a_helper_that_is_missing_or_has_a_path_is_an_error() {
        for name in ["surely-not-installed", "../../bin/true", "a b"] {
            let config = format!("{{\"credHelpers\": {{\"a.io\": \"{name}\"}}}}");
            assert!(matches!(find(&config, "a.io").await, Err(Error::Helper { .. })), "{name}");
            assert_eq!(find(&config, "b.io").await.expect("not its helper"), None);
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let shown = format!("{:?}", basic("user", "secret"));
        assert!(!shown.contains("secret") && !shown.contains("user"));
    }
}
