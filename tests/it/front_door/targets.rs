//! Which host and path a request is for.

use super::{ask, front, refused};

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_missing_doubled_or_none_is_refused() {
    let front = front(&["hello"]).await;
    for head in [
        "",
        "host: hello.test\r\nhost: other.test\r\n",
        "host: hello.test\r\nhost: hello.test\r\n",
        "host:\r\n",
        "host: hello .test\r\n",
        "host: hello.test/x\r\n",
        "host: hello.test\\x\r\n",
        "host: user@hello.test\r\n",
        "host: user:word@hello.test\r\n",
        "host: hello.test, other.test\r\n",
        "host: hello.test:80:80\r\n",
        "host: hello.test:abc\r\n",
        "host: hello.test?x\r\n",
        "host: [::1\r\n",
        "host: h\u{e9}llo.test\r\n",
    ] {
        let request = format!("GET / HTTP/1.1\r\n{head}\r\n");
        refused(&front, request, 400, "bad-request").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_authority_of_an_absolute_target_wins_over_the_host() {
    let front = front(&["hello", "env"]).await;
    let request = "GET http://env.test:81/?headers=1 HTTP/1.1\r\nhost: hello.test\r\n\r\n";
    let answer = ask(&front, request).await.expect("an answer");
    assert_eq!(answer.status, 200);
    let seen = answer.text();
    assert!(seen.contains("x-forwarded-host: env.test:81\n"), "{seen}");
    assert!(!seen.contains("hello.test"), "{seen}");
    let line = front.access_line(answer.header("x-request-id").expect("an id")).await;
    assert_eq!((&line["host"], &line["service"]), (&"env.test".into(), &"env".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_is_found_whatever_its_case_port_and_final_dot() {
    let front = front(&["hello"]).await;
    for host in ["HELLO.Test", "hello.test:8080", "hello.test.", "Hello.TEST.:1"] {
        let answer = ask(&front, format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n")).await;
        assert_eq!(answer.map(|answer| answer.status), Some(200), "{host}");
    }
    refused(&front, "GET / HTTP/1.1\r\nhost: nobody.test\r\n\r\n", 404, "no-route").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_no_path_is_refused() {
    let front = front(&["hello"]).await;
    let host = "host: hello.test\r\n\r\n";
    for (line, status, code) in [
        ("OPTIONS * HTTP/1.1", 400, "bad-request"),
        ("GET hello.test HTTP/1.1", 400, "bad-request"),
        ("GET hello.test:80 HTTP/1.1", 400, "bad-request"),
        ("GET http://user@hello.test/ HTTP/1.1", 400, "bad-request"),
        ("CONNECT hello.test:443 HTTP/1.1", 405, "method-not-allowed"),
        ("CONNECT / HTTP/1.1", 405, "method-not-allowed"),
        ("TRACE / HTTP/1.1", 405, "method-not-allowed"),
    ] {
        refused(&front, format!("{line}\r\n{host}"), status, code).await;
    }
    let answer = ask(&front, format!("TRACE / HTTP/1.1\r\n{host}")).await.expect("an answer");
    let allow = answer.header("allow").expect("the methods that there are");
    assert!(allow.starts_with("GET, ") && !allow.contains("TRACE"), "{allow}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_climbs_is_refused_however_it_is_spelt() {
    let front = front(&["hello"]).await;
    for path in [
        "/../",
        "/..",
        "/a/../b",
        "/a/./b",
        "/%2e%2e/",
        "/%2E%2e/x",
        "/a/.%2e",
        "/a/%2e./b",
        "/%2e",
        "/a\\..\\b",
        "/a/..%2fb",
        "/a/..%2Fb",
        "/a%2f..%2fb",
        "/a/%2e%2e%5cb",
        "/a/..%5c",
        "/a%2f.",
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: hello.test\r\n\r\n");
        refused(&front, request, 400, "bad-request").await;
    }
    for path in
        ["/...", "/.well-known/x", "/a..b", "/?x=../..", "/a//b", "/%2f", "/@a%2fb", "/%252e%252e/"]
    {
        let request = format!("GET {path} HTTP/1.1\r\nhost: hello.test\r\n\r\n");
        let answer = ask(&front, request).await.expect("an answer");
        assert_eq!(answer.status, 200, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_is_compared_as_it_was_sent() {
    let front = front(&["echo", "hello"]).await;
    let route = "echo.test/a/*".parse().expect("a route");
    front.also_at(&route, "hello");
    for (path, served_by) in [
        ("/a/b", "hello"),
        ("/a", "hello"),
        ("/a/", "hello"),
        ("/a//b", "hello"),
        ("/a/%62", "hello"),
        ("/a/x%2f%62", "hello"),
        // None of these begins with `/a/`; whoever decodes them may think so, and serves itself.
        ("/%61/b", "echo"),
        ("/a%2fb", "echo"),
        ("//a/b", "echo"),
        ("/A/b", "echo"),
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: echo.test\r\n\r\n");
        let answer = ask(&front, request).await.expect("an answer");
        let line = front.access_line(answer.header("x-request-id").expect("an id")).await;
        assert_eq!((answer.status, &line["service"]), (200, &served_by.into()), "{path}");
        if served_by == "echo" {
            assert_eq!(answer.header("x-echo-path"), Some(path));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_sees_the_target_as_it_was_sent() {
    let front = front(&["echo"]).await;
    let request = "PATCH /a%20b//c?x=%2e%2e&y#z HTTP/1.1\r\nhost: echo.test\r\n\r\n";
    let answer = ask(&front, request).await.expect("an answer");
    assert_eq!(answer.header("x-echo-method"), Some("PATCH"));
    assert_eq!(answer.header("x-echo-path"), Some("/a%20b//c?x=%2e%2e&y"));
    let odd = "BREW /pot HTTP/1.1\r\nhost: echo.test\r\n\r\n";
    let answer = ask(&front, odd).await.expect("an answer");
    assert_eq!(answer.header("x-echo-method"), Some("BREW"));
}
