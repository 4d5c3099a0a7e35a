//! Runs programs from Debian packages. A missing program fails the test and names the package.

use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::PATIENCE;

/// Runs `skopeo`, which must succeed, and returns its output.
pub(crate) async fn skopeo(arguments: &[&str]) -> String {
    let run = command("skopeo").arg("--insecure-policy").args(arguments).output();
    let output = tokio::time::timeout(PATIENCE, run).await.expect("skopeo ends");
    let output = output.unwrap_or_else(|error| missing("skopeo", &error));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "skopeo {arguments:?}: {errors}");
    String::from_utf8(output.stdout).expect("text")
}

/// Debian's `docker-registry` on a free port; it ends with this value.
pub(crate) struct DockerRegistry {
    pub(crate) address: String,
    _child: Child,
}

impl DockerRegistry {
    /// Starts it with this `http:` and `auth:` configuration, in YAML.
    pub(crate) async fn start(folder: &Path, http: &str, auth: &str) -> Self {
        let storage = folder.join("storage");
        let config = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\n  \
             delete: {{enabled: true}}\nhttp:\n  addr: 127.0.0.1:0\n{http}\n{auth}\n",
            storage.display()
        );
        let path = folder.join("config.yml");
        std::fs::write(&path, config).expect("written");
        let child = command("docker-registry").arg("serve").arg(&path).spawn();
        let mut child = child.unwrap_or_else(|error| missing("docker-registry", &error));
        let stderr = child.stderr.take().expect("piped");
        let mut lines = BufReader::new(stderr).lines();
        let mut seen = String::new();
        let find = async {
            while let Ok(Some(line)) = lines.next_line().await {
                if let Some((_, rest)) = line.split_once("listening on ") {
                    let end = rest.find([',', '"', ' ']).unwrap_or(rest.len());
                    return Some(rest[..end].to_owned());
                }
                seen.push_str(&line);
                seen.push('\n');
            }
            None
        };
        let address = tokio::time::timeout(PATIENCE, find).await.expect("docker-registry starts");
        let address = address.unwrap_or_else(|| panic!("docker-registry did not start:\n{seen}"));
        // It must not block on a full pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { address, _child: child }
    }
}

fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// The programs that are used have the names of their packages.
fn missing(program: &str, error: &std::io::Error) -> ! {
    panic!("cannot run {program}: {error}; install the Debian package `{program}`")
}
