//! `wharf push`: a Wasm file becomes an image.

use std::path::PathBuf;

use serde::Serialize;

use super::client::ApiClient;
use super::local::{self, Target};
use super::output::{self, Output};
use super::progress::Transfer;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
A reference without a registry means the registry of the node at --api, which manifests call
wharf.internal.

Examples:
  wharf push hello.wasm hello:1
  wharf push hello.wasm ghcr.io/me/hello:1")]
pub(super) struct Args {
    /// The component, or a core module for WASI preview 1
    file: PathBuf,
    /// The image, such as hello:1 or ghcr.io/me/hello:1
    reference: String,
    /// Talk plain HTTP to this registry, as host or host:port; may be given again
    #[arg(long, value_name = "HOST")]
    insecure_registry: Vec<String>,
}

#[derive(Serialize)]
struct Pushed {
    /// The image as a manifest may name it.
    image: String,
    /// The same, pinned.
    pinned: String,
    digest: String,
}

pub(super) async fn run(args: Args, api: &ApiClient, output: Output) -> anyhow::Result<()> {
    let target = Target::read(&args.reference, api)?;
    let wasm = local::read_wasm(&args.file)?;
    let client = local::client(api, &args.insecure_registry)?;
    let transfer = Transfer::new();
    let result = client.push(&target.reachable, wasm, &|progress| transfer.report(progress)).await;
    transfer.clear();
    let digest = result?;
    let pushed = Pushed {
        image: target.name.to_string(),
        pinned: target.name.with_digest(digest).to_string(),
        digest: digest.to_string(),
    };
    match output {
        Output::Json => output::json(&pushed),
        Output::Table => output::text(&format!("{}\n", pushed.pinned)),
    }
}
