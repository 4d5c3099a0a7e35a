//! What guests print.

use wharf::telemetry::Stream;

use super::limits;
use crate::support::{Front, ServiceOptions, eventually, guest};

/// Bytes that one request may print on one stream.
const KEPT: u64 = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_bounded_and_what_is_dropped_is_counted_exactly() {
    let front = Front::start().await;
    let options = limits(|limits| limits.fuel = u64::MAX / 2);
    let cell = front.deploy("flood", &guest("flood-stdout"), options).await;
    let mut expected = 0;
    for path in ["/?mib=64", "/?mib=8&stderr=1", "/?mib=8&oneline=1", "/?mib=1"] {
        let answer = front.client().get("flood", path).send().await.expect("an answer");
        let text = answer.text().await.expect("a body");
        let wrote: u64 = text.split(' ').nth(1).and_then(|n| n.parse().ok()).expect("a number");
        assert_eq!(text, format!("wrote {wrote} bytes\n"), "the guest does not notice");
        expected += wrote - KEPT;
        eventually("the drop is counted", || cell.logs().dropped_bytes() == expected).await;
    }
    let tail = cell.logs().tail(usize::MAX);
    let bytes: usize = tail.iter().map(|line| line.text.len()).sum();
    assert!(bytes <= 256 << 10, "{bytes} bytes are kept");
    assert!(tail.iter().all(|line| line.text.len() <= (16 << 10) + 16));
    assert!(tail.windows(2).all(|pair| pair[0].number + 1 == pair[1].number), "no gaps");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_says_which_task_and_stream_it_is_from() {
    let front = Front::start().await;
    let cell = front.deploy("env", &guest("env"), ServiceOptions::default()).await;
    let path = "/?log=Hello%20from%20the%20guest";
    let answer = front.client().get("env", path).send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    eventually("both lines are there", || cell.logs().tail(10).len() == 2).await;
    let lines = cell.logs().tail(10);
    let task = cell.view().tasks[0].number;
    let mut streams: Vec<_> = lines.iter().map(|line| line.stream).collect();
    streams.sort_by_key(|stream| *stream == Stream::Stderr);
    assert_eq!(streams, [Stream::Stdout, Stream::Stderr]);
    for line in &lines {
        assert_eq!((line.text.as_str(), line.task), ("Hello from the guest", task));
        assert_eq!(line.service.as_str(), "env");
        assert!(line.at_ms > 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_cannot_take_over_a_terminal() {
    let front = Front::start().await;
    let cell = front.deploy("flood", &guest("flood-stdout"), ServiceOptions::default()).await;
    let answer = front.client().get("flood", "/control").send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    eventually("the lines are there", || cell.logs().tail(10).len() == 5).await;
    let lines = cell.logs().tail(10);
    for line in &lines {
        let harmless = line.text.chars().all(|c| !c.is_control() || c == '\t');
        assert!(harmless, "{:?}", line.text);
    }
    assert!(lines[0].text.starts_with("\\u{1b}[31mred"), "{:?}", lines[0].text);
    assert_eq!(lines[1].text, "innocent\\rguilty");
    assert_eq!(lines[4].text, "no newline at the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_explained_in_the_services_own_log() {
    let front = Front::start().await;
    let cell = front.deploy("trap", &guest("trap"), ServiceOptions::default()).await;
    let answer = front.client().get("trap", "/panic").header("x-request-id", "p1").send().await;
    assert_eq!(answer.expect("an answer").status(), 500);
    let text = || {
        let lines = cell.logs().tail(100);
        lines.iter().map(|line| format!("{}\n", line.text)).collect::<String>()
    };
    eventually("the note is there", || text().contains("[request p1: guest-trapped: ")).await;
    assert!(text().contains("the sample panics, as it was asked to"), "{}", text());
}
