//! A node of ours: the program itself, driven by its own command line.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tempfile::TempDir;

use super::guest;
use super::load::Expected;
use super::process::{self, Server};

/// The program, which cargo builds along with the benches.
const WHARF: &str = env!("CARGO_BIN_EXE_wharf");

/// How long another process may take to take over.
const REPLACE_TIME: Duration = Duration::from_secs(60);
/// How often it is looked whether it has.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// A node that runs. It is killed, and its folder removed, when this is dropped.
pub(crate) struct Node {
    server: Server,
    ready: Ready,
    /// The process that serves: the one that was started, or one that has taken over since.
    pid: AtomicU32,
    folder: TempDir,
}

#[derive(Debug, Deserialize)]
struct Ready {
    http: SocketAddr,
    api: SocketAddr,
    pid: u32,
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
        let ready: Ready = server.wait_for(&ready_file, |text| serde_json::from_str(text).ok())?;
        let pid = AtomicU32::new(ready.pid);
        Ok(Self { server, ready, pid, folder })
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
        self.pid.load(Relaxed)
    }

    /// Lets another process take over, and waits until it serves.
    pub(crate) fn replace(&self) -> anyhow::Result<()> {
        let old = self.id();
        kill_process(process_of(old)?, Signal::USR2)?;
        let deadline = Instant::now() + REPLACE_TIME;
        loop {
            let text = std::fs::read_to_string(self.folder.path().join("ready.json"));
            let ready = text.ok().and_then(|text| serde_json::from_str::<Ready>(&text).ok());
            if let Some(Ready { pid, .. }) = ready.filter(|ready| ready.pid != old) {
                self.pid.store(pid, Relaxed);
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "nobody took over: {}", self.server.said());
            sleep(LOOK_INTERVAL);
        }
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

impl Drop for Node {
    fn drop(&mut self) {
        // The process that was started is killed with its server.
        if let (true, Ok(heir)) = (self.id() != self.server.id(), process_of(self.id())) {
            let _ = kill_process(heir, Signal::KILL);
        }
    }
}

fn process_of(pid: u32) -> anyhow::Result<Pid> {
    Pid::from_raw(i32::try_from(pid)?).context("no process has the id 0")
}

/// What `wharf --version` says.
pub(crate) fn version() -> anyhow::Result<String> {
    Ok(process::output_of(Path::new(WHARF), ["--version"])?.trim().to_owned())
}
