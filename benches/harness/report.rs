//! What a run found, for people and for programs.

use std::fmt::Write;

use serde::Serialize;

use super::machine::{Machine, Stretch};
use super::options::Options;
use super::stats::Estimate;

/// How far the control's interval may reach to each side of its middle.
const MOST_NOISE: f64 = 0.07;

/// What a figure must be, and what it shall become.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bound {
    /// Not more than this.
    AtMost(f64),
    /// Not less than this.
    AtLeast(f64),
}

/// Whether a figure is within a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    /// The whole interval is.
    Holds,
    /// The whole interval is not.
    Fails,
    /// The bound is within the interval: more pairs would tell.
    Undecided,
    /// The figure's control was noisy.
    Void,
}

/// How the run as a whole ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    /// Every floor holds.
    Holds,
    /// A floor fails.
    Fails,
    /// No floor fails, but for one of them the machine was too noisy, or more pairs are needed.
    Void,
}

/// One number that the run is about.
#[derive(Clone, Debug, Serialize)]
struct Figure {
    name: String,
    values: Vec<f64>,
    #[serde(flatten)]
    estimate: Estimate,
    floor: Option<(Bound, Verdict)>,
    target: Option<(Bound, Verdict)>,
}

/// Whether a figure can be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// It was counted, not timed: noise does not touch it.
    Counted,
    /// Its control was quiet.
    Quiet,
    /// Its control was noisy: it is neither within a bound nor outside.
    Noisy,
}

/// Ours against a second copy of ours.
#[derive(Clone, Debug, Serialize)]
struct Control {
    name: String,
    values: Vec<f64>,
    #[serde(flatten)]
    estimate: Estimate,
    quiet: bool,
}

/// What was measured of one variant, in its unit.
#[derive(Clone, Debug, Serialize)]
struct Series {
    name: String,
    unit: &'static str,
    values: Vec<f64>,
    #[serde(flatten)]
    estimate: Estimate,
}

/// A run's findings.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    title: &'static str,
    pairs: u32,
    seconds: f64,
    machine: Machine,
    stretch: Stretch,
    versions: Vec<(String, String)>,
    series: Vec<Series>,
    controls: Vec<Control>,
    figures: Vec<Figure>,
    facts: Vec<String>,
    failures: Vec<String>,
    outcome: Option<Outcome>,
}

impl Bound {
    /// Compares the whole interval with the bound.
    pub(crate) fn judge(self, estimate: &Estimate) -> Verdict {
        let (good, bad) = match self {
            Self::AtMost(most) => (estimate.high <= most, estimate.low > most),
            Self::AtLeast(least) => (estimate.low >= least, estimate.high < least),
        };
        match (good, bad) {
            (true, _) => Verdict::Holds,
            (_, true) => Verdict::Fails,
            _ => Verdict::Undecided,
        }
    }
}

impl Report {
    /// An empty report. The machine is watched from now on.
    pub(crate) fn begin(title: &'static str, options: &Options) -> Self {
        Self {
            title,
            pairs: options.pairs,
            seconds: options.seconds,
            machine: Machine::read(),
            stretch: Stretch::begin(),
            versions: Vec::new(),
            series: Vec::new(),
            controls: Vec::new(),
            figures: Vec::new(),
            facts: Vec::new(),
            failures: Vec::new(),
            outcome: None,
        }
    }

    /// Says which version of something was measured.
    pub(crate) fn version(&mut self, of: &str, version: impl Into<String>) {
        self.versions.push((of.to_owned(), version.into()));
    }

    /// Adds what was measured of one variant.
    pub(crate) fn series(&mut self, name: &str, unit: &'static str, values: &[f64]) {
        let (estimate, values) = (Estimate::of(values), values.to_vec());
        self.series.push(Series { name: name.to_owned(), unit, values, estimate });
    }

    /// Adds a control, ratios of ours to ours, and says whether figures that were measured along
    /// with it can be believed.
    pub(crate) fn control(&mut self, name: &str, ratios: &[f64]) -> Trust {
        let estimate = Estimate::of(ratios);
        let narrow = (estimate.high - estimate.low) / 2.0 <= MOST_NOISE;
        let quiet = narrow && estimate.low <= 1.0 && estimate.high >= 1.0;
        self.controls.push(Control {
            name: name.to_owned(),
            values: ratios.to_vec(),
            estimate,
            quiet,
        });
        if quiet { Trust::Quiet } else { Trust::Noisy }
    }

    /// Adds a figure.
    pub(crate) fn figure(
        &mut self,
        name: &str,
        values: &[f64],
        trust: Trust,
        floor: Option<Bound>,
        target: Option<Bound>,
    ) {
        let estimate = Estimate::of(values);
        let judged = |bound: Bound| match trust {
            Trust::Noisy => (bound, Verdict::Void),
            Trust::Counted | Trust::Quiet => (bound, bound.judge(&estimate)),
        };
        self.figures.push(Figure {
            name: name.to_owned(),
            values: values.to_vec(),
            estimate,
            floor: floor.map(judged),
            target: target.map(judged),
        });
    }

