//! `wharf apply`: runs what a manifest asks for.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;

use crate::agent::OWN_REGISTRY;
use crate::api::{Applied, Change, ServiceState};
use crate::model::ByteSize;
use crate::spec::{self, Format, Manifest, Source};

use super::args;
use super::client::ApiClient;
use super::follow::{self, Outcome};
use super::local::{self, Target};
use super::output::{self, Output, say};
use super::progress::Transfer;
use super::told::Told;

/// The largest manifest that is read: twice what a node takes, so that the node's own message
/// says what the limit is.
const MANIFEST_BYTES: ByteSize = ByteSize::mib(2);

#[derive(Debug, clap::Args)]
#[command(after_help = "\
A task's `component` is a file beside the manifest: it is pushed to the node's own registry first,
for a dry run as well, since the image's digest is part of the plan.

Examples:
  wharf apply -f wharf.toml --dry-run     say what would change
  wharf apply -f wharf.toml --wait        and wait until every service is ready
  generate-manifest | wharf apply -f -")]
pub(super) struct Args {
    /// The manifest (TOML, YAML or JSON by its extension), or - for standard input
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// Say what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Wait until every service is ready, or has failed
    #[arg(long, conflicts_with = "dry_run")]
    wait: bool,
    /// How long to wait
    #[arg(long, value_parser = args::time, default_value = "5m", value_name = "TIME")]
    timeout: Duration,
}

pub(super) async fn run(args: Args, api: &ApiClient, output: Output) -> anyhow::Result<()> {
    let mut written = Written::read(&args.file)?;
    written.push_components(api).await?;
    let kind = match written.format {
        Format::Toml => "application/toml",
        Format::Yaml => "application/yaml",
        Format::Json => "application/json",
    };
    let request = api
        .request(Method::POST, &["v1", "apply"])
        .query(&[("dry_run", args.dry_run)])
        .header(CONTENT_TYPE, kind)
        .body(written.text);
    let applied: Applied = api.call(request).await?;
    if output == Output::Table {
        output::text(&plan(&applied))?;
    }
    let outcomes = match args.wait {
        true => {
            let services = applied.services.iter();
            let services: Vec<_> = services.map(|s| (s.name.clone(), s.generation)).collect();
            let upstreams: Vec<_> =
                applied.upstreams.iter().map(|u| (u.name.clone(), u.generation)).collect();
            follow::until_forwarded(api, &upstreams, args.timeout).await?;
            follow::until_settled(api, &services, args.timeout).await?
        }
        false => BTreeMap::new(),
    };
    match output {
        Output::Json => output::json(&with_outcomes(&applied, &outcomes)?)?,
        Output::Table if !args.dry_run && !args.wait && !applied.services.is_empty() => {
            say("follow it with `wharf services`, or wait with `--wait`");
        }
        Output::Table => {}
    }
    failure(&outcomes).map_or(Ok(()), |told| Err(told.into()))
}

/// Which services failed, and what serves in their place.
fn failure(outcomes: &BTreeMap<String, Outcome>) -> Option<Told> {
    let failed = outcomes.iter().filter(|(_, outcome)| outcome.state == ServiceState::Failed);
    let (first, _) = failed.clone().next()?;
    let failed = failed.map(|(name, outcome)| match &outcome.earlier {
        Some(earlier) => format!("{name} ({earlier} goes on serving)"),
        None => name.clone(),
    });
    let failed: Vec<String> = failed.collect();
    let hint = format!("`wharf describe {first}` and `wharf logs {first}` say more");
    Some(Told::new(format!("failed: {}", failed.join(", "))).hint(hint))
}

/// A manifest as it was written, known to be valid.
pub(super) struct Written {
    text: String,
    format: Format,
    pub(super) manifest: Manifest,
    /// What component paths are relative to.
    folder: PathBuf,
}

impl Written {
    /// Reads a manifest from a file, or from standard input if it is `-`.
    pub(super) fn read(file: &Path) -> anyhow::Result<Self> {
        let from_stdin = file == Path::new("-");
        let shown =
            if from_stdin { "standard input".to_owned() } else { file.display().to_string() };
        let text = read_text(file, from_stdin).map_err(|error| {
            Told::new(format!("{shown} cannot be read: {error}"))
                .hint("give the manifest's path after -f")
        })?;
        let format = Format::of_path(file).unwrap_or_else(|| Format::sniff(&text));
        let manifest = spec::parse(&text, format).map_err(|problems| {
            let n = problems.0.len();
            let message = format!("{shown} has {n} problem{}", if n == 1 { "" } else { "s" });
            Told::problems(message, problems.0.iter().map(Into::into))
        })?;
        let folder = file.parent().filter(|_| !from_stdin).unwrap_or(Path::new(""));
        Ok(Self { text, format, manifest, folder: folder.to_owned() })
    }

    /// Pushes local components to the node's registry, and names their images instead.
    async fn push_components(&mut self, api: &ApiClient) -> anyhow::Result<()> {
        let mut pushed = false;
        for (name, task) in &mut self.manifest.tasks {
            let Source::Component(path) = &task.source else { continue };
            let path = self.folder.join(path);
            let wasm = local::read_wasm(&path)?;
            let target = Target::read(&format!("{OWN_REGISTRY}/local/{name}"), api)?;
            let client = local::client(api, &[])?;
            say(format!("pushing {} as {OWN_REGISTRY}/local/{name}", path.display()));
            let transfer = Transfer::new();
            let report = |progress| transfer.report(progress);
            let result = client.push(&target.reachable, wasm, &report).await;
            transfer.clear();
            let image = format!("{OWN_REGISTRY}/local/{name}@{}", result?);
            task.source = Source::Image(image.parse()?);
            pushed = true;
        }
        if pushed {
            (self.text, self.format) = (self.manifest.to_json().to_string(), Format::Json);
        }
        Ok(())
    }
}

