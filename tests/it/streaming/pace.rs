//! Nobody has to hold a whole body: whoever is slow slows the others down.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::patient;
use crate::support::{End, Front, Raw, eventually, guest, within};

const MIB: usize = 1 << 20;
/// What the kernel's buffers of both directions and our own hold together, with much room.
const MOST_IN_TRANSIT: usize = 32 * MIB;
/// How long nothing moves before it counts as stuck. Too short only makes a test weaker.
const STUCK: Duration = Duration::from_millis(600);

#[tokio::test(flavor = "multi_thread")]
async fn fifty_mebibytes_pass_both_ways_and_are_never_held() {
    let front = Front::start().await;
    front.deploy("echo", &guest("echo"), patient(|_| {})).await;
    let body: Vec<u8> = (0..50 * MIB).map(|n| (n / 7 % 251) as u8).collect();
    let mut raw = Raw::connect_narrow(front.address).await;
    let length = body.len();
    raw.send(format!(
        "POST / HTTP/1.1\r\nhost: echo.test\r\nx-request-id: both\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n"
    ))
    .await;
    // As long as nobody reads the response, the request does not go on for long either.
    let sent = raw.send_until_stuck(&body, STUCK).await;
    assert!(sent < MOST_IN_TRANSIT, "{sent} bytes are held somewhere");
    let (mut reader, mut writer) = raw.into_stream().into_split();
    let rest = body[sent..].to_vec();
    let writing = tokio::spawn(async move { writer.write_all(&rest).await.map(|()| writer) });
    let mut received = Vec::new();
    within("the whole body", reader.read_to_end(&mut received)).await.expect("bytes");
    within("the request is sent", writing).await.expect("no panic").expect("all bytes");
    let text_end = received.windows(4).position(|w| w == b"\r\n\r\n").expect("a head") + 4;
    assert!(dechunk(&received[text_end..]) == body, "what came back is what was sent");
    let line = front.access_line("both").await;
    assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&length.into(), &length.into()));
    assert_eq!(line["code"], "ok");
    let peak = line["peak_memory_bytes"].as_u64().expect("a number");
    assert!(peak < 8 << 20, "the guest held {peak} bytes");
}

/// The body of chunks that are known to be whole.
fn dechunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = bytes.windows(2).position(|w| w == b"\r\n").expect("a chunk's head");
        let size = std::str::from_utf8(&bytes[..end]).expect("text");
        let size = usize::from_str_radix(size, 16).expect("a size");
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&bytes[end + 2..end + 2 + size]);
        bytes = &bytes[end + 2 + size + 2..];
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_stops_the_guest_from_producing() {
    let front = Front::start().await;
    let cell = front.deploy("half", &guest("half-response"), patient(|_| {})).await;
    let mut raw = Raw::connect_narrow(front.address).await;
    raw.send("GET /long HTTP/1.1\r\nhost: half.test\r\nx-request-id: unread\r\n\r\n").await;
    assert_eq!(raw.head().await.expect("a head").status, 200);
    // At memory speed this is time for gigabytes.
    tokio::time::sleep(STUCK).await;
    drop(raw);
    eventually("the guest is stopped", || cell.view().in_flight == 0).await;
    let line = front.access_line("unread").await;
    assert_eq!(line["code"], "client-closed");
    let produced = line["bytes_out"].as_u64().expect("a number");
    assert!((65_536..MOST_IN_TRANSIT as u64).contains(&produced), "{produced}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_larger_than_every_buffer_does_not_hang() {
    let front = Front::start().await;
    front.deploy("half", &guest("half-response"), patient(|_| {})).await;
    front.deploy("hello", &guest("hello"), patient(|_| {})).await;
    let response = front.client().get("half", "/big?mib=24").send().await.expect("an answer");
    let body = within("the whole body", response.bytes()).await.expect("a body");
    assert_eq!(body.len(), 24 * MIB);
    assert!(body.iter().all(|b| *b == b'x'));
    // A guest that does not read its request answers all the same.
    let mut raw = Raw::connect(front.address).await;
    raw.send(format!("POST / HTTP/1.1\r\nhost: hello.test\r\ncontent-length: {}\r\n\r\n", 9 * MIB))
        .await;
    raw.send_until_stuck(&vec![b'x'; 9 * MIB], STUCK).await;
    let answer = raw.answer().await.expect("an answer");
    assert_eq!((answer.status, answer.end), (200, End::Whole));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_goes_back_and_forth_within_one_request() {
    let front = Front::start().await;
    front.deploy("echo", &guest("echo"), patient(|_| {})).await;
    let mut raw = Raw::connect(front.address).await;
    let head = "POST / HTTP/1.1\r\nhost: echo.test\r\ntransfer-encoding: chunked\r\n\r\n";
    raw.send(head).await;
    assert_eq!(raw.head().await.expect("the head comes before the body").status, 200);
    let mut stream = raw.into_stream();
    for n in 0..50 {
        let chunk = format!("{:x}\r\nmessage {n:>4}\r\n", 12);
        stream.write_all(chunk.as_bytes()).await.expect("it is taken");
        let mut echoed = vec![0; chunk.len()];
        within("the chunk comes back", stream.read_exact(&mut echoed)).await.expect("a chunk");
        assert_eq!(String::from_utf8_lossy(&echoed).to_lowercase(), chunk);
    }
    stream.write_all(b"0\r\n\r\n").await.expect("it is taken");
    let mut end = [0; 5];
    within("the end comes back", stream.read_exact(&mut end)).await.expect("an end");
    assert_eq!(&end, b"0\r\n\r\n");
}
