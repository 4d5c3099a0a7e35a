//! A registry that says whatever a test wants, sound or not: a plain TCP server, because an
//! HTTP library would refuse to lie.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

/// An answer, as it is sent.
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Body,
}

enum Body {
    /// With a sound `Content-Length`.
    Whole(Vec<u8>),
    /// With this `Content-Length`, whatever the content is.
    Lying(usize, Vec<u8>),
    /// Until the connection closes, without a length.
    Unannounced(Vec<u8>),
    /// Forever.
    Endless,
}

/// The server; it ends with this value.
pub(crate) struct Scripted {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: JoinHandle<()>,
}

impl Reply {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: Body::Whole(body.into()) }
    }

    pub(crate) fn redirect(location: impl Into<String>) -> Self {
        Self::new(307, "").header("Location", location)
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Announces `length` bytes instead of what there is.
    pub(crate) fn lying(mut self, length: usize) -> Self {
        if let Body::Whole(content) = self.body {
            self.body = Body::Lying(length, content);
        }
        self
    }

    pub(crate) fn unannounced(mut self) -> Self {
        if let Body::Whole(content) = self.body {
            self.body = Body::Unannounced(content);
        }
        self
    }

    pub(crate) fn endless() -> Self {
        Self { status: 200, headers: Vec::new(), body: Body::Endless }
    }

    async fn send(self, stream: &mut TcpStream, head_only: bool) -> std::io::Result<()> {
        let mut head = format!("HTTP/1.1 {} x\r\nConnection: close\r\n", self.status);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let (length, content) = match &self.body {
            Body::Whole(content) => (Some(content.len()), content.as_slice()),
            Body::Lying(length, content) => (Some(*length), content.as_slice()),
            Body::Unannounced(content) => (None, content.as_slice()),
            Body::Endless => (None, &[][..]),
        };
        if let Some(length) = length {
            head.push_str(&format!("Content-Length: {length}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).await?;
        if head_only {
            return Ok(());
        }
        stream.write_all(content).await?;
        if matches!(self.body, Body::Endless) {
            loop {
                // Ends when the client hangs up, which is what is tested.
                stream.write_all(&[b'x'; 16 << 10]).await?;
            }
        }
        stream.shutdown().await
    }
}

impl Scripted {
    /// Answers every request by `script`; the version check of clients is answered here.
    pub(crate) async fn start(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let (log, script) = (asked.clone(), Arc::new(script));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (log, script) = (log.clone(), script.clone());
                tokio::spawn(async move {
                    // A client that hangs up early is none of the script's business.
                    let _ = answer(stream, &log, &*script).await;
                });
            }
        });
        Self { address, asked, task }
    }

    /// What was asked so far, apart from version checks.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no test panics here").clone()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    stream: TcpStream,
    log: &Mutex<Vec<Asked>>,
    script: &(dyn Fn(&Asked) -> Reply + Send + Sync),
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let asked = read(&mut reader).await?;
    let mut stream = reader.into_inner();
    if asked.path == "/v2/" {
        return Reply::new(200, "{}").send(&mut stream, false).await;
    }
    log.lock().expect("no test panics here").push(asked.clone());
    let head_only = asked.method == "HEAD";
    script(&asked).send(&mut stream, head_only).await
}

async fn read(reader: &mut BufReader<TcpStream>) -> std::io::Result<Asked> {
    let mut line = String::new();
    reader.read_line(&mut line).await?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).await?;
    Ok(Asked { method, path, headers, body })
}
