//! `wharf logs`: what the tasks of a service print.

use std::time::Duration;

use futures_util::StreamExt;
use reqwest::{Method, Response};

use crate::api::{LogEntry, LogLine, ServiceDetail};
use crate::clock;
use crate::model::Name;

use super::args;
use super::client::ApiClient;
use super::output::{self, Output, Unprinted, say};
use super::told::Told;

/// How long a follower waits before it connects again: as long as a node takes to start.
const PAUSE: Duration = Duration::from_secs(1);
/// Lines that a follower asks for again after the connection broke.
const AGAIN: usize = 1_000;
/// The longest line of the answer that is read: a log line is at most 16 KiB before escapes.
const LINE_BYTES: usize = 256 << 10;

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wharf logs hello            the last 100 lines of all its tasks
  wharf logs hello/3          of one task; `wharf tasks hello` lists them
  wharf logs -f hello --tail 0    what is printed from now on, until Ctrl-C")]
pub(super) struct Args {
    /// The service, or one of its tasks as SERVICE/NUMBER
    #[arg(value_parser = source, value_name = "SERVICE[/TASK]")]
    source: Source,
    /// Go on with what is printed from now on
    #[arg(short, long)]
    follow: bool,
    /// How many of the last lines
    #[arg(long, value_name = "N", default_value_t = 100)]
    tail: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Source {
    service: Name,
    task: Option<u64>,
}

fn source(text: &str) -> Result<Source, String> {
    let (service, task) = match text.split_once('/') {
        None => (text, None),
        Some((service, task)) => {
            let number = task.parse().map_err(|_| format!("`{task}` is not a task's number"))?;
            (service, Some(number))
        }
    };
    Ok(Source { service: args::name(service)?, task })
}

pub(super) async fn run(args: Args, api: &ApiClient, output: Output) -> anyhow::Result<()> {
    let mut reader = Reader { output, last: None };
    if !args.follow {
        let all = open(&args, args.tail, api).await?;
        reader.print(all).await?;
        return match reader.last {
            None if args.tail > 0 => nothing_printed(&args.source, api).await,
            _ => Ok(()),
        };
    }
    if args.source.task.is_some() {
        let kept = open(&Args { follow: false, ..args.clone() }, 1, api).await?;
        if kept.bytes().await?.is_empty() {
            nothing_printed(&args.source, api).await?;
        }
    }
    let follow = async {
        let first = open(&args, args.tail, api).await?;
        let mut broke = reader.print(first).await.err();
        let mut away = false;
        loop {
            // Only what failed to be written is this program's own failure.
            if let Some(error) = broke.filter(|error| error.is::<Unprinted>()) {
                return Err(error);
            }
            tokio::time::sleep(PAUSE).await;
            broke = match open(&args, AGAIN, api).await {
                Ok(response) => {
                    away = false;
                    reader.print(response).await.err()
                }
                Err(error) if Told::is(&error, "service-not-found") => return Err(error),
                Err(error) => {
                    if !std::mem::replace(&mut away, true) {
                        say(format!("{error}; waiting for it to come back"));
                    }
                    None
                }
            };
        }
    };
    tokio::select! {
        result = follow => result,
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

/// Says why there is no line to show. A task that neither runs nor has left a line is a mistake.
async fn nothing_printed(source: &Source, api: &ApiClient) -> anyhow::Result<()> {
    let service = source.service.as_str();
    let detail: ServiceDetail = api.get(&["v1", "services", service]).await?;
    let Some(number) = source.task else {
        say(format!("{service} has printed nothing since the node started"));
        return Ok(());
    };
    let id = format!("{service}/{number}");
    let running: Vec<&str> = detail.running.iter().map(|task| task.id.as_str()).collect();
    if running.contains(&id.as_str()) {
        say(format!("{id} has printed nothing yet"));
        return Ok(());
    }
    let hint = match running.is_empty() {
        true => format!("no task of {service} runs now; `wharf logs {service}` shows all lines"),
        false => format!("tasks that run: {}", running.join(", ")),
    };
    Err(Told::new(format!("no task {id} runs, and no line of it is kept")).hint(hint).into())
}

async fn open(args: &Args, tail: usize, api: &ApiClient) -> anyhow::Result<Response> {
    let path = ["v1", "services", args.source.service.as_str(), "logs"];
    let query = [("tail", tail.to_string()), ("follow", args.follow.to_string())];
    let mut request = api.request(Method::GET, &path).query(&query);
    if let Some(task) = args.source.task {
        request = request.query(&[("task", task)]);
    }
    api.open(request).await
}

/// Prints lines, and remembers which was the last, so that none is printed twice.
struct Reader {
    output: Output,
    last: Option<(u64, u64)>,
}

impl Reader {
    async fn print(&mut self, response: Response) -> anyhow::Result<()> {
        let mut chunks = response.bytes_stream();
        let mut buffer: Vec<u8> = Vec::new();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|_| Told::new("the connection to the node broke"))?;
            buffer.extend_from_slice(&chunk);
            let Some(end) = buffer.iter().rposition(|b| *b == b'\n') else {
                if buffer.len() > LINE_BYTES {
                    return Err(Told::new("the node sends a line without an end").into());
                }
                continue;
            };
            let rest = buffer.split_off(end + 1);
            let mut text = String::new();
            for line in buffer.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
                self.line(line, &mut text)?;
            }
            buffer = rest;
            output::text(&text)?;
        }
        Ok(())
    }

