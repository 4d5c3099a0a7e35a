//! What makes a service have more or fewer tasks than its requests ask for at the moment.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::duration;

/// By which measures the number of tasks follows the load. Without any, requests alone decide.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScalePolicies {
    /// What each task should have to do.
    #[serde(default, skip_serializing_if = "Targets::is_none")]
    pub target: Targets,
    /// What follows when a measure passes a mark.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
    /// How much of the past counts: the stable window of Knative.
    #[serde(with = "duration")]
    pub window: Duration,
    /// How much of it counts while load rises steeply: the panic window of Knative.
    #[serde(with = "duration")]
    pub burst: Duration,
    /// From how many times the load that the tasks are meant for a rise is steep, in percent.
    pub burst_threshold: u32,
    /// How long after tasks were added no more are added by these policies.
    #[serde(with = "duration")]
    pub out_cooldown: Duration,
    /// How long after the number changed no task is taken away.
    #[serde(with = "duration")]
    pub in_cooldown: Duration,
}

/// What each task should have to do, by measure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Targets {
    /// Requests at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<u32>,
    /// Requests a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rps: Option<u32>,
    /// Percent of its CPU units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u32>,
    /// Percent of its memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u32>,
}

/// What is measured of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Requests that are served or wait.
    InFlight,
    /// Requests that begin in a second.
    Rps,
    /// CPU that guests use, in percent of the units of their tasks.
    Cpu,
    /// Memory that instances hold, in percent of that of their tasks.
    Memory,
}

/// A change of the number of tasks when a measure passes a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// What is measured, for each task.
    pub metric: Metric,
    /// From where on the step is taken.
    pub mark: Threshold,
    /// What it does.
    pub adjust: Adjust,
}

/// Where a step begins. The mark itself does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Threshold {
    /// When the measure is greater.
    Above(u32),
    /// When it is less.
    Below(u32),
}

/// How a step changes the number of tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Adjust {
    /// So many more.
    Add(u32),
    /// So many fewer.
    Remove(u32),
    /// More by so many percent, at least one.
    AddPercent(u32),
    /// Fewer by so many percent, at least one.
    RemovePercent(u32),
    /// Exactly so many.
    Set(u32),
}

impl ScalePolicies {
    /// Steps of one service: each is looked at every second.
    pub const MOST_STEPS: usize = 20;
    /// The stable window, as Knative's.
    pub const WINDOW: Duration = Duration::from_secs(60);
    /// The burst window, as Knative's: a tenth of the stable one.
    pub const BURST: Duration = Duration::from_secs(6);
    /// When a rise is steep, as in Knative.
    pub const BURST_THRESHOLD: u32 = 200;

    /// Whether requests alone decide.
    pub fn is_none(&self) -> bool {
        self.target.is_none() && self.steps.is_empty()
    }
}

impl Default for ScalePolicies {
    fn default() -> Self {
        Self {
            target: Targets::default(),
            steps: Vec::new(),
            window: Self::WINDOW,
            burst: Self::BURST,
            burst_threshold: Self::BURST_THRESHOLD,
            out_cooldown: Duration::ZERO,
            in_cooldown: Duration::ZERO,
        }
    }
}

impl Targets {
    /// Whether there is no target.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Those that there are.
    pub fn all(&self) -> impl Iterator<Item = (Metric, u32)> + use<> {
        let all = [
            (Metric::InFlight, self.in_flight),
            (Metric::Rps, self.rps),
            (Metric::Cpu, self.cpu),
            (Metric::Memory, self.memory),
        ];
        all.into_iter().filter_map(|(metric, target)| Some((metric, target?)))
    }
}

impl Metric {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::InFlight, Self::Rps, Self::Cpu, Self::Memory];

    /// Its name in manifests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InFlight => "in_flight",
            Self::Rps => "rps",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
        }
    }

    /// What stands behind a value of it.
    pub fn unit(self) -> &'static str {
        match self {
            Self::InFlight | Self::Rps => "",
            Self::Cpu | Self::Memory => "%",
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (metric, unit) = (self.metric, self.metric.unit());
        match self.mark {
            Threshold::Above(mark) => write!(f, "{metric} above {mark}{unit}: ")?,
            Threshold::Below(mark) => write!(f, "{metric} below {mark}{unit}: ")?,
        }
        match self.adjust {
            Adjust::Add(tasks) => write!(f, "add {tasks}"),
            Adjust::Remove(tasks) => write!(f, "remove {tasks}"),
            Adjust::AddPercent(percent) => write!(f, "add {percent}%"),
            Adjust::RemovePercent(percent) => write!(f, "remove {percent}%"),
            Adjust::Set(tasks) => write!(f, "set {tasks}"),
        }
    }
}

impl fmt::Display for ScalePolicies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_none() {
            return f.write_str("requests alone");
        }
        let targets = self.target.all();
        let targets = targets.map(|(metric, target)| format!("{metric} {target}{}", metric.unit()));
        let steps = self.steps.iter().map(ToString::to_string);
        f.write_str(&targets.chain(steps).collect::<Vec<_>>().join(" · "))?;
        let (window, burst) = (duration::format(self.window), duration::format(self.burst));
        write!(f, " · over {window}, {burst} from {}%", self.burst_threshold)?;
        for (name, time) in [("out", self.out_cooldown), ("in", self.in_cooldown)] {
            if !time.is_zero() {
                write!(f, " · {name} every {}", duration::format(time))?;
            }
        }
        Ok(())
    }
}
