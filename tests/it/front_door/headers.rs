//! Which fields a guest is shown, and which a client.

use super::{ask, front};
use crate::support::Front;

/// The fields that the guest saw, a line each, without the request's own end.
async fn seen(front: &Front, fields: &str) -> Vec<String> {
    let request = format!("GET /?headers=1 HTTP/1.1\r\nhost: env.test\r\n{fields}\r\n");
    let answer = ask(front, request).await.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text().lines().map(str::to_owned).collect()
}

fn names(seen: &[String]) -> Vec<&str> {
    seen.iter().filter_map(|line| line.split_once(": ").map(|(name, _)| name)).collect()
}

const OURS: [&str; 4] =
    ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-request-id"];

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_stays_between_the_client_and_the_load_balancer() {
    let front = front(&["env"]).await;
    let h2c = "connection: upgrade, http2-settings\r\nupgrade: h2c\r\n\
        http2-settings: AAMAAABkAAQAAP__\r\n";
    assert_eq!(names(&seen(&front, h2c).await), OURS);
    let bare = "upgrade: websocket\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n";
    assert_eq!(names(&seen(&front, bare).await), OURS);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_connection_names_is_removed_but_never_what_is_ours() {
    let front = front(&["env"]).await;
    let fields = "connection: close, x-private , X-Forwarded-For,x-request-id\r\n\
        connection: x-forwarded-host, x-forwarded-proto, host, content-length\r\n\
        x-private: 1\r\nx-public: 2\r\nkeep-alive: timeout=5\r\nproxy-connection: keep-alive\r\n\
        te: trailers\r\nproxy-authorization: Basic eA==\r\nx-request-id: mine\r\n";
    let seen = seen(&front, fields).await;
    let mut expected = OURS.to_vec();
    expected.push("x-public");
    expected.sort_unstable();
    assert_eq!(names(&seen), expected);
    assert!(seen.contains(&"x-forwarded-for: 127.0.0.1".to_owned()), "{seen:?}");
    assert!(seen.contains(&"x-request-id: mine".to_owned()), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_can_claim_to_be_somebody_else() {
    let front = front(&["env"]).await;
    let fields = "x-forwarded-for: 203.0.113.9\r\nx-forwarded-for: 203.0.113.10\r\n\
        forwarded: for=203.0.113.9;host=evil.test\r\nx-forwarded-host: evil.test\r\n\
        x-forwarded-proto: https\r\nx-forwarded-port: 443\r\nx-real-ip: 203.0.113.9\r\n\
        wharf-cold-start: 1ms\r\nwharf-error: x\r\nWharf-Anything: x\r\n";
    let seen = seen(&front, fields).await;
    assert_eq!(names(&seen), OURS, "{seen:?}");
    assert!(seen.contains(&"x-forwarded-for: 127.0.0.1".to_owned()), "{seen:?}");
    assert!(seen.contains(&"x-forwarded-proto: http".to_owned()), "{seen:?}");
    assert!(seen.contains(&"x-forwarded-host: env.test".to_owned()), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_has_one_id_everywhere() {
    let front = front(&["env"]).await;
    let ask_with = async |field: String| {
        let request = format!("GET /?headers=1 HTTP/1.1\r\nhost: env.test\r\n{field}\r\n");
        let answer = ask(&front, request).await.expect("an answer");
        let id = answer.header("x-request-id").expect("an id").to_owned();
        assert!(answer.text().contains(&format!("x-request-id: {id}\n")), "{}", answer.text());
        assert_eq!(front.access_line(&id).await["id"], id.as_str());
        id
    };
    assert_eq!(ask_with("x-request-id: 3f2a-9_b.c\r\n".to_owned()).await, "3f2a-9_b.c");
    assert_eq!(ask_with("x-request-id: a\r\nx-request-id: b\r\n".to_owned()).await, "a");
    let mut ids = std::collections::BTreeSet::new();
    for bad in ["", "x-request-id:\r\n", "x-request-id: a b\r\n", "x-request-id: a\"b\r\n"] {
        ids.insert(ask_with(bad.to_owned()).await);
    }
    ids.insert(ask_with(format!("x-request-id: {}\r\n", "x".repeat(129))).await);
    assert_eq!(ids.len(), 5, "{ids:?}");
    assert!(ids.iter().all(|id| !id.contains([' ', '"']) && id.len() < 64), "{ids:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_gets_everything_else_untouched() {
    let front = front(&["env"]).await;
    let fields = "accept: text/html, */*;q=0.1\r\ncookie: a=b; c=d\r\nauthorization: Bearer x\r\n\
        x-twice: 1\r\nx-twice: 2\r\nX-Empty:\r\nx-latin: caf\u{e9}\r\n";
    let seen = seen(&front, fields).await;
    for line in [
        "accept: text/html, */*;q=0.1",
        "cookie: a=b; c=d",
        "authorization: Bearer x",
        "x-twice: 1",
        "x-twice: 2",
        "x-empty: ",
        "x-latin: caf\u{e9}",
    ] {
        assert!(seen.iter().any(|seen| seen == line), "{line}: {seen:?}");
    }
}
