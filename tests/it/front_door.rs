//! The load balancer's strictness, spoken in raw bytes: what two parsers could read in two ways
//! never reaches a guest, and every answer is framed so that nobody mistakes its end.

mod answers;
mod framing;
mod headers;
mod smuggling;
mod targets;

use crate::support::{Answer, Front, Raw, ServiceOptions, guest};

/// A front with these sample tasks behind it, each at its own name.
async fn front(names: &[&str]) -> Front {
    let front = Front::start().await;
    for name in names {
        front.deploy(name, &guest(name), ServiceOptions::default()).await;
    }
    front
}

/// The first answer to these bytes on a connection of their own.
async fn ask(front: &Front, bytes: impl AsRef<[u8]>) -> Option<Answer> {
    let mut raw = Raw::connect(front.address).await;
    raw.send(bytes).await;
    raw.answer().await
}

/// Checks that the bytes are refused, and that client, header and log are told the same.
async fn refused(front: &Front, bytes: impl AsRef<[u8]>, status: u16, code: &str) {
    let shown = String::from_utf8_lossy(bytes.as_ref()).chars().take(200).collect::<String>();
    let answer = ask(front, bytes).await.unwrap_or_else(|| panic!("no answer to {shown:?}"));
    is_problem(front, &answer, status, code, &shown).await;
}

/// Checks that an answer is a problem of the load balancer.
async fn is_problem(front: &Front, answer: &Answer, status: u16, code: &str, shown: &str) {
    assert_eq!((answer.status, answer.header("wharf-error")), (status, Some(code)), "{shown:?}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{shown:?}");
    let problem: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!(problem["code"], code, "{shown:?}");
    assert_eq!(problem["status"], status, "{shown:?}");
    let id = answer.header("x-request-id").expect("an id");
    assert_eq!(problem["request_id"], id, "{shown:?}");
    let line = front.access_line(id).await;
    assert_eq!(line["code"], code, "{shown:?}");
    assert_eq!(line["status"], status, "{shown:?}");
}
