//! `wasmtime serve`, the peer of P1.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::bail;

use super::guest;
use super::load::Expected;
use super::process::{self, Server};

/// The version that is compared with: that of the engine in Wharf.
const VERSION: &str = "48.0.8";
/// What the peer prints before its address.
const SERVING: &str = "Serving HTTP on http://";

/// A peer that runs. It is killed when this is dropped.
pub(crate) struct Peer {
    server: Server,
    expected: Expected,
}

/// Finds the program: `$WASMTIME`, else what `make bench-peers` built, else the one on the path.
pub(crate) fn find() -> anyhow::Result<(PathBuf, String)> {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers/bin/wasmtime");
    let given = std::env::var_os("WASMTIME").map(PathBuf::from);
    let candidates = given.into_iter().chain([built, PathBuf::from("wasmtime")]);
    for program in candidates {
        let Ok(said) = process::output_of(&program, ["--version"]) else { continue };
        let version = said.trim().to_owned();
        if version.split(' ').nth(1) == Some(VERSION) {
            return Ok((program, version));
        }
        eprintln!("{} is {version}; it is compared with {VERSION}", program.display());
    }
    bail!(
        "wasmtime {VERSION} is not here\nhint: run `make bench-peers`, or name the program in \
         WASMTIME; `cargo install wasmtime-cli@{VERSION} --locked --root target/peers` builds it"
    )
}

impl Peer {
    /// Serves `hello` with these flags besides.
    pub(crate) fn start(
        program: &Path,
        flags: &[&str],
        core: Option<usize>,
    ) -> anyhow::Result<Self> {
        let mut command = Command::new(program);
        // Every component in Rust imports `wasi:cli`; the flag links it and changes nothing else.
        command.args(["serve", "-S", "cli", "--addr", "127.0.0.1:0"]);
        command.args(flags).arg(guest::hello());
        let mut server = Server::start(&mut command, core)?;
        let stderr = server.stderr().to_owned();
        let address = server.wait_for(&stderr, |text| {
            let (_, rest) = text.split_once(SERVING)?;
            rest.split(['/', '\n']).next()?.parse().ok()
        })?;
        let (host, body) = ("hello.localhost".to_owned(), guest::HELLO_BODY.to_owned());
        Ok(Self { server, expected: Expected { address, host, body } })
    }

    /// What it is asked, and answers.
    pub(crate) fn hello(&self) -> &Expected {
        &self.expected
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.server.id()
    }
}
