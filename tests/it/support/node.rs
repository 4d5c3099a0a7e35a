//! A real node: the `wharf` binary with a data folder of its own.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

/// How long anything that must happen may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// A folder and, while it runs, the node that uses it.
pub struct Node {
    pub dir: TempDir,
    pub http: SocketAddr,
    pub api: SocketAddr,
    setup: Setup,
    child: Option<Child>,
}

/// How a node is started, each time.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Further arguments of `wharf serve`.
    pub args: Vec<String>,
    /// What the shell's `ulimit` is told before, such as `-n 64`.
    pub ulimit: Option<String>,
    /// Further variables of its environment.
    pub env: Vec<(String, String)>,
    /// Another file than the binary under test, with the same in it.
    pub program: Option<PathBuf>,
}

impl Setup {
    pub fn with(args: &[&str]) -> Self {
        let args = args.iter().map(|&arg| arg.to_owned()).collect();
        Self { args, ..Self::default() }
    }

    /// The same under a limit.
    pub fn under(self, ulimit: &str) -> Self {
        Self { ulimit: Some(ulimit.to_owned()), ..self }
    }
}

/// What a command printed, and how it ended.
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// The same, once it is sure that the command succeeded.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{}{}", self.stdout, self.stderr);
        self
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}{}", self.stdout, self.stderr))
    }
}

impl Node {
    pub fn start() -> Self {
        Self::start_in(tempfile::tempdir().expect("a folder"))
    }

    /// Starts a node on the folder, with an instance pool of the machine's own size.
    pub fn start_in(dir: TempDir) -> Self {
        Self::start_as(dir, Setup::default())
    }

    pub fn start_with(setup: Setup) -> Self {
        Self::start_as(tempfile::tempdir().expect("a folder"), setup)
    }

    pub fn start_as(dir: TempDir, setup: Setup) -> Self {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut node = Self { dir, http: nowhere, api: nowhere, setup, child: None };
        node.start_again();
        node
    }

    /// Starts the node on its folder, on free ports.
    pub fn start_again(&mut self) {
        let ready = self.path("ready.json");
        let _ = std::fs::remove_file(&ready);
        let log = std::fs::File::options().create(true).append(true).open(self.path("node.log"));
        let mut command = serve_command(&self.data());
        command.arg("--ready-file").arg(&ready).args(&self.setup.args);
        command.envs(self.setup.env.iter().map(|(name, value)| (name, value)));
        if let Some(program) = &self.setup.program {
            command = run_as(program, &command);
        }
        if let Some(ulimit) = &self.setup.ulimit {
            command = limited(ulimit, &command);
        }
        command.stderr(log.expect("a log"));
        let mut child = command.spawn().expect("the binary starts");
        let text = wait_for("the ready file", || {
            if let Some(status) = child.try_wait().expect("a child") {
                panic!("the node ended with {status}: {}", self.log());
            }
            std::fs::read_to_string(&ready).ok().filter(|text| text.ends_with('\n'))
        });
        let ready: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(ready["pid"], child.id());
        self.http = ready["http"].as_str().expect("http").parse().expect("an address");
        self.api = ready["api"].as_str().expect("api").parse().expect("an address");
        self.child = Some(child);
    }