    fn line(&mut self, json: &[u8], text: &mut String) -> anyhow::Result<()> {
        let entry: LogEntry = serde_json::from_slice(json)?;
        if let LogEntry::Line(line) = &entry {
            // A node that restarted counts from 1 again, later.
            let position = (line.at_ms, line.number);
            if self.last.is_some_and(|last| position <= last) {
                return Ok(());
            }
            self.last = Some(position);
        }
        match (self.output, entry) {
            (Output::Json, entry) => *text += &format!("{}\n", serde_json::to_string(&entry)?),
            (Output::Table, LogEntry::Line(line)) => *text += &shown(&line),
            (Output::Table, LogEntry::Gap(gap)) => {
                *text += &format!("… {} lines were printed too fast to be shown\n", gap.gap);
            }
        }
        Ok(())
    }
}

/// A line for people: `err` stands before what went to standard error, in a colour of its own
/// where there are colours.
fn shown(line: &LogLine) -> String {
    const DIM: &str = "\x1b[2m";
    const YELLOW: &str = "\x1b[33m";
    const RESET: &str = "\x1b[0m";
    let (mark, colour) = if line.stream == "stderr" { ("err", YELLOW) } else { ("out", "") };
    let at = clock::rfc3339(line.at_ms);
    let LogLine { service, task, .. } = line;
    let text = crate::telemetry::sanitise(line.text.as_bytes());
    format!("{DIM}{at} {service}/{task}{RESET} {colour}{mark} {text}{RESET}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_services_or_tasks() {
        let read = |text: &str| source(text).map(|s| (s.service.to_string(), s.task));
        assert_eq!(read("hello"), Ok(("hello".to_owned(), None)));
        assert_eq!(read("hello/12"), Ok(("hello".to_owned(), Some(12))));
        assert!(read("hello/x").is_err());
        assert!(read("Hello").is_err());
    }

    #[test]
    fn lines_are_shown_once_and_without_control() {
        let mut reader = Reader { output: Output::Table, last: None };
        let line = concat!(
            r#"{"number":1,"at_ms":5,"service":"a","task":2,"#,
            r#""stream":"stderr","text":"\u001b[2J"}"#
        );
        let mut text = String::new();
        reader.line(line.as_bytes(), &mut text).expect("a line");
        reader.line(line.as_bytes(), &mut text).expect("the same line");
        reader.line(br#"{"gap":7}"#, &mut text).expect("a gap");
        let plain = anstream::adapter::strip_str(&text).to_string();
        assert_eq!(
            plain,
            "1970-01-01T00:00:00.005Z a/2 err \\u{1b}[2J\n\
             … 7 lines were printed too fast to be shown\n"
        );
    }
}
