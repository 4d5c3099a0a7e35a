//! A node of ours: the program itself, driven by its own command line.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::Context;
use serde::Deserialize;
use tempfile::TempDir;

use super::guest;
use super::load::Expected;
use super::process::{self, Server};

/// The program, which cargo builds along with the benches.
const WHARF: &str = env!("CARGO_BIN_EXE_wharf");

/// A node that runs. It is killed, and its folder removed, when this is dropped.
pub(crate) struct Node {
    server: Server,
    ready: Ready,
    folder: TempDir,
}

#[derive(Debug, Deserialize)]
struct Ready {
    http: SocketAddr,
    api: SocketAddr,
}

/// What a node says of itself at the moment.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Live {
    /// Components in memory.
    pub(crate) loaded: u32,
    /// Components loaded since the start.
    pub(crate) loads: u64,
    /// `fast` or `safe`.
    pub(crate) reset: String,
    /// Why not otherwise.
    pub(crate) reset_because: String,
}

impl Node {
    /// Starts a node with the reset that is asked for: `auto` or `safe`.
    pub(crate) fn start(reset: &str, core: Option<usize>) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let ready_file = folder.path().join("ready.json");
        let any = "127.0.0.1:0";
        let mut command = Command::new(WHARF);
        command.args(["serve", "--listen", any, "--api-listen", any, "--access-log", "off"]);
        command.args(["--log", "warn", "--reset", reset]);
        command.arg("--ready-file").arg(&ready_file);
        command.arg("--data-dir").arg(folder.path().join("data"));
        let mut server = Server::start(&mut command, core)?;
        let ready = server.wait_for(&ready_file, |text| serde_json::from_str(text).ok())?;
        Ok(Self { server, ready, folder })
    }

    /// Starts a node that serves `hello` with the limits of a manifest that names none.
    pub(crate) fn with_hello(reset: &str, core: Option<usize>) -> anyhow::Result<Self> {
        let node = Self::start(reset, core)?;
        let component = guest::hello();
        guest::hello_bytes()?;
        node.apply(&format!(
            "[task.hello]\ncomponent = {component:?}\n\
             [service.hello]\nroute = \"hello.localhost/*\"\nscale = {{ min = 1 }}\n"
        ))?;
        Ok(node)
    }

    /// Applies a manifest and waits until every service is ready.
    pub(crate) fn apply(&self, manifest: &str) -> anyhow::Result<()> {
        let file = self.folder.path().join("bench.toml");
        std::fs::write(&file, manifest)?;
        let file = file.to_string_lossy();
        let args = ["apply", "--wait", "--timeout", "10m", "-f", file.as_ref()];
        self.call(&args).with_context(|| self.server.said()).map(drop)
    }

    /// What the node says of itself.
    pub(crate) fn live(&self) -> anyhow::Result<Live> {
        #[derive(Deserialize)]
        struct Row {
            live: Live,
        }
        let rows: Vec<Row> = serde_json::from_str(&self.call(&["nodes", "-o", "json"])?)?;
        Ok(rows.into_iter().next().context("the node knows no node")?.live)
    }

    /// What `hello` is asked, and answers.
    pub(crate) fn hello(&self) -> Expected {
        self.expected("hello.localhost")
    }

    /// What a service that runs `hello` is asked, and answers.
    pub(crate) fn expected(&self, host: &str) -> Expected {
        let body = guest::HELLO_BODY.to_owned();
        Expected { address: self.ready.http, host: host.to_owned(), body }
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.server.id()
    }

    /// Where it answers requests.
    pub(crate) fn http(&self) -> SocketAddr {
        self.ready.http
    }

    /// Calls the program's own command line.
    pub(crate) fn call(&self, args: &[&str]) -> anyhow::Result<String> {
        let api = format!("http://{}", self.ready.api);
        process::output_of(Path::new(WHARF), ["--api", api.as_str()].iter().chain(args))
    }
}

/// What `wharf --version` says.
pub(crate) fn version() -> anyhow::Result<String> {
    Ok(process::output_of(Path::new(WHARF), ["--version"])?.trim().to_owned())
}
