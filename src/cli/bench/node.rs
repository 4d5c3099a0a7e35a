//! A node to measure: this program again, with a folder of its own.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context;
use parking_lot::Mutex;
use serde::Deserialize;

use crate::clock;

use super::super::client::ApiClient;
use super::super::told::Told;

/// How long a node may take until it serves: with a million services some seconds.
const START_TIME: Duration = Duration::from_secs(120);
/// How often it is looked whether it does.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);
/// How often it is looked whether it still runs.
const WATCH_INTERVAL: Duration = Duration::from_millis(100);
/// Lines of its log that are repeated when it fails.
const LAST_LINES: usize = 12;
/// What the node must not take from the environment of whoever starts the run.
const FOREIGN: [&str; 7] = [
    "WHARF_API",
    "WHARF_DATA_DIR",
    "WHARF_LOG",
    "WHARF_TAKE_OVER",
    "LISTEN_FDS",
    "LISTEN_PID",
    "NOTIFY_SOCKET",
];

/// A node that serves. It is killed when this is dropped.
pub(super) struct Node {
    process: Process,
    pub(super) http: SocketAddr,
    pub(super) api: ApiClient,
    /// From the start of its process until it said that it serves.
    pub(super) started_in: Duration,
}

#[derive(Deserialize)]
struct Ready {
    http: SocketAddr,
    api: SocketAddr,
}

impl Node {
    /// Starts a node on a folder, with what is in it.
    pub(super) async fn start(folder: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("the folder {} cannot be made", folder.display()))?;
        let ready_file = folder.join("ready.json");
        let _ = std::fs::remove_file(&ready_file);
        let began = clock::now();
        let process = Process::start(folder, &ready_file)?;
        let ready: Ready = loop {
            let text = std::fs::read_to_string(&ready_file).unwrap_or_default();
            if let Ok(ready) = serde_json::from_str(&text) {
                break ready;
            }
            process.check()?;
            if began.elapsed() > START_TIME {
                let text = format!("the node does not serve after {START_TIME:?}");
                return Err(Told::new(text).hint(process.last_words()).into());
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        };
        let api = ApiClient::new(&format!("http://{}", ready.api))?;
        Ok(Self { process, http: ready.http, api, started_in: began.elapsed() })
    }

    /// Its process id.
    pub(super) fn pid(&self) -> u32 {
        self.process.child.lock().id()
    }

    /// Comes back only when the node has ended by itself, and says how.
    pub(super) async fn ended(&self) -> anyhow::Error {
        loop {
            tokio::time::sleep(WATCH_INTERVAL).await;
            if let Err(error) = self.process.check() {
                return error;
            }
        }
    }
}

/// The process of a node, whether it serves already or not.
struct Process {
    child: Mutex<Child>,
    folder: PathBuf,
}

impl Process {
    fn start(folder: &Path, ready_file: &Path) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("this program does not find itself")?;
        let log = std::fs::File::options().create(true).append(true).open(log_file(folder));
        let any = "127.0.0.1:0";
        let mut command = Command::new(program);
        command.args(["serve", "--listen", any, "--api-listen", any, "--log", "warn"]);
        command.args(["--access-log", "off", "--node", "bench"]);
        command.arg("--data-dir").arg(folder.join("data")).arg("--ready-file").arg(ready_file);
        for name in FOREIGN {
            command.env_remove(name);
        }
        // A group of its own: Ctrl-C is for this program, which then stops the node.
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(log.context("the node's log cannot be made")?);
        let child = command.spawn().context("the node cannot be started")?;
        Ok(Self { child: Mutex::new(child), folder: folder.to_owned() })
    }

    /// An error if it has ended.
    fn check(&self) -> anyhow::Result<()> {
        match self.child.lock().try_wait().context("the node's process is lost")? {
            None => Ok(()),
            Some(status) => Err(self.ended_with(status).into()),
        }
    }

    fn ended_with(&self, status: ExitStatus) -> Told {
        Told::new(format!("the node ended by itself, with {status}")).hint(self.last_words())
    }

    /// The last lines of its log.
    fn last_words(&self) -> String {
        let file = log_file(&self.folder);
        last_words(&String::from_utf8_lossy(&std::fs::read(file).unwrap_or_default()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let child = self.child.get_mut();
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn log_file(folder: &Path) -> PathBuf {
    folder.join("node.log")
}

fn last_words(log: &str) -> String {
    let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
    match &lines[lines.len().saturating_sub(LAST_LINES)..] {
        [] => "it has written nothing into its log; was it killed for want of memory?".to_owned(),
        last => format!("the end of its log:\n  {}", last.join("\n  ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_of_a_log_are_told() {
        let log: String = (0..100).map(|n| format!("line {n}\n\n")).collect();
        let told = last_words(&log);
        assert!(told.contains("\n  line 88\n") && told.ends_with("line 99"), "{told}");
        assert!(!told.contains("line 87\n"), "{told}");
        assert!(last_words("\n").contains("nothing"), "an empty log");
    }
}