fn read_text(file: &Path, from_stdin: bool) -> std::io::Result<String> {
    let mut reader: Box<dyn Read> = match from_stdin {
        true => Box::new(std::io::stdin()),
        false => Box::new(std::fs::File::open(file)?),
    };
    let mut text = String::new();
    reader.by_ref().take(MANIFEST_BYTES.0).read_to_string(&mut text)?;
    Ok(text)
}

/// What changed, one thing a line: `+` is new, `~` is different, `=` is as it was.
fn plan(applied: &Applied) -> String {
    let mut text = String::new();
    let mark = |change| match change {
        Change::Created => "+",
        Change::Updated => "~",
        Change::Unchanged => "=",
    };
    for task in &applied.tasks {
        let (image, digest) = (short_image(&task.image), output::short_digest(&task.manifest));
        text += &format!("{} task    {}  {image} ({digest})\n", mark(task.change), task.id);
    }
    for service in &applied.services {
        let rest = match service.change {
            Change::Created => format!("runs {}", service.task),
            Change::Updated => format!("generation {}", service.generation),
            Change::Unchanged => "unchanged".to_owned(),
        };
        text += &format!("{} service {}  {rest}\n", mark(service.change), service.name);
        for change in &service.changes {
            text += &format!("    {change}\n");
        }
    }
    for upstream in &applied.upstreams {
        let rest = match upstream.change {
            Change::Created => "forwards".to_owned(),
            Change::Updated => format!("generation {}", upstream.generation),
            Change::Unchanged => "unchanged".to_owned(),
        };
        text += &format!("{} upstream {}  {rest}\n", mark(upstream.change), upstream.name);
        for change in &upstream.changes {
            text += &format!("    {change}\n");
        }
    }
    if applied.dry_run {
        text += "nothing was changed: this is a dry run\n";
    }
    text
}

/// An image without the digest that stands beside it.
fn short_image(image: &str) -> &str {
    image.split_once('@').map_or(image, |(name, _)| name)
}

/// The report of the API, with how each service ended up.
fn with_outcomes(
    applied: &Applied,
    outcomes: &BTreeMap<String, Outcome>,
) -> anyhow::Result<serde_json::Value> {
    let mut value = serde_json::to_value(applied)?;
    for service in value["services"].as_array_mut().into_iter().flatten() {
        let outcome = service["name"].as_str().and_then(|name| outcomes.get(name));
        if let Some(outcome) = outcome {
            service["state"] = serde_json::to_value(outcome.state)?;
            service["message"] = outcome.message.clone().into();
            if let Some(code) = &outcome.code {
                service["code"] = code.clone().into();
            }
            if let Some(earlier) = &outcome.earlier {
                service["serving"] = earlier.clone().into();
            }
        }
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{AppliedService, AppliedTask};

    #[test]
    fn a_plan_reads_like_a_difference() {
        let task = AppliedTask {
            id: "hello:2".to_owned(),
            change: Change::Created,
            image: "wharf.internal/hello:1@sha256:00".to_owned(),
            manifest: registry::Digest::of(b"x").to_string(),
        };
        let service = AppliedService {
            name: "hello".to_owned(),
            change: Change::Updated,
            task: "hello:2".to_owned(),
            revision: 1,
            generation: 3,
            changes: vec!["task hello:1 → hello:2".to_owned()],
            note: None,
        };
        let applied = Applied {
            revision: 4,
            dry_run: true,
            tasks: vec![task],
            services: vec![service],
            upstreams: Vec::new(),
        };
        assert_eq!(
            plan(&applied),
            "+ task    hello:2  wharf.internal/hello:1 (sha256:2d711642b726)\n\
             ~ service hello  generation 3\n    task hello:1 → hello:2\n\
             nothing was changed: this is a dry run\n"
        );
        let outcome = Outcome {
            state: ServiceState::Failed,
            code: Some("component-invalid".to_owned()),
            message: "why".to_owned(),
            earlier: Some("hello:1".to_owned()),
            pull: None,
            compile: None,
        };
        let outcomes = BTreeMap::from([("hello".to_owned(), outcome)]);
        let json = with_outcomes(&applied, &outcomes).expect("plain data");
        assert_eq!(json["services"][0]["state"], "failed");
        assert_eq!(json["services"][0]["code"], "component-invalid");
        assert_eq!(json["services"][0]["serving"], "hello:1");
        let told = failure(&outcomes).expect("one failed").to_string();
        assert_eq!(told, "failed: hello (hello:1 goes on serving)");
    }

    #[test]
    fn a_manifest_with_mistakes_is_not_sent() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("wharf.toml");
        std::fs::write(&file, "[task.a]\ncpu = -1\n[service.B]\ntask = \"a\"\n").expect("written");
        let error = Written::read(&file).err().expect("mistakes");
        assert!(error.to_string().contains("has 3 problems"), "{error}");
        let error = Written::read(&folder.path().join("none.toml")).err().expect("missing");
        assert!(error.to_string().contains("cannot be read"), "{error}");
    }
}
