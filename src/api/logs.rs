//! What the tasks of a service print, as lines of JSON.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::{self, error::RecvError};
use utoipa::IntoParams;

use crate::shutdown::Shutdown;
use crate::store::{Consistency, RangeReq, keys};
use crate::telemetry;

use super::Shared;
use super::dto::{LogEntry, LogGap, LogLine};
use super::failure::Failure;
use super::problem::Problem;
use super::segment::Segment;
use super::services::{not_found, parse_name};

/// Lines that are shown when none are asked for.
const TAIL: usize = 100;

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, deny_unknown_fields)]
pub(super) struct LogQuery {
    /// How many of the last lines; 100 when left out.
    tail: Option<usize>,
    /// Whether to go on with what is printed from now on.
    follow: bool,
    /// Only this task, by its number within the service.
    task: Option<u64>,
}

/// Reads the log of a service, on the node that answers.
///
/// One JSON object a line. A followed log goes on until the caller hangs up or the node stops; a
/// reader that is too slow is told how many lines it missed.
#[utoipa::path(
    get,
    path = "/v1/services/{name}/logs",
    tag = "services",
    params(("name" = String, Path, description = "The service"), LogQuery),
    responses(
        (status = 200, description = "Lines, oldest first", body = LogEntry,
            content_type = "application/x-ndjson"),
        (status = 404, description = "`service-not-found`", body = Problem),
        (status = 503, description = "`state-unavailable`", body = Problem),
    ),
)]
pub(super) async fn read(
    State(node): Shared,
    Segment(text): Segment,
    query: Result<Query<LogQuery>, QueryRejection>,
) -> Result<Response, Failure> {
    let Query(query) = query.map_err(|error| Failure::Query(error.body_text()))?;
    let store = &*node.parts.store;
    let Some(name) = parse_name(&text) else { return Err(not_found(store, &text).await?) };
    let tail = query.tail.unwrap_or(TAIL);
    let Some(cell) = node.parts.table.get_or_leaving(&name) else {
        // Known, but no node has taken it up yet: it has printed nothing.
        let range = RangeReq::key(keys::service(name.as_str()));
        let known = store.range(range, Consistency::Linearizable).await?;
        return match known.kvs.is_empty() {
            true => Err(not_found(store, &text).await?),
            false => Ok(lines(Body::empty())),
        };
    };
    let wanted = move |line: &Arc<telemetry::LogLine>| query.task.is_none_or(|n| n == line.task);
    if !query.follow {
        let all = cell.logs().tail(if query.task.is_some() { usize::MAX } else { tail });
        let all: Vec<_> = all.into_iter().filter(wanted).collect();
        let last = all.len().saturating_sub(tail);
        let text: Vec<u8> = all[last..].iter().flat_map(|line| encoded(line)).collect();
        return Ok(lines(Body::from(text)));
    }
    let (all, feed) = cell.logs().follow(if query.task.is_some() { usize::MAX } else { tail });
    let mut tail_lines: VecDeque<_> = all.into_iter().filter(wanted).collect();
    let surplus = tail_lines.len().saturating_sub(tail);
    tail_lines.drain(..surplus);
    let following =
        Following { tail: tail_lines, feed, task: query.task, shutdown: node.shutdown.clone() };
    let body = stream::unfold(following, |mut following| async move {
        let line = following.next().await?;
        Some((Ok::<_, std::convert::Infallible>(line), following))
    });
    Ok(lines(Body::from_stream(body)))
}

/// A followed log. It holds the feed and not the book, so that it ends with the service.
struct Following {
    tail: VecDeque<Arc<telemetry::LogLine>>,
    feed: broadcast::Receiver<Arc<telemetry::LogLine>>,
    task: Option<u64>,
    shutdown: Shutdown,
}

impl Following {
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(line) = self.tail.pop_front() {
            return Some(encoded(&line));
        }
        loop {
            match self.shutdown.unless_begun(self.feed.recv()).await? {
                Ok(line) if self.task.is_none_or(|task| task == line.task) => {
                    return Some(encoded(&line));
                }
                Ok(_) => {}
                Err(RecvError::Lagged(gap)) => return Some(json_line(&LogGap { gap })),
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

fn encoded(line: &telemetry::LogLine) -> Bytes {
    json_line(&LogLine::from(line))
}

fn json_line<T: Serialize>(value: &T) -> Bytes {
    let mut text = serde_json::to_vec(value).unwrap_or_default();
    text.push(b'\n');
    text.into()
}

fn lines(body: Body) -> Response {
    let kind = HeaderValue::from_static("application/x-ndjson");
    ([(header::CONTENT_TYPE, kind)], body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::LogBook;

    #[tokio::test]
    async fn a_slow_reader_is_told_what_it_missed() {
        let book = LogBook::new("hello".parse().expect("a name"));
        let (_, feed) = book.follow(0);
        let shutdown = Shutdown::new();
        let (tail, task) = (VecDeque::new(), Some(2));
        let mut following = Following { tail, feed, task, shutdown: shutdown.clone() };
        for n in 0..2_000 {
            book.note(1 + n % 2, n.to_string());
        }
        let read = |line: Option<Bytes>| -> LogEntry {
            serde_json::from_slice(&line.expect("a line")).expect("JSON")
        };
        let LogEntry::Gap(gap) = read(following.next().await) else { panic!("no gap") };
        assert!(gap.gap > 0, "{gap:?}");
        let LogEntry::Line(line) = read(following.next().await) else { panic!("no line") };
        assert_eq!((line.task, line.stream.as_str()), (2, "stderr"));
        shutdown.begin();
        while following.next().await.is_some() {}
    }
}
