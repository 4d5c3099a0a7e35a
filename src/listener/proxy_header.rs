//! The header of the PROXY protocol, versions 1 and 2: the word of a proxy that carries bytes only
//! on who is behind it (HAProxy, "The PROXY protocol", §2).
//!
//! *Invariant:* not one byte behind the header is read.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

/// What version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// What version 1 begins with.
const WORD: &[u8] = b"PROXY ";
/// Bytes of a line of version 1, its end included (§2.1).
const MOST_LINE_BYTES: usize = 107;
/// Bytes of addresses and extensions of version 2. Certificates of clients and names, which some
/// proxies add, fit in.
const MOST_EXTENDED_BYTES: usize = 4 << 10;

/// Reads the header. `None` if it names nobody: the connection is the proxy's own, as for a health
/// check, or has no IP address.
pub(super) async fn read<R: AsyncRead + Unpin>(stream: &mut R) -> io::Result<Option<SocketAddr>> {
    let mut start = [0; SIGNATURE.len()];
    stream.read_exact(&mut start).await?;
    if start == *SIGNATURE {
        binary(stream).await
    } else if start.starts_with(WORD) {
        line(stream, &start).await
    } else {
        Err(invalid("a trusted sender began without a header of the PROXY protocol"))
    }
}

/// Version 2 (§2.2).
async fn binary<R: AsyncRead + Unpin>(stream: &mut R) -> io::Result<Option<SocketAddr>> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let [command, family, high, low] = head;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > MOST_EXTENDED_BYTES {
        return Err(invalid("the header of the PROXY protocol is too long"));
    }
    let mut rest = vec![0; length];
    stream.read_exact(&mut rest).await?;
    match (command, family) {
        (0x20, _) | (0x21, 0x00 | 0x31 | 0x32) => Ok(None),
        (0x21, 0x11) => source::<4>(&rest).map(Some),
        (0x21, 0x21) => source::<16>(&rest).map(Some),
        _ => Err(invalid("the header of the PROXY protocol has an unknown command or family")),
    }
}

/// The first of two addresses, which are followed by their ports.
fn source<const N: usize>(rest: &[u8]) -> io::Result<SocketAddr>
where
    [u8; N]: Into<IpAddr>,
{
    let short = || invalid("the header of the PROXY protocol is too short for its addresses");
    let address = rest.first_chunk::<N>().ok_or_else(short)?;
    let ports = rest.get(2 * N..).and_then(|ports| ports.first_chunk::<4>()).ok_or_else(short)?;
    Ok(SocketAddr::new((*address).into(), u16::from_be_bytes([ports[0], ports[1]])))
}

/// Version 1 (§2.1). The line is read byte by byte, because nobody knows where it ends.
async fn line<R: AsyncRead + Unpin>(
    stream: &mut R,
    start: &[u8],
) -> io::Result<Option<SocketAddr>> {
    let mut line = start.to_vec();
    while !line.ends_with(b"\r\n") {
        if line.len() == MOST_LINE_BYTES {
            return Err(invalid("the line of the PROXY protocol does not end"));
        }
        line.push(stream.read_u8().await?);
    }
    let malformed = || invalid("the line of the PROXY protocol is malformed");
    let text = std::str::from_utf8(&line[WORD.len()..line.len() - 2]).map_err(|_| malformed())?;
    let words: Vec<&str> = text.split(' ').collect();
    let address: IpAddr = match words[..] {
        ["UNKNOWN", ..] => return Ok(None),
        ["TCP4", from, _, _, _] => from.parse::<Ipv4Addr>().map_err(|_| malformed())?.into(),
        ["TCP6", from, _, _, _] => from.parse::<Ipv6Addr>().map_err(|_| malformed())?.into(),
        _ => return Err(malformed()),
    };
    Ok(Some(SocketAddr::new(address, words[3].parse().map_err(|_| malformed())?)))
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the header says, and what is left behind it.
    async fn read_of(bytes: &[u8]) -> (io::Result<Option<String>>, Vec<u8>) {
        let mut rest = bytes;
        let read = read(&mut rest).await;
        (read.map(|address| address.map(|address| address.to_string())), rest.to_vec())
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).expect("short").to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest, b"GET"].concat()
    }

    async fn says(bytes: &[u8], address: Option<&str>) {
        let (read, rest) = read_of(bytes).await;
        assert_eq!(read.expect("valid").as_deref(), address);
        assert_eq!(rest, b"GET", "not one byte more is read");
    }

    #[tokio::test]
    async fn version_1_is_a_line() {
        says(b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 80\r\nGET", Some("203.0.113.9:4711")).await;
        says(b"PROXY TCP6 2001:db8::1 ::1 4711 80\r\nGET", Some("[2001:db8::1]:4711")).await;
        says(b"PROXY UNKNOWN\r\nGET", None).await;
        says(b"PROXY UNKNOWN ff::1 ff::2 1 2\r\nGET", None).await;
    }

    #[tokio::test]
    async fn version_2_is_binary() {
        let four = [203, 0, 113, 9, 10, 0, 0, 1, 0x12, 0x67, 0, 80];
        says(&v2(0x21, 0x11, &four), Some("203.0.113.9:4711")).await;
        says(&v2(0x21, 0x11, &[&four[..], b"\x04\0\x01x"].concat()), Some("203.0.113.9:4711"))
            .await;
        let mut six = [0; 36];
        (six[15], six[32], six[33]) = (1, 0x12, 0x67);
        says(&v2(0x21, 0x21, &six), Some("[::1]:4711")).await;
        says(&v2(0x20, 0x00, b""), None).await;
        says(&v2(0x20, 0x11, &four), None).await;
        says(&v2(0x21, 0x00, b"\x04\0\x01x"), None).await;
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(MOST_LINE_BYTES));
        let most = vec![0; MOST_EXTENDED_BYTES + 1];
        for bytes in [
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            b"PROXY TCP4 203.0.113.9 10.0.0.1 4711\r\n".to_vec(),
            b"PROXY TCP4 ::1 10.0.0.1 4711 80\r\n".to_vec(),
            b"PROXY TCP4 203.0.113.9 10.0.0.1 99999 80\r\n".to_vec(),
            b"PROXY UDP4 203.0.113.9 10.0.0.1 4711 80\r\n".to_vec(),
            b"PROXY TCP4 203.0.113.9".to_vec(),
            long.into_bytes(),
            v2(0x11, 0x11, &[0; 12]),
            v2(0x22, 0x11, &[0; 12]),
            v2(0x21, 0x12, &[0; 12]),
            v2(0x21, 0x11, &[0; 11]),
            v2(0x21, 0x21, &[0; 12]),
            v2(0x21, 0x11, &most),
            SIGNATURE.to_vec(),
            Vec::new(),
        ] {
            let (read, _) = read_of(&bytes).await;
            assert!(read.is_err(), "{:?}", String::from_utf8_lossy(&bytes));
        }
    }
}
