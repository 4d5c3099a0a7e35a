//! What a task has no role for: every reach outside is refused, and says so.

use tokio::net::TcpListener;

use crate::support::{Front, ServiceOptions, eventually, guest};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_outside_the_instance_is_reached() {
    let front = Front::start().await;
    let cell = front.deploy("env", &guest("env"), ServiceOptions::default()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    for (path, expected) in [
        (format!("/?fetch=http://{address}/"), "fetch: error: "),
        ("/?fetch=https://example.com/".to_owned(), "fetch: error: "),
        (format!("/?connect={address}"), "connect: error: "),
        ("/?connect=localhost:1".to_owned(), "connect: error: "),
        ("/?read=/etc/passwd".to_owned(), "read: error: "),
        ("/?read=../../etc/passwd".to_owned(), "read: error: "),
        ("/?dirs=1".to_owned(), "dirs: none"),
    ] {
        let answer = front.client().get("env", &path).send().await.expect("an answer");
        assert_eq!(answer.status(), 200, "{path}");
        let text = answer.text().await.expect("a body");
        assert!(text.starts_with(expected), "{path}: {text}");
        assert!(text.trim_end().len() > expected.trim_end().len() || path.ends_with("dirs=1"));
        if path.contains("fetch") {
            assert!(text.contains("HttpRequestDenied"), "{path}: {text}");
        }
        if path.contains("connect=127") {
            assert!(text.contains("PermissionDenied"), "{path}: {text}");
        }
    }
    let mut attempt = tokio::task::spawn(async move { listener.accept().await.map(drop) });
    let reached = tokio::time::timeout(std::time::Duration::from_millis(100), &mut attempt).await;
    assert!(reached.is_err(), "somebody connected");
    let note = format!(
        "[outbound HTTP to {address} was refused: the task's role grants none. Give the task a \
         `role`, and the role an `outbound`]"
    );
    eventually("the refusal is noted", || {
        cell.logs().tail(100).iter().any(|line| line.text == note)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_sees_its_own_environment_and_no_more() {
    let front = Front::start().await;
    let env = vec![
        ("APP_ENV".to_owned(), "prod".to_owned()),
        ("EMPTY".to_owned(), String::new()),
        ("UNICODE".to_owned(), "h\u{e9}llo \u{1f30a}".to_owned()),
    ];
    let options = ServiceOptions { env, ..ServiceOptions::default() };
    front.deploy("env", &guest("env"), options).await;
    let answer = front.client().get("env", "/").send().await.expect("an answer");
    let text = answer.text().await.expect("a body");
    assert_eq!(text, "APP_ENV=prod\nEMPTY=\nUNICODE=h\u{e9}llo \u{1f30a}\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn time_passes_and_chance_differs_between_requests() {
    let front = Front::start().await;
    front.deploy("env", &guest("env"), ServiceOptions::default()).await;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..5 {
        let request = front.client().get("env", "/?time=1&random=1").send();
        let text = request.await.expect("an answer").text().await.expect("a body");
        assert!(text.starts_with("wall=") && text.contains("monotonic="), "{text}");
        seen.extend(text.lines().filter(|line| line.starts_with("random=")).map(str::to_owned));
    }
    assert_eq!(seen.len(), 5, "{seen:?}");
}