    /// Adds something else that a reader should know.
    pub(crate) fn fact(&mut self, text: impl Into<String>) {
        self.facts.push(text.into());
    }

    /// Adds something that had to be so; if it is not, the run fails.
    pub(crate) fn require(&mut self, holds: bool, text: impl Into<String>) {
        let text = text.into();
        match holds {
            true => self.facts.push(text),
            false => self.failures.push(text),
        }
    }

    /// Closes the report.
    pub(crate) fn finish(mut self) -> Self {
        self.stretch.end();
        self.outcome = Some(self.outcome());
        self
    }

    /// How the run ended.
    pub(crate) fn outcome(&self) -> Outcome {
        let floors = self.figures.iter().filter_map(|figure| figure.floor);
        let verdicts: Vec<Verdict> = floors.map(|(_, verdict)| verdict).collect();
        if !self.failures.is_empty() || verdicts.contains(&Verdict::Fails) {
            Outcome::Fails
        } else if verdicts.iter().all(|verdict| *verdict == Verdict::Holds) {
            Outcome::Holds
        } else {
            Outcome::Void
        }
    }

    /// The report as JSON.
    pub(crate) fn json(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// The report for people.
    pub(crate) fn table(&self) -> String {
        let mut text = format!("\n{}\n\n", self.title);
        self.write_machine(&mut text);
        let header = ["", "median", "95 % interval", "min", "max", "floor", "target"];
        let mut rows = vec![header.map(str::to_owned)];
        for series in &self.series {
            let name = format!("{} [{}]", series.name, series.unit);
            rows.push(row(name, &series.estimate, String::new(), String::new()));
        }
        for control in &self.controls {
            let verdict = if control.quiet { "quiet" } else { "noisy" };
            let name = format!("control: {}", control.name);
            rows.push(row(name, &control.estimate, verdict.to_owned(), String::new()));
        }
        for figure in &self.figures {
            let (floor, target) = (shown(figure.floor), shown(figure.target));
            rows.push(row(figure.name.clone(), &figure.estimate, floor, target));
        }
        write_aligned(&mut text, &rows);
        text.push('\n');
        for fact in &self.facts {
            text += &format!("{fact}\n");
        }
        for failure in &self.failures {
            text += &format!("FAILED: {failure}\n");
        }
        text + self.verdict_line() + "\n"
    }

    fn verdict_line(&self) -> &'static str {
        let is_void = |figure: &Figure| matches!(figure.floor, Some((_, Verdict::Void)));
        match self.outcome() {
            Outcome::Holds => "holds: every floor is kept",
            Outcome::Fails => "fails: a floor is not kept",
            Outcome::Void if self.figures.iter().any(is_void) => {
                "void: the control says that the machine is too noisy to tell; try again when it \
                 is idle, or with more --pairs"
            }
            Outcome::Void => "undecided: try again with more --pairs",
        }
    }

    fn write_machine(&self, text: &mut String) {
        let (machine, stretch) = (&self.machine, &self.stretch);
        let _ = writeln!(text, "machine   {machine}");
        let _ = writeln!(text, "load      {stretch}");
        for (of, version) in &self.versions {
            let _ = writeln!(text, "{of:<9} {version}");
        }
        let _ = writeln!(text, "pairs     {} of {} s\n", self.pairs, self.seconds);
    }
}

fn row(name: String, estimate: &Estimate, floor: String, target: String) -> [String; 7] {
    let number = |value: f64| match value.abs() {
        v if v >= 1_000.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    };
    let interval = format!("{} to {}", number(estimate.low), number(estimate.high));
    let (min, max) = (number(estimate.min), number(estimate.max));
    [name, number(estimate.median), interval, min, max, floor, target]
}

fn shown(judged: Option<(Bound, Verdict)>) -> String {
    let Some((bound, verdict)) = judged else { return String::new() };
    let verdict = match verdict {
        Verdict::Holds => "holds",
        Verdict::Fails => "fails",
        Verdict::Undecided => "undecided",
        Verdict::Void => "void",
    };
    match bound {
        Bound::AtMost(most) => format!("<= {most} {verdict}"),
        Bound::AtLeast(least) => format!(">= {least} {verdict}"),
    }
}

fn write_aligned(text: &mut String, rows: &[[String; 7]]) {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..7).map(|column| width(column).unwrap_or(0)).collect();
    for row in rows {
        let cells =
            row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column {
                0 | 5 | 6 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
        let line = cells.collect::<Vec<_>>().join("  ");
        *text += line.trim_end();
        text.push('\n');
    }
}
