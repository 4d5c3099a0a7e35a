//! Progress of long work: bars on a terminal, lines otherwise, and nothing on standard output.

use std::collections::BTreeMap;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use parking_lot::Mutex;
use registry::{Digest, Progress};

use super::output::{bytes, is_watched, say, short_digest};

/// The progress of one transfer, for `registry::Client`.
pub(super) struct Transfer {
    bars: Option<MultiProgress>,
    blobs: Mutex<BTreeMap<Digest, ProgressBar>>,
}

impl Transfer {
    pub(super) fn new() -> Self {
        let bars = is_watched().then(MultiProgress::new);
        Self { bars, blobs: Mutex::default() }
    }

    /// Takes what the registry client reports.
    pub(super) fn report(&self, progress: Progress) {
        match progress {
            Progress::Blob { digest, done_bytes, total_bytes } => {
                self.blob(digest, done_bytes, total_bytes);
            }
            Progress::Present { digest, total_bytes } => {
                let digest = digest.to_string();
                self.line(format!(
                    "{} {} is there already",
                    short_digest(&digest),
                    bytes(total_bytes)
                ));
            }
            Progress::Unpacking => self.line("unpacking".to_owned()),
            _ => {}
        }
    }

    /// Takes the bars away.
    pub(super) fn clear(&self) {
        if let Some(bars) = &self.bars {
            let _ = bars.clear();
        }
    }

    fn blob(&self, digest: Digest, done_bytes: u64, total_bytes: u64) {
        let done = done_bytes >= total_bytes;
        let Some(bars) = &self.bars else {
            if done {
                let digest = digest.to_string();
                say(format!("{} {} transferred", short_digest(&digest), bytes(total_bytes)));
            }
            return;
        };
        let mut blobs = self.blobs.lock();
        let bar = blobs.entry(digest).or_insert_with(|| {
            let bar = bars.add(ProgressBar::new(total_bytes));
            bar.set_style(style("{msg} {bar:30} {bytes}/{total_bytes} {bytes_per_sec}"));
            bar.set_message(short_digest(&digest.to_string()).to_owned());
            bar
        });
        bar.set_position(done_bytes);
        if done {
            bar.finish();
        }
    }

    fn line(&self, text: String) {
        match &self.bars {
            Some(bars) => drop(bars.println(text)),
            None => say(text),
        }
    }
}

/// What is waited for, by name: a spinner each on a terminal, a line for each change otherwise.
pub(super) struct Waits {
    bars: Option<MultiProgress>,
    shown: BTreeMap<String, (String, Option<ProgressBar>)>,
}

impl Waits {
    pub(super) fn new() -> Self {
        Self { bars: is_watched().then(MultiProgress::new), shown: BTreeMap::new() }
    }

    /// Shows how far something is; what was said already is not repeated. `live` is what a
    /// terminal shows instead, where what moves would be a flood of lines.
    pub(super) fn show(&mut self, name: &str, text: &str, live: Option<&str>, done: bool) {
        let bars = self.bars.as_ref();
        let (last, bar) = self.shown.entry(name.to_owned()).or_insert_with(|| {
            let bar = bars.map(|bars| {
                let bar = bars.add(ProgressBar::new_spinner());
                bar.set_style(style("{spinner} {prefix}: {wide_msg}"));
                bar.set_prefix(name.to_owned());
                bar.enable_steady_tick(std::time::Duration::from_millis(120));
                bar
            });
            (String::new(), bar)
        });
        let text = live.filter(|_| bar.is_some()).unwrap_or(text);
        if last == text {
            return;
        }
        text.clone_into(last);
        match bar {
            // A whole line, however long: why something failed is what is looked for here.
            Some(bar) if done => {
                bar.finish_and_clear();
                if let Some(bars) = bars {
                    let _ = bars.println(format!("{name}: {text}"));
                }
            }
            Some(bar) => bar.set_message(text.to_owned()),
            None => say(format!("{name}: {text}")),
        }
    }
}

/// A style that does not parse gives the default one: progress is not worth a failure.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
