//! Processes that take over from a node of a test.

use std::process::{Child, Command};

use rustix::process::{Pid, Signal};
use serde_json::Value;

use crate::support::{Node, serve_on, wait_for};

/// A process that has taken over. It is no child of the test, unless the test has started it.
pub(super) struct Heir {
    pid: u32,
    child: Option<Child>,
}

impl Heir {
    /// The process that serves after this one.
    pub(super) fn after(node: &Node, old: u32) -> Self {
        Self { pid: ready_pid_after(node, old), child: None }
    }

    /// A process that the test starts to take over, with another address for the load balancer.
    pub(super) fn start(node: &Node, listen: &str, old: u32) -> Self {
        let mut command = serve_on(listen, &node.api.to_string(), &node.data());
        command.arg("--take-over").arg("--ready-file").arg(node.path("ready.json"));
        let child = spawn(node, &mut command);
        Self { pid: ready_pid_after(node, old), child: Some(child) }
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it has ended, and let go of its files.
    pub(super) fn is_gone(&self) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/stat", self.pid));
        let Ok(status) = status else { return true };
        // Whoever is left to wait for it may take its time: a zombie has ended. Its files are held
        // by its threads, until the last of them has gone as well: the 17th field after the state.
        let mut fields = status.rsplit(") ").next().unwrap_or_default().split(' ');
        fields.next() == Some("Z") && fields.nth(16) == Some("1")
    }
}

impl Drop for Heir {
    fn drop(&mut self) {
        if !self.is_gone() {
            tell(self.pid, Signal::KILL);
        }
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
        }
    }
}

/// Runs a command whose log is that of the node.
pub(super) fn spawn(node: &Node, command: &mut Command) -> Child {
    let log = std::fs::File::options().append(true).open(node.path("node.log"));
    command.stderr(log.expect("a log")).spawn().expect("it starts")
}

/// Sends a signal to a process that runs.
pub(super) fn tell(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process");
    let _ = rustix::process::kill_process(pid, signal);
}

/// Lets the node replace itself; completes when the other process serves.
pub(super) fn hand_over(node: &Node, old: u32) -> Heir {
    tell(old, Signal::USR2);
    Heir::after(node, old)
}

fn ready_pid_after(node: &Node, old: u32) -> u32 {
    wait_for("another process", || ready_pid(node).filter(|pid| *pid != old))
}

fn ready_pid(node: &Node) -> Option<u32> {
    let text = std::fs::read_to_string(node.path("ready.json")).ok()?;
    let ready: Value = serde_json::from_str(&text).ok()?;
    ready["pid"].as_u64()?.try_into().ok()
}
