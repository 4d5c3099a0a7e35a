//! From the images of a manifest to digests.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use futures_util::{StreamExt, stream};
use registry::{Client, Digest, Reference};

use crate::agent::{OWN_REGISTRY, reachable};
use crate::model::Name;
use crate::spec::{Manifest, Problem, Problems, Source};

use super::super::failure::Failure;

/// Registries that are asked at once.
const AT_ONCE: usize = 8;

/// The digest that the image of each task stands for now. Every image that fails is named.
pub(super) async fn resolve(
    client: &Client,
    manifest: &Manifest,
    own: SocketAddr,
) -> Result<BTreeMap<Name, Digest>, Failure> {
    let images = images(manifest)?;
    let asked = images.into_iter().map(|(name, image)| async move {
        let result = client.resolve(&reachable(&image, own)).await;
        let meant = match &result {
            Ok(_) => None,
            Err(_) => own_image(client, &image, own).await,
        };
        (name, image, result, meant)
    });
    let answers: Vec<_> = stream::iter(asked).buffered(AT_ONCE).collect().await;
    let mut digests = BTreeMap::new();
    let mut failed: Option<(&'static str, bool)> = None;
    let mut problems = Vec::new();
    for (name, image, result, meant) in answers {
        match result {
            Ok(digest) => drop(digests.insert(name, digest)),
            Err(error) => {
                failed.get_or_insert((error.code(), error.is_retryable()));
                problems.push(problem(&name, &image, &error, meant));
            }
        }
    }
    match failed {
        None => Ok(digests),
        Some((code, retryable)) => {
            Err(Failure::Images { code, retryable, problems: Problems(problems) })
        }
    }
}

/// The images of all tasks, if all of them have one.
fn images(manifest: &Manifest) -> Result<Vec<(Name, Reference)>, Failure> {
    let mut images = Vec::new();
    let mut problems = Vec::new();
    for (name, task) in &manifest.tasks {
        match &task.source {
            Source::Image(reference) => images.push((name.clone(), reference.clone())),
            Source::Component(path) => {
                let message = "a node does not read the files of whoever calls it";
                let problem = Problem::new(&format!("task.{name}.component"), message)
                    .value(path.to_string_lossy())
                    .hint(
                        "apply the manifest with `wharf apply -f`, which pushes local files first, \
                         or push the file and name its `image`",
                    );
                problems.push(problem);
            }
        }
    }
    match problems.is_empty() {
        true => Ok(images),
        false => Err(Failure::Manifest(Problems(problems))),
    }
}

/// The registry's own words, with their last line as the hint if it is one.
fn problem(
    task: &Name,
    image: &Reference,
    error: &registry::client::Error,
    meant: Option<OwnImage>,
) -> Problem {
    let text = error.to_string();
    let (message, hint) = match text.split_once("\nhint: ") {
        Some((message, hint)) => (message, Some(hint)),
        None => (text.as_str(), None),
    };
    let mut message = message.to_owned();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        let first = cause_text.lines().next().unwrap_or_default();
        message = format!("{message}: {first}");
        source = cause.source();
    }
    let problem = Problem::new(&format!("task.{task}.image"), message).value(image.to_string());
    match (meant.map(|meant| meant.hint()), hint) {
        (Some(hint), _) => problem.hint(hint),
        (None, Some(hint)) => problem.hint(hint),
        (None, None) => problem,
    }
}

/// The image of the node's own registry that somebody may have meant who wrote no host.
struct OwnImage {
    name: String,
    is_there: bool,
}

impl OwnImage {
    fn hint(&self) -> String {
        let Self { name, is_there } = self;
        match is_there {
            true => format!("the node's own registry has it: write \"{name}\""),
            false => format!(
                "without a host this is Docker Hub; for the node's own registry `wharf push` it \
                 there and write \"{name}\""
            ),
        }
    }
}

async fn own_image(client: &Client, image: &Reference, own: SocketAddr) -> Option<OwnImage> {
    let own_name = own_name(image)?;
    let is_there = client.resolve(&reachable(&own_name, own)).await.is_ok();
    Some(OwnImage { name: own_name.to_string(), is_there })
}

/// The same image in the node's own registry, if it is one of Docker Hub now.
fn own_name(image: &Reference) -> Option<Reference> {
    let name = image.repository();
    let name = name.strip_prefix("library/").unwrap_or(name);
    let tag = image.tag().map_or(String::new(), |tag| format!(":{tag}"));
    let digest = image.digest().map_or(String::new(), |digest| format!("@{digest}"));
    let text = format!("{OWN_REGISTRY}/{name}{tag}{digest}");
    text.parse().ok().filter(|_| image.registry() == "docker.io")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Format, parse};

    #[test]
    fn names_without_a_host_may_mean_the_nodes_own() {
        for (image, own) in [
            ("hello:1", Some("wharf.internal/hello:1")),
            ("me/hello", Some("wharf.internal/me/hello:latest")),
            ("ghcr.io/me/hello:1", None),
        ] {
            let found = own_name(&image.parse().expect("valid"));
            assert_eq!(found.map(|name| name.to_string()).as_deref(), own, "{image}");
        }
    }

    #[test]
    fn local_files_are_for_the_cli() {
        let text = "[task.a]\ncomponent = \"a.wasm\"\n[task.b]\ncomponent = \"b.wasm\"\n";
        let manifest = parse(text, Format::Toml).expect("valid");
        let failure = images(&manifest).expect_err("no images");
        assert_eq!(failure.status(), 422);
        let paths: Vec<_> = failure.problems().iter().map(|p| p.path.as_str()).collect();
        assert_eq!(paths, ["task.a.component", "task.b.component"]);
    }
}
