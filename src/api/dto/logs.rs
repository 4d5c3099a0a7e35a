//! Lines of a log.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::telemetry;

/// One line of the answer to `GET /v1/services/{name}/logs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum LogEntry {
    /// What a task printed.
    Line(LogLine),
    /// The reader was too slow.
    Gap(LogGap),
}

/// A line that a task printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// Counts the lines of a service from 1, for the life of the node's process.
    pub number: u64,
    /// When it was complete, as milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// The service.
    pub service: String,
    /// The task's number within the service.
    pub task: u64,
    /// `stdout` or `stderr`.
    pub stream: String,
    /// The text, without its line end and without control characters.
    pub text: String,
}

/// Lines that were printed too fast for this reader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogGap {
    /// How many lines are missing here.
    pub gap: u64,
}

impl From<&telemetry::LogLine> for LogLine {
    fn from(line: &telemetry::LogLine) -> Self {
        let stream = match line.stream {
            telemetry::Stream::Stdout => "stdout",
            telemetry::Stream::Stderr => "stderr",
        };
        Self {
            number: line.number,
            at_ms: line.at_ms,
            service: line.service.to_string(),
            task: line.task,
            stream: stream.to_owned(),
            text: line.text.clone(),
        }
    }
}
