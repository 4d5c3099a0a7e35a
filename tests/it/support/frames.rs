//! HTTP/2 as frames: what no client library would send, and what exactly comes back.

use std::net::SocketAddr;

use super::raw::{Raw, within};

/// What a client begins with (RFC 9113 §3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

/// The flag of settings and pings that are answers.
const ACK: u8 = 1;
/// The flags of headers that are whole and end their stream.
pub const WHOLE: u8 = 0x5;
/// The setting of a stream's first window (RFC 9113 §6.5.2).
const INITIAL_WINDOW: u16 = 4;

/// A frame as bytes.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let mut out = vec![length[1], length[2], length[3], kind, flags];
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// A header block field, without compression and without indexing (RFC 7541 §6.2.2).
pub fn field(name: &str, value: &str) -> Vec<u8> {
    let mut out = vec![0, u8::try_from(name.len()).expect("short")];
    out.extend(name.as_bytes());
    out.push(u8::try_from(value.len()).expect("short"));
    out.extend(value.as_bytes());
    out
}

/// A frame that came.
#[derive(Clone, Debug)]
pub struct Frame {
    pub kind: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// A connection that answers pings and settings, and opens no window by itself.
pub struct Frames(Raw);

impl Frames {
    /// Connects; each stream begins with a window of so many bytes.
    pub async fn connect(address: SocketAddr, window: u32) -> Self {
        let mut raw = Raw::connect(address).await;
        let setting = [&INITIAL_WINDOW.to_be_bytes()[..], &window.to_be_bytes()].concat();
        raw.send([PREFACE, &frame(SETTINGS, 0, 0, &setting)].concat()).await;
        Self(raw)
    }

    pub async fn send(&mut self, frame: Vec<u8>) {
        self.0.send(frame).await;
    }

    /// Asks for a path of `<service>.test`.
    pub async fn get(&mut self, stream: u32, service: &str, path: &str, id: &str) {
        let block = [
            field(":method", "GET"),
            field(":scheme", "http"),
            field(":authority", &format!("{service}.test")),
            field(":path", path),
            field("x-request-id", id),
        ];
        self.send(frame(HEADERS, WHOLE, stream, &block.concat())).await;
    }

    /// Opens the window of a stream, or of the connection as 0, by so many bytes.
    pub async fn open(&mut self, stream: u32, bytes: u32) {
        self.send(frame(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes())).await;
    }

    /// The next frame that is no ping and no setting; `None` when the connection ends.
    pub async fn next(&mut self) -> Option<Frame> {
        loop {
            let head = self.0.take(9).await?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let payload = self.0.take(length).await?;
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            match (head[3], head[4] & ACK) {
                (kind @ (PING | SETTINGS), 0) => {
                    let payload = if kind == PING { &payload[..] } else { &[] };
                    self.send(frame(kind, ACK, 0, payload)).await;
                }
                (PING | SETTINGS, _) => {}
                (kind, _) => return Some(Frame { kind, stream, payload }),
            }
        }
    }

    /// The next frame of this kind; others are passed over.
    pub async fn next_of(&mut self, kind: u8) -> Frame {
        within("a frame of this kind", async {
            loop {
                let frame = self.next().await.expect("the connection goes on");
                if frame.kind == kind {
                    return frame;
                }
            }
        })
        .await
    }
}
