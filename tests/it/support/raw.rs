//! HTTP/1.1 as bytes: what no client library would send, and how exactly it is answered.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// How long a test waits for anything. It only bounds a hang.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// Waits for `work`, or says what never happened.
pub async fn within<F: Future>(what: &str, work: F) -> F::Output {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(output) => output,
        Err(_) => panic!("this never happened: {what}"),
    }
}

/// Waits until `holds`, or says what never became true.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    within(what, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// As its framing says.
    Whole,
    /// Before that.
    Cut,
}

/// A response.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
    pub end: End,
}

impl Answer {
    /// The first field of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.headers.iter();
        fields.find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn is_chunked(&self) -> bool {
        self.header("transfer-encoding") == Some("chunked")
    }
}

enum More {
    Bytes,
    Closed,
    Reset,
}

/// A connection.
pub struct Raw {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Raw {
    pub async fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).await.expect("a connection")
    }

    /// The same, where it may be refused.
    pub async fn try_connect(address: SocketAddr) -> std::io::Result<Self> {
        let stream = within("a connection", TcpStream::connect(address)).await?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// A connection whose own buffers are small, so that a reader that stops is felt soon.
    pub async fn connect_narrow(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(32 << 10).expect("a small buffer");
        socket.set_send_buffer_size(32 << 10).expect("a small buffer");
        let stream = within("a connection", socket.connect(address)).await;
        Self { stream: stream.expect("a connection"), buffer: Vec::new() }
    }

    /// Sends the bytes. That the other side has closed already shows in what it answers.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = within("bytes are taken", self.stream.write_all(bytes.as_ref())).await;
    }

    /// Sends at most as much as is taken before nothing moves for `pause`; returns how much.
    pub async fn send_until_stuck(&mut self, bytes: &[u8], pause: Duration) -> usize {
        let mut sent = 0;
        while sent < bytes.len() {
            match tokio::time::timeout(pause, self.stream.write(&bytes[sent..])).await {
                Ok(Ok(taken)) => sent += taken,
                Ok(Err(_)) | Err(_) => break,
            }
        }
        sent
    }

    /// Says that no more bytes come.
    pub async fn finish(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// The connection's two halves, for those who read and write at once.
    pub fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// The next response; `None` if the connection closes before one begins.
    pub async fn answer(&mut self) -> Option<Answer> {
        let mut answer = self.head().await?;
        let bodiless = answer.status < 200 || matches!(answer.status, 204 | 304);
        let length = answer.header("content-length").map(|l| l.parse().expect("a length"));
        if bodiless {
            return Some(answer);
        }
        match length {
            _ if answer.is_chunked() => self.chunks(&mut answer).await,
            Some(length) => {
                answer.end = self.fill(length).await;
                let there = length.min(self.buffer.len());
                answer.body = self.buffer.drain(..there).collect();
            }
            None => {
                answer.end = self.rest().await;
                answer.body = std::mem::take(&mut self.buffer);
            }
        }
        Some(answer)
    }

    /// The head of the next response, whatever follows it.
    pub async fn head(&mut self) -> Option<Answer> {
        let head = loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break self.buffer.drain(..end + 4).collect::<Vec<_>>();
            }
            if !matches!(self.more().await, More::Bytes) {
                assert!(self.buffer.is_empty(), "half a head: {:?}", lossy(&self.buffer));
                return None;
            }
        };
        let head = String::from_utf8(head).expect("heads are text");
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let status = status.and_then(|status| status.parse().ok()).expect("a status line");
        let (body, trailers) = Default::default();
        Some(Answer { status, headers: fields(lines), body, trailers, end: End::Whole })
    }

    /// Exactly so many bytes; `None` if the connection ends before.
    pub async fn take(&mut self, length: usize) -> Option<Vec<u8>> {
        match self.fill(length).await {
            End::Whole => Some(self.buffer.drain(..length).collect()),
            End::Cut => None,
        }
    }

    /// Whether the connection closes now, without another byte.
    pub async fn is_closed(&mut self) -> bool {
        self.rest().await;
        self.buffer.is_empty()
    }

    /// How the connection ends; what comes until then is read.
    pub async fn rest(&mut self) -> End {
        loop {
            match self.more().await {
                More::Bytes => {}
                More::Closed => return End::Whole,
                More::Reset => return End::Cut,
            }
        }
    }

    /// The next chunk of a body; `None` when it has ended as it should.
    pub async fn chunk(&mut self) -> Option<Vec<u8>> {
        let line = self.line().await.expect("a chunk's size");
        let size = usize::from_str_radix(line.trim(), 16).expect("a chunk's size");
        if size == 0 {
            while !self.line().await.expect("the end of the body").is_empty() {}
            return None;
        }
        assert_eq!(self.fill(size + 2).await, End::Whole, "a whole chunk");
        let chunk = self.buffer.drain(..size).collect();
        self.buffer.drain(..2);
        Some(chunk)
    }

    async fn chunks(&mut self, answer: &mut Answer) {
        loop {
            let Some(line) = self.line().await else { break };
            let size = usize::from_str_radix(line.trim(), 16).expect("a chunk's size");
            if size == 0 {
                while let Some(line) = self.line().await {
                    if line.is_empty() {
                        return;
                    }
                    answer.trailers.extend(fields([line.as_str()].into_iter()));
                }
                break;
            }
            let end = self.fill(size + 2).await;
            let there = size.min(self.buffer.len());
            answer.body.extend(self.buffer.drain(..there));
            if end == End::Cut {
                break;
            }
            self.buffer.drain(..2);
        }
        answer.end = End::Cut;
    }

    /// A line without its end; `None` if the connection ends first.
    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..end + 2).collect();
                return Some(lossy(&line[..end]));
            }
            if !matches!(self.more().await, More::Bytes) {
                return None;
            }
        }
    }

    async fn fill(&mut self, length: usize) -> End {
        while self.buffer.len() < length {
            if !matches!(self.more().await, More::Bytes) {
                return End::Cut;
            }
        }
        End::Whole
    }

    async fn more(&mut self) -> More {
        let read = within("an answer or a close", self.stream.read_buf(&mut self.buffer)).await;
        match read {
            Ok(0) => More::Closed,
            Ok(_) => More::Bytes,
            Err(_) => More::Reset,
        }
    }
}

fn fields<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<(String, String)> {
    let split = |line: &str| {
        let (name, value) = line.split_once(':').expect("a field");
        (name.to_ascii_lowercase(), value.trim().to_owned())
    };
    lines.map(split).collect()
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
