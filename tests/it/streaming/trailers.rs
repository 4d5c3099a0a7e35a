//! Trailers pass in both directions, those that could reframe a message excepted.

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use http_body_util::BodyExt;

use super::patient;
use crate::support::{Front, H2, Raw, guest, within};

async fn echo_front() -> Front {
    let front = Front::start().await;
    front.deploy("echo", &guest("echo"), patient(|_| {})).await;
    front
}

/// A request whose body has `length` bytes.
fn request(length: usize, trailers: &str) -> String {
    let body = "x".repeat(length);
    format!(
        "POST / HTTP/1.1\r\nhost: echo.test\r\nte: trailers\r\ntransfer-encoding: chunked\r\n\
         trailer: x-sum, x-more\r\n\r\n{length:x}\r\n{body}\r\n0\r\n{trailers}\r\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_pass_over_http_1() {
    let front = echo_front().await;
    // A response that leaves as a whole, and one that is streamed.
    for length in [5, 300_000] {
        let mut raw = Raw::connect(front.address).await;
        raw.send(request(length, "x-sum: abc\r\nx-more: 1\r\n")).await;
        let answer = raw.answer().await.expect("an answer");
        assert_eq!((answer.status, answer.body.len()), (200, length));
        let mut trailers = answer.trailers;
        trailers.sort();
        let expected = [("x-more", "1"), ("x-sum", "abc")];
        assert_eq!(trailers, expected.map(|(n, v)| (n.to_owned(), v.to_owned())), "{length}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_pass_over_http_2() {
    let front = echo_front().await;
    let mut client = H2::connect(front.address).await;
    for length in [5, 300_000] {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "abc".parse().expect("a value"));
        let frames =
            vec![Frame::data(Bytes::from(vec![b'x'; length])), Frame::trailers(trailers.clone())];
        let response = client.post("echo", "/", frames).await.expect("an answer");
        assert_eq!(response.status(), 200);
        let body = within("the body", response.into_body().collect()).await.expect("a body");
        assert_eq!(body.trailers(), Some(&trailers), "{length}");
        assert_eq!(body.to_bytes().len(), length);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_that_could_reframe_a_message_are_dropped() {
    let front = echo_front().await;
    let hostile = "content-length: 1\r\ntransfer-encoding: chunked\r\nhost: evil.test\r\n\
        x-forwarded-for: 203.0.113.9\r\nwharf-error: x\r\nauthorization: x\r\nx-sum: abc\r\n";
    let mut raw = Raw::connect(front.address).await;
    raw.send(request(5, hostile)).await;
    let answer = raw.answer().await.expect("an answer");
    assert_eq!(answer.trailers, [("x-sum".to_owned(), "abc".to_owned())]);
    let mut client = H2::connect(front.address).await;
    let fields = ["host", "x-forwarded-for", "wharf-error", "authorization", "x-sum"];
    let trailers =
        fields.map(|name| (name.parse().expect("a name"), "abc".parse().expect("a value")));
    let frames = vec![
        Frame::data(Bytes::from_static(b"hello")),
        Frame::trailers(trailers.into_iter().collect()),
    ];
    let response = client.post("echo", "/", frames).await.expect("an answer");
    let body = within("the body", response.into_body().collect()).await.expect("a body");
    let left: Vec<_> = body.trailers().expect("trailers").keys().collect();
    assert_eq!(left, ["x-sum"]);
}
