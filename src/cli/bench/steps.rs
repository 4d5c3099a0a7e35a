//! Progress of a run: a line that moves on a terminal, a line for each step otherwise.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::super::output::{is_watched, say};

/// The steps of a run.
pub(super) struct Steps {
    bar: Option<ProgressBar>,
}

impl Steps {
    pub(super) fn new() -> Self {
        let bar = is_watched().then(|| {
            let bar = ProgressBar::new_spinner();
            let style = ProgressStyle::with_template("{spinner} {prefix} {wide_msg:.dim}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self { bar }
    }

    /// A step begins.
    pub(super) fn begin(&self, what: impl Into<String>) {
        match &self.bar {
            Some(bar) => {
                bar.set_prefix(what.into());
                bar.set_message("");
            }
            None => say(format!("{} …", what.into())),
        }
    }

    /// How far the step is; only for who watches.
    pub(super) fn at(&self, how_far: impl Into<String>) {
        if let Some(bar) = &self.bar {
            bar.set_message(how_far.into());
        }
    }

    /// What came of the step.
    pub(super) fn done(&self, what: impl AsRef<str>) {
        match &self.bar {
            Some(bar) => bar.println(what.as_ref()),
            None => say(what),
        }
    }

    /// Takes the line away.
    pub(super) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