    pub fn data(&self) -> PathBuf {
        self.path("data")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("node.log")).unwrap_or_default()
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("a running node").id()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("a child");
            child.wait().expect("a child");
        }
    }

    /// Waits until the process has ended by itself.
    pub fn wait_end(&mut self) -> Option<i32> {
        let mut child = self.child.take()?;
        wait_for("the node's end", || child.try_wait().expect("a child")).code()
    }

    /// Asks the node to stop and waits until it has.
    pub fn stop(&mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_child(self.child.as_ref()?);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("a child");
        self.wait_end()
    }

    /// Runs a command of the CLI against this node, in its folder.
    pub fn wharf(&self, args: &[&str]) -> Ran {
        ran(wharf_command()
            .env("WHARF_API", self.api_url(""))
            .current_dir(self.dir.path())
            .args(args))
    }

    /// Writes a manifest and applies it, and waits until it is in force.
    #[track_caller]
    pub fn apply(&self, manifest: &str) {
        let ran = self.try_apply(manifest);
        assert_eq!(ran.code, Some(0), "{}{}\n{}", ran.stdout, ran.stderr, self.log());
    }

    pub fn try_apply(&self, manifest: &str) -> Ran {
        std::fs::write(self.path("wharf.toml"), manifest).expect("writable");
        self.wharf(&["apply", "-f", "wharf.toml", "--wait"])
    }

    /// Puts a component into the node's folder, where manifests find it by its name.
    pub fn put(&self, name: &str, wasm: &[u8]) {
        std::fs::write(self.path(name), wasm).expect("writable");
    }

    pub fn api_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.api)
    }

    /// The only node's record.
    pub fn node_record(&self) -> Value {
        self.wharf(&["nodes", "-o", "json"]).ok().json()[0].clone()
    }

    pub fn describe(&self, service: &str) -> Value {
        self.wharf(&["describe", service, "-o", "json"]).ok().json()
    }

    /// A request through the load balancer: status and body.
    pub async fn get(&self, host: &str, path: &str) -> (u16, String) {
        self.get_within(PATIENCE, host, path).await
    }

    /// The same, for one that takes its time.
    pub async fn get_within(&self, patience: Duration, host: &str, path: &str) -> (u16, String) {
        let url = format!("http://{}{path}", self.http);
        let request = http_client().get(url).header("host", host).timeout(patience);
        let response = request.send().await.expect("an answer");
        (response.status().as_u16(), response.text().await.expect("a body"))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

/// An HTTP client, whichever test comes first.
pub fn http_client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

/// The binary under test, without the environment of whoever runs the tests.
pub fn wharf_command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
    for name in ["WHARF_API", "WHARF_DATA_DIR", "WHARF_LOG", "DOCKER_CONFIG"] {
        command.env_remove(name);
    }
    // No test reaches a registry but its own: whatever is not on this machine is refused at once.
    command.env("HTTPS_PROXY", "http://127.0.0.1:1").env("HTTP_PROXY", "http://127.0.0.1:1");
    let own = own_address().map_or(String::new(), |own| format!(",{own}"));
    command.env("NO_PROXY", format!("localhost,127.0.0.1{own}"));
    command.env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

/// `wharf serve` on free ports.
pub fn serve_command(data: &Path) -> Command {
    serve_on("127.0.0.1:0", "127.0.0.1:0", data)
}

/// `wharf serve` on these addresses.
pub fn serve_on(listen: &str, api: &str, data: &Path) -> Command {
    let mut command = wharf_command();
    command.args(["serve", "--listen", listen, "--api-listen", api, "--data-dir"]);
    command.arg(data).stdout(Stdio::null());
    command
}

/// The same command under a limit, in the same process.
fn limited(ulimit: &str, command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("ulimit {ulimit} && exec \"$@\"")).arg("sh");
    shell.arg(command.get_program());
    with_args_and_env(shell, command)
}

/// The same command with another program.
fn run_as(program: &Path, command: &Command) -> Command {
    with_args_and_env(Command::new(program), command)
}

fn with_args_and_env(mut to: Command, from: &Command) -> Command {
    to.args(from.get_args());
    for (name, value) in from.get_envs() {
        match value {
            Some(value) => to.env(name, value),
            None => to.env_remove(name),
        };
    }
    to.stdin(Stdio::null()).stdout(Stdio::null());
    to
}

/// Runs a command that must end by itself.
pub fn ran(command: &mut Command) -> Ran {
    let Output { status, stdout, stderr } = command.output().expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ran { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

/// Polls until there is an answer, within [`PATIENCE`].
#[track_caller]
pub fn wait_for<T>(what: &str, mut answer: impl FnMut() -> Option<T>) -> T {
    let end = std::time::Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = answer() {
            return answer;
        }
        assert!(std::time::Instant::now() < end, "{what} did not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// An address of this machine that is not loopback.
pub fn own_address() -> Option<IpAddr> {
    // Nothing is sent: the kernel says which address it would use.
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}
