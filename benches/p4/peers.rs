//! nginx and HAProxy as Debian has them, told to do what ours does.

use std::fmt::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::harness::guest::HELLO_BODY;
use super::harness::load::Expected;
use super::harness::machine;
use super::harness::process::Server;

/// How long a peer may take until it listens.
const START_TIME: Duration = Duration::from_secs(10);
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// A load balancer of others that runs. It is killed when this is dropped.
pub(super) struct Peer {
    server: Server,
    address: SocketAddr,
    version: String,
    _folder: TempDir,
}

impl Peer {
    pub(super) fn nginx(targets: &[SocketAddr], core: Option<usize>) -> anyhow::Result<Self> {
        let (folder, address) = (tempfile::tempdir()?, free_address()?);
        let program = find("nginx")?;
        let path = folder.path().display();
        let mut servers = String::new();
        for target in targets {
            writeln!(servers, "    server {target};")?;
        }
        let config = format!(
            "worker_processes {workers};
daemon off;
error_log {path}/error.log;
pid {path}/nginx.pid;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {path}/body;
  proxy_temp_path {path}/proxy;
  fastcgi_temp_path {path}/fastcgi;
  uwsgi_temp_path {path}/uwsgi;
  scgi_temp_path {path}/scgi;
  keepalive_requests 100000000;
  upstream origin {{
    least_conn;
{servers}    keepalive 256;
    keepalive_requests 100000000;
  }}
  server {{
    listen {address};
    location / {{
      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $host;
      proxy_set_header X-Request-ID $request_id;
      proxy_set_header Via \"1.1 nginx\";
      add_header X-Request-ID $request_id;
    }}
  }}
}}
",
            workers = machine::cores(),
        );
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, config)?;
        let mut command = Command::new(&program);
        command.arg("-p").arg(folder.path()).arg("-c").arg(&file);
        Self::start(command, folder, address, version(&program, "-v")?, core)
    }

    pub(super) fn haproxy(targets: &[SocketAddr], core: Option<usize>) -> anyhow::Result<Self> {
        let (folder, address) = (tempfile::tempdir()?, free_address()?);
        let program = find("haproxy")?;
        let mut servers = String::new();
        for (number, target) in targets.iter().enumerate() {
            writeln!(servers, "  server s{number} {target}")?;
        }
        let config = format!(
            "global
  nbthread {threads}
defaults
  mode http
  timeout connect 2s
  timeout client 60s
  timeout server 60s
  http-reuse always
  option forwardfor
frontend front
  bind {address}
  unique-id-format %{{+X}}o\\ %Ts%rt%pid
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request set-header X-Request-ID %[unique-id]
  http-request set-header Via \"1.1 haproxy\"
  default_backend origin
backend origin
  balance leastconn
{servers}",
            threads = machine::cores(),
        );
        let file = folder.path().join("haproxy.cfg");
        std::fs::write(&file, config)?;
        let mut command = Command::new(&program);
        command.arg("-db").arg("-f").arg(&file);
        Self::start(command, folder, address, version(&program, "-v")?, core)
    }

    fn start(
        mut command: Command,
        folder: TempDir,
        address: SocketAddr,
        version: String,
        core: Option<usize>,
    ) -> anyhow::Result<Self> {
        let server = Server::start(&mut command, core)?;
        let deadline = Instant::now() + START_TIME;
        while TcpStream::connect(address).is_err() {
            if Instant::now() >= deadline {
                bail!("{version} does not listen: {}", server.said());
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
        Ok(Self { server, address, version, _folder: folder })
    }

    pub(super) fn expected(&self) -> Expected {
        let (host, body) = ("origin.localhost".to_owned(), HELLO_BODY.to_owned());
        Expected { address: self.address, host, body }
    }

    pub(super) fn id(&self) -> u32 {
        self.server.id()
    }

    pub(super) fn version(&self) -> &str {
        &self.version
    }
}

impl Drop for Peer {
    /// nginx answers from children of its own, which outlive a parent that is killed.
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let deadline = Instant::now() + START_TIME;
        while TcpStream::connect(self.address).is_ok() && Instant::now() < deadline {
            std::thread::sleep(LOOK_INTERVAL);
        }
    }
}

fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Debian keeps servers where only root looks.
fn find(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let mut found = folders.map(|folder| folder.join(name)).filter(|program| program.is_file());
    found.next().with_context(|| {
        format!("{name} is not here\nhint: `make bench-p4` installs Debian's package")
    })
}

/// nginx says its version where others complain.
fn version(program: &Path, option: &str) -> anyhow::Result<String> {
    let output = Command::new(program).arg(option).output()?;
    let text = [output.stdout, output.stderr].concat();
    Ok(String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().to_owned())
}
