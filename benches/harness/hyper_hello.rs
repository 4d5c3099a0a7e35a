//! hyper alone: the HTTP server that answers what `hello` answers, without Wasm.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::guest::HELLO_BODY;
use super::load::Expected;
use super::process::{self, Server};

/// The role of the process that serves.
pub(crate) const ROLE: process::Role = ("hyper", run);
/// The variable that names the file in which the process says its address.
const READY_FILE: &str = "BENCH_READY_FILE";

/// A server that runs. It is killed when this is dropped.
pub(crate) struct HyperHello {
    server: Server,
    expected: Expected,
    _folder: TempDir,
}

impl HyperHello {
    /// Starts it.
    pub(crate) fn start(core: Option<usize>) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let ready_file = folder.path().join("address");
        let mut command = process::role_command(ROLE.0)?;
        let mut server = Server::start(command.env(READY_FILE, &ready_file), core)?;
        let address = server.wait_for(&ready_file, |text| text.trim_end().parse().ok())?;
        let (host, body) = ("hello.localhost".to_owned(), HELLO_BODY.to_owned());
        Ok(Self { server, expected: Expected { address, host, body }, _folder: folder })
    }

    /// What it is asked, and answers.
    pub(crate) fn expected(&self) -> &Expected {
        &self.expected
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.server.id()
    }
}

/// Serves until the process is killed, on as many threads as tokio takes by itself.
fn run() -> anyhow::Result<()> {
    let ready_file = PathBuf::from(std::env::var_os(READY_FILE).unwrap_or_default());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        std::fs::write(ready_file, listener.local_addr()?.to_string())?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(async move {
                // A connection that breaks is seen by its client, which counts.
                let service = service_fn(answer);
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    })
}

async fn answer(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::new(Full::new(Bytes::from_static(HELLO_BODY.as_bytes())));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Ok(response)
}
