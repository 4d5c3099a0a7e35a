//! What two processes of a node say to each other when one takes over from the other.
//!
//! | who | says | which means |
//! |---|---|---|
//! | old | a [`Greeting`], with the sockets | here is everything that listens |
//! | new | `take` | all else is ready: let go of the state |
//! | old | `yours`, or `no` | the state is released, or it stays |
//! | new | `serving` | routes and services are in place |
//! | old | `done`, or `no` | accept connections from now on, or end |
//!
//! Whoever gives up says `no`, so that silence means that the other one died.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::UnixStream;

use crate::listener::Role;

/// Where the process that serves listens for the one after it, in the data folder.
pub(super) const FILE: &str = "take-over.sock";
/// Bytes of a line at most.
const LINE_BYTES: usize = 4 << 10;
/// Sockets at most: one for each role.
const MOST_SOCKETS: usize = 3;

pub(super) const TAKE: &str = "take";
pub(super) const YOURS: &str = "yours";
pub(super) const SERVING: &str = "serving";
pub(super) const DONE: &str = "done";
pub(super) const NO: &str = "no";

/// What the old process begins with.
#[derive(Debug, Serialize, Deserialize)]
struct Greeting {
    /// The roles of the sockets, in the order in which they come.
    sockets: Vec<String>,
    /// How long it waits for `serving`.
    wait_ms: u64,
}

/// One end of the conversation.
pub(super) struct Wire {
    stream: UnixStream,
    read: Vec<u8>,
}

impl Wire {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { stream, read: Vec::new() }
    }

    /// The process at the other end.
    pub(super) fn peer(&self) -> Option<u32> {
        self.stream.peer_cred().ok()?.pid()?.try_into().ok()
    }

    pub(super) async fn say(&mut self, word: &str) -> io::Result<()> {
        self.stream.write_all(format!("{word}\n").as_bytes()).await
    }

    /// What the other one says next; `None` when it is gone.
    pub(super) async fn hear(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                return Ok(Some(String::from_utf8_lossy(&line[..end]).into_owned()));
            }
            if self.read.len() > LINE_BYTES {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the line has no end"));
            }
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Hands the sockets over; they stay open here as well.
    pub(super) async fn greet(
        &mut self,
        sockets: &[(Role, TcpListener)],
        wait: Duration,
    ) -> io::Result<()> {
        let names = sockets.iter().map(|(role, _)| role.name().to_owned()).collect();
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let mut line = serde_json::to_vec(&Greeting { sockets: names, wait_ms })?;
        line.push(b'\n');
        let fds: Vec<BorrowedFd<'_>> = sockets.iter().map(|(_, socket)| socket.as_fd()).collect();
        let send = || send_with(&self.stream, &line, &fds);
        let sent = self.stream.async_io(Interest::WRITABLE, send).await?;
        self.stream.write_all(&line[sent..]).await
    }

    /// Takes the sockets, and learns how long the other one waits.
    pub(super) async fn greeted(&mut self) -> io::Result<(Vec<(Role, TcpListener)>, Duration)> {
        let receive = || receive_with(&self.stream);
        let (bytes, fds) = self.stream.async_io(Interest::READABLE, receive).await?;
        self.read.extend(bytes);
        let line = self.hear().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let Greeting { sockets, wait_ms } = serde_json::from_str(&line)?;
        if sockets.len() != fds.len() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "sockets are missing"));
        }
        let sockets = sockets.iter().zip(fds);
        let known = sockets.filter_map(|(name, fd)| Some((Role::named(name)?, fd.into())));
        Ok((known.collect(), Duration::from_millis(wait_ms)))
    }
}

fn send_with(stream: &UnixStream, line: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_SOCKETS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many sockets"));
    }
    Ok(sendmsg(stream, &[IoSlice::new(line)], &mut control, SendFlags::NOSIGNAL)?)
}

fn receive_with(stream: &UnixStream) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_SOCKETS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = vec![0; LINE_BYTES];
    let flags = RecvFlags::CMSG_CLOEXEC;
    let read = recvmsg(stream, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags)?.bytes;
    bytes.truncate(read);
    let rights = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    Ok((bytes, rights.flatten().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sockets_and_words_come_over() {
        let (old, new) = UnixStream::pair().expect("a pair");
        let (mut old, mut new) = (Wire::new(old), Wire::new(new));
        let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = socket.local_addr().expect("an address");
        let wait = Duration::from_secs(7);
        old.greet(&[(Role::Api, socket)], wait).await.expect("sent");
        old.say(YOURS).await.expect("sent");
        let (sockets, waits) = new.greeted().await.expect("received");
        assert_eq!((sockets[0].0, sockets[0].1.local_addr().ok()), (Role::Api, Some(address)));
        assert_eq!(waits, wait);
        assert_eq!(new.hear().await.expect("heard").as_deref(), Some(YOURS));
        assert_eq!(new.peer(), Some(std::process::id()));
        drop(old);
        assert_eq!(new.hear().await.expect("heard"), None, "it is gone");
    }
}
