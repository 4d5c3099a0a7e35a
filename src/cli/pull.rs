//! `wharf pull`: an image becomes a Wasm file.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use registry::{Artifact, ContentStore, Reference};
use serde::Serialize;

use super::client::ApiClient;
use super::local::{self, Target};
use super::output::{self, Output};
use super::progress::Transfer;
use super::told::Told;

/// Bytes of the folder that an image goes through: the largest one, with room for its parts.
const CONTENT_BYTES: u64 = 1 << 30;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wharf pull hello:1                       from the node's own registry, into hello.wasm
  wharf pull ghcr.io/me/hello:1 --to h.wasm")]
pub(super) struct Args {
    /// The image, such as hello:1 or ghcr.io/me/hello:1
    reference: String,
    /// The file to write; without it the last part of the name and .wasm
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// Talk plain HTTP to this registry, as host or host:port; may be given again
    #[arg(long, value_name = "HOST")]
    insecure_registry: Vec<String>,
}

#[derive(Serialize)]
struct Pulled {
    image: String,
    manifest: String,
    component: String,
    size_bytes: u64,
    file: String,
}

pub(super) async fn run(args: Args, api: &ApiClient, output: Output) -> anyhow::Result<()> {
    let target = Target::read(&args.reference, api)?;
    let file = args.to.unwrap_or_else(|| file_name(&target.name));
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let scratch = tempfile::tempdir_in(folder).map_err(|error| {
        Told::new(format!("{} cannot be written: {error}", file.display()))
            .hint("choose another file with --to")
    })?;
    let content = ContentStore::open(scratch.path(), CONTENT_BYTES)?;
    let client = local::client(api, &args.insecure_registry)?;
    let transfer = Transfer::new();
    let report = |progress| transfer.report(progress);
    let result = client.pull(&target.reachable, &content, &report).await;
    transfer.clear();
    let artifact = result?;
    write(&content, &artifact, folder, &file)
        .with_context(|| format!("{} cannot be written", file.display()))?;
    let pulled = Pulled {
        image: target.name.to_string(),
        manifest: artifact.manifest.to_string(),
        component: artifact.component.to_string(),
        size_bytes: artifact.size_bytes,
        file: file.display().to_string(),
    };
    match output {
        Output::Json => output::json(&pulled),
        Output::Table => output::text(&format!(
            "{}  {}  {}\n",
            pulled.file,
            output::bytes(pulled.size_bytes),
            pulled.component
        )),
    }
}

fn file_name(reference: &Reference) -> PathBuf {
    let last = reference.repository().rsplit('/').next().unwrap_or("image");
    format!("{last}.wasm").into()
}

/// Verified bytes appear under the file's name whole, or not at all.
fn write(
    content: &ContentStore,
    artifact: &Artifact,
    folder: &Path,
    file: &Path,
) -> anyhow::Result<()> {
    let bytes = content.read(&artifact.component)?;
    let bytes = bytes.ok_or_else(|| io::Error::other("the pulled bytes are gone"))?;
    let mut temp = tempfile::Builder::new();
    // As other programs make files: readable by all that the umask allows.
    let temp = temp.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut temp = temp.tempfile_in(folder)?;
    temp.write_all(&bytes)?;
    temp.as_file().sync_all()?;
    temp.persist(file)?;
    Ok(())
}
