//! What a failed command tells: `error:` what happened to what, `hint:` what to do next.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::api::{ManifestProblem, Problem};
use crate::spec;

use super::output::Unprinted;

/// The exit code of a command that failed.
const FAILED: u8 = 1;
/// The exit code of a command that was asked for wrongly, as clap's.
const MISUSED: u8 = 2;

/// A failure with what to do about it.
#[derive(Debug)]
pub(super) struct Told {
    message: String,
    hint: Option<String>,
    problems: Vec<ManifestProblem>,
    exit: u8,
    /// The code of the API, if it comes from there.
    code: Option<String>,
}

impl Told {
    pub(super) fn new(message: impl Into<String>) -> Self {
        let message = message.into();
        Self { message, hint: None, problems: Vec::new(), exit: FAILED, code: None }
    }

    /// A command that was asked for wrongly.
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self { exit: MISUSED, ..Self::new(message) }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// A manifest with mistakes.
    pub(super) fn problems(
        message: impl Into<String>,
        problems: impl IntoIterator<Item = ManifestProblem>,
    ) -> Self {
        Self { problems: problems.into_iter().collect(), ..Self::new(message) }
    }

    /// Whether the API answered with this code.
    pub(super) fn is(error: &anyhow::Error, code: &str) -> bool {
        error.downcast_ref::<Self>().is_some_and(|told| told.code.as_deref() == Some(code))
    }
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Told {}

impl From<Problem> for Told {
    fn from(problem: Problem) -> Self {
        Self {
            message: problem.detail,
            hint: problem.hint,
            problems: problem.problems,
            exit: FAILED,
            code: Some(problem.code),
        }
    }
}

/// Writes the failure to standard error.
pub(super) fn report(error: &anyhow::Error) -> ExitCode {
    if is_closed_pipe(error) {
        // Whoever read the output has seen enough.
        return ExitCode::SUCCESS;
    }
    let mut stderr = anstream::stderr();
    let _ = write!(stderr, "{}", text(error));
    let told = error.downcast_ref::<Told>();
    ExitCode::from(told.map_or(FAILED, |told| told.exit))
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let unprinted = error.downcast_ref::<Unprinted>();
    unprinted.is_some_and(|error| error.0.kind() == io::ErrorKind::BrokenPipe)
}

fn text(error: &anyhow::Error) -> String {
    const RED: &str = "\x1b[1;31m";
    const CYAN: &str = "\x1b[1;36m";
    const RESET: &str = "\x1b[0m";
    let told = error.downcast_ref::<Told>();
    let (message, own_hint) = said_and_hinted(error);
    let mut text = String::new();
    for problem in told.iter().flat_map(|told| &told.problems) {
        text += &format!("{}\n\n", spec_problem(problem));
    }
    text += &format!("{RED}error:{RESET} {message}\n");
    if let Some(hint) = told.and_then(|told| told.hint.as_deref()).or(own_hint.as_deref()) {
        text += &format!("{CYAN}hint:{RESET} {hint}\n");
    }
    text
}

/// The error with its sources on one line, and the first hint among them: errors of libraries
/// bring hints of their own as their last line.
fn said_and_hinted(error: &anyhow::Error) -> (String, Option<String>) {
    let (mut said, mut hint) = (Vec::new(), None);
    for cause in error.chain().map(ToString::to_string) {
        match cause.split_once("\nhint: ") {
            Some((cause, own)) => {
                said.push(cause.to_owned());
                hint = hint.or_else(|| Some(own.to_owned()));
            }
            None => said.push(cause),
        }
    }
    (said.join(": "), hint)
}

fn spec_problem(problem: &ManifestProblem) -> spec::Problem {
    let ManifestProblem { path, value, message, hint, line } = problem.clone();
    spec::Problem { path, value, message, hint, line }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(error: &anyhow::Error) -> String {
        anstream::adapter::strip_str(&text(error)).to_string()
    }

    #[test]
    fn a_failure_says_what_and_what_next() {
        let told = Told::new("no node answers").hint("start one");
        assert_eq!(plain(&told.into()), "error: no node answers\nhint: start one\n");
        let own = anyhow::anyhow!("not found\nhint: push it first");
        assert_eq!(plain(&own), "error: not found\nhint: push it first\n");
        let caused = anyhow::anyhow!("refused").context("not reached\nhint: start it");
        assert_eq!(plain(&caused), "error: not reached: refused\nhint: start it\n");
    }

    #[test]
    fn only_who_closes_the_output_has_seen_enough() {
        let broken = || io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(is_closed_pipe(&Unprinted::from(broken()).into()));
        assert!(!is_closed_pipe(&anyhow::Error::new(broken()).context("the registry hung up")));
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert!(!is_closed_pipe(&Unprinted::from(full).into()));
    }

    #[test]
    fn every_mistake_of_a_manifest_is_shown() {
        let problem = spec::Problem::new("task.a.cpu", "too much").value("9").hint("less");
        let told = Told::problems("the manifest has 1 problem", [(&problem).into()]);
        let expected = "task.a.cpu: too much\n  value: 9\n  hint: less\n\n\
                        error: the manifest has 1 problem\n";
        assert_eq!(plain(&told.into()), expected);
    }
}
