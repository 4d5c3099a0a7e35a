//! The processes that take part in a run: this program in another role, or a server.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The argument that makes this program take a role.
const ROLE: &str = "--take-role";
/// How long a server may take until it serves.
const START_TIME: Duration = Duration::from_secs(60);
/// How often it is looked whether it does.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// How much of a server's standard error is repeated when it fails.
const TAIL_BYTES: usize = 2_000;

/// Something that this program can be started for, by its name. It finds its task on standard
/// input and answers on standard output, in JSON both.
pub(crate) type Role = (&'static str, Work);

/// What a role does.
pub(crate) type Work = fn() -> anyhow::Result<()>;

/// The role that this process was started for, if it was.
pub(crate) fn own_role(roles: &[Role]) -> anyhow::Result<Option<Work>> {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() != Some(ROLE) {
        return Ok(None);
    }
    let name = args.next().unwrap_or_default();
    let role = roles.iter().find(|(known, _)| *known == name);
    role.map(|(_, role)| Some(*role)).ok_or_else(|| anyhow!("there is no role `{name}`"))
}

/// Reads what this process shall do in its role.
pub(crate) fn read_task<T: DeserializeOwned>() -> anyhow::Result<T> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(serde_json::from_str(&text)?)
}

/// Answers whoever started this process.
pub(crate) fn answer(value: &impl Serialize) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, value)?;
    writeln!(out)?;
    Ok(out.flush()?)
}

/// This program in a role.
pub(crate) fn role_command(role: &str) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([ROLE, role]);
    Ok(command)
}

/// Has another process do the task, and waits for its answer.
pub(crate) fn ask<A: DeserializeOwned>(
    role: &str,
    task: &impl Serialize,
    core: Option<usize>,
) -> anyhow::Result<A> {
    let mut command = role_command(role)?;
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = spawn_on(&mut command, core)?;
    let mut stdin = child.stdin.take().context("the role has no input")?;
    serde_json::to_writer(&mut stdin, task)?;
    drop(stdin);
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("the role `{role}` ended with {}", output.status);
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Starts a process on one core, or on all of them.
pub(crate) fn spawn_on(command: &mut Command, core: Option<usize>) -> anyhow::Result<Child> {
    let Some(core) = core else { return Ok(command.spawn()?) };
    // A child inherits the affinity of the thread that starts it.
    let spawned = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let mut set = CpuSet::new();
            set.set(core);
            sched_setaffinity(None, &set)?;
            command.spawn()
        });
        thread.join()
    });
    Ok(spawned.map_err(|_| anyhow!("the thread that starts processes panicked"))??)
}

/// The cores of server and load: one each if they are to be pinned and there are two.
pub(crate) fn cores(pinned: bool) -> (Option<usize>, Option<usize>) {
    match pinned && super::machine::cores() >= 2 {
        true => (Some(0), Some(1)),
        false => (None, None),
    }
}

/// Lets this process and its children open as many files as the system allows.
pub(crate) fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    // It goes without, if it must: a bench that needs more says so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// A server under test. It is killed when this is dropped.
pub(crate) struct Server {
    child: Child,
    stderr: tempfile::NamedTempFile,
}

impl Server {
    /// Starts it, with its standard error in a file.
    pub(crate) fn start(command: &mut Command, core: Option<usize>) -> anyhow::Result<Self> {
        let stderr = tempfile::NamedTempFile::new()?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr.reopen()?);
        let program = Path::new(command.get_program()).display().to_string();
        let child = spawn_on(command, core).with_context(|| format!("starting {program}"))?;
        Ok(Self { child, stderr })
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `ready` finds in the file what it looks for.
    pub(crate) fn wait_for<T>(
        &mut self,
        file: &Path,
        ready: impl Fn(&str) -> Option<T>,
    ) -> anyhow::Result<T> {
        let deadline = Instant::now() + START_TIME;
        while Instant::now() < deadline {
            if let Some(found) = std::fs::read_to_string(file).ok().as_deref().and_then(&ready) {
                return Ok(found);
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended with {status}: {}", self.said());
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
        bail!("the server does not serve after {START_TIME:?}: {}", self.said());
    }

    /// The file that its standard error goes to.
    pub(crate) fn stderr(&self) -> &Path {
        self.stderr.path()
    }

    /// The end of its standard error.
    pub(crate) fn said(&self) -> String {
        let mut bytes = Vec::new();
        let read = File::open(self.stderr.path()).and_then(|mut file| file.read_to_end(&mut bytes));
        let start = read.unwrap_or(0).saturating_sub(TAIL_BYTES);
        String::from_utf8_lossy(&bytes[start..]).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a program to its end and returns what it printed.
pub(crate) fn output_of(
    program: &Path,
    args: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> anyhow::Result<String> {
    let shown = program.display();
    let output = Command::new(program).args(args).stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("starting {shown}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{shown} ended with {}: {said}", output.status);
    }
    Ok(String::from_utf8(output.stdout)?)
}
