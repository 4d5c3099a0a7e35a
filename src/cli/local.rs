//! The registry that the node itself serves, and the Wasm files that go there.

use std::path::Path;

use anyhow::Context;
use bytes::Bytes;
use registry::{Client, ClientConfig, Reference};

use crate::agent::OWN_REGISTRY;
use crate::model::ByteSize;

use super::client::ApiClient;
use super::told::Told;

/// The largest file that is pushed: the largest image that a node pulls.
const FILE_BYTES: ByteSize = ByteSize::mib(64);

/// An image, and where this program reaches it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// As a manifest names it: [`OWN_REGISTRY`] stands for the node's own registry.
    pub(super) name: Reference,
    /// The registry to talk to.
    pub(super) reachable: Reference,
}

impl Target {
    /// Reads a reference. One without a registry means the node's own, whatever Docker means.
    pub(super) fn read(text: &str, api: &ApiClient) -> anyhow::Result<Self> {
        let parsed: Reference = text.parse()?;
        if let Some(lower) = name_for_a_host(text, parsed.registry()) {
            let what = format!("`{}` is not a registry's host", parsed.registry());
            return Err(Told::new(format!("{what}, and names are lower case"))
                .hint(format!("write `{lower}`"))
                .into());
        }
        let hub = parsed.registry() == "docker.io";
        let own = hub && !["docker.io/", "index.docker.io/"].iter().any(|at| text.starts_with(at));
        let name = match own {
            true => format!("{OWN_REGISTRY}/{text}").parse()?,
            false => parsed,
        };
        let reachable = match name.registry() {
            OWN_REGISTRY => name.with_registry(&api.authority())?,
            _ => name.clone(),
        };
        Ok(Self { name, reachable })
    }
}

/// The reference in lower case, if it is a name whose first part counts as a host only because of
/// its capitals, as with Docker.
fn name_for_a_host(text: &str, host: &str) -> Option<String> {
    let is_name = !host.contains(['.', ':']) && host.chars().any(|c| c.is_ascii_uppercase());
    let rest = text.strip_prefix(host).filter(|_| is_name)?;
    Some(format!("{}{rest}", host.to_ascii_lowercase()))
}

/// A client of registries. The node's own may speak plain HTTP, wherever it is.
pub(super) fn client(api: &ApiClient, insecure: &[String]) -> anyhow::Result<Client> {
    let mut insecure = insecure.to_vec();
    insecure.push(api.authority());
    let config = ClientConfig { insecure_registries: insecure, ..ClientConfig::default() };
    Ok(Client::new(config)?)
}

/// Reads a Wasm file, and says so if it is none.
pub(super) fn read_wasm(path: &Path) -> anyhow::Result<Bytes> {
    let shown = path.display();
    let meta = std::fs::metadata(path).map_err(|error| {
        Told::new(format!("the component {shown} cannot be read: {error}"))
            .hint("build it first, and write its path relative to the manifest's folder")
    })?;
    if !meta.is_file() {
        return Err(Told::new(format!("{shown} is not a file")).into());
    }
    if meta.len() > FILE_BYTES.0 {
        let text = format!("{shown} has {} bytes, at most {FILE_BYTES} are pushed", meta.len());
        return Err(Told::new(text)
            .hint("strip it (`wasm-tools strip`), or build it for release")
            .into());
    }
    let content = std::fs::read(path).with_context(|| format!("{shown} cannot be read"))?;
    if !content.starts_with(b"\0asm") {
        return Err(Told::new(format!("{shown} is not WebAssembly"))
            .hint("name the .wasm file that the build made, not its source")
            .into());
    }
    Ok(content.into())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn api() -> ApiClient {
        let _ = rustls::crypto::ring::default_provider().install_default();
        ApiClient::new("http://127.0.0.1:7300").expect("valid")
    }

    #[test]
    fn a_name_without_a_registry_is_the_nodes_own() {
        for (text, name, reachable) in [
            ("hello:1", "wharf.internal/hello:1", "127.0.0.1:7300/hello:1"),
            ("a/hello", "wharf.internal/a/hello:latest", "127.0.0.1:7300/a/hello:latest"),
            ("wharf.internal/a:2", "wharf.internal/a:2", "127.0.0.1:7300/a:2"),
            ("ghcr.io/me/a:2", "ghcr.io/me/a:2", "ghcr.io/me/a:2"),
            ("docker.io/a:2", "docker.io/library/a:2", "docker.io/library/a:2"),
        ] {
            let target = Target::read(text, &api()).expect(text);
            assert_eq!(
                (target.name.to_string(), target.reachable.to_string()),
                (name.to_owned(), reachable.to_owned())
            );
        }
        assert!(Target::read("Hello World", &api()).is_err());
        for (text, says) in [
            ("HELLO:1", "`HELLO` is not a repository name: names are lower case"),
            ("Team/hello:1", "`Team` is not a registry's host, and names are lower case"),
        ] {
            let error = Target::read(text, &api()).expect_err(text);
            assert!(error.to_string().starts_with(says), "{error}");
        }
    }

    #[test]
    fn what_is_not_wasm_is_refused_before_it_is_sent() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        writeln!(file, "fn main() {{}}").expect("written");
        let error = read_wasm(file.path()).expect_err("not wasm");
        assert!(error.to_string().ends_with("is not WebAssembly"), "{error}");
        let error = read_wasm(Path::new("/nowhere/x.wasm")).expect_err("missing");
        assert!(error.to_string().starts_with("the component /nowhere/x.wasm"), "{error}");
        file.as_file().set_len(FILE_BYTES.0 + 1).expect("sparse");
        let error = read_wasm(file.path()).expect_err("large");
        assert!(error.to_string().contains("at most 64MiB"), "{error}");
    }
}
