//! What a manifest says once it is known to be valid.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use registry::Reference;
use serde_json::{Map, Value, json};

use crate::model::{
    Adjust, Affinity, DeployPolicy, Health, Limits, Mirror, MirrorTo, Name, Percent, Probe,
    QueueBounds, Role, Route, Scale, ScalePolicies, ScheduledBounds, Step, Strategy, TargetUrl,
    Threshold, TrafficTarget, UpstreamPolicy, duration,
};

/// A valid manifest: at least one task or service.
///
/// A service may name a task that is not in the manifest, because the task may be registered
/// already; whoever applies the manifest checks that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// What tasks may reach, by the names that they call it by.
    pub roles: BTreeMap<Name, Role>,
    /// Task definitions to register, by family.
    pub tasks: BTreeMap<Name, TaskSpec>,
    /// Services to create or change.
    pub services: BTreeMap<Name, ServiceSpec>,
    /// Servers beside services, by name.
    pub upstreams: BTreeMap<Name, UpstreamSpec>,
}

/// A task definition before its image is resolved to a digest and its revision is numbered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskSpec {
    /// Where the component comes from.
    pub source: Source,
    /// Environment variables of every instance.
    pub env: BTreeMap<String, String>,
    /// The role of the manifest that it has, if it has one.
    pub role: Option<Name>,
    /// What the task may use, with defaults filled in.
    pub limits: Limits,
}

/// Where a task's component comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// An artifact in a registry.
    Image(Reference),
    /// A `.wasm` file beside the manifest: relative paths are relative to the manifest's folder.
    Component(PathBuf),
}

/// A service before it has a generation, and before its task has a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceSpec {
    /// The family of the task definition that it runs.
    pub task: Name,
    /// Which requests it answers; no route occurs twice in a manifest.
    pub routes: Vec<Route>,
    /// How many tasks.
    pub scale: Scale,
    /// What else decides about their number.
    pub scaling: ScalePolicies,
    /// When the bounds are others.
    pub schedule: Vec<ScheduledBounds>,
    /// How requests wait.
    pub queue: QueueBounds,
    /// How long requests of a task that goes are waited for before they are stopped.
    pub drain: Duration,
    /// How it is asked whether it is well.
    pub health: Health,
    /// How a change of the task is rolled out.
    pub deploy: DeployPolicy,
    /// How the traffic is split; empty for all of it to the latest revision.
    pub traffic: Vec<TrafficTarget>,
    /// What keeps the requests of one client together.
    pub affinity: Option<Affinity>,
    /// Copies of its requests that go elsewhere as well.
    pub mirror: Option<Mirror>,
}

/// Servers that requests are forwarded to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamSpec {
    /// Which requests.
    pub routes: Vec<Route>,
    /// The servers.
    pub targets: Vec<TargetUrl>,
    /// How they are used.
    pub policy: UpstreamPolicy,
}

impl Manifest {
    /// What the task may reach.
    pub fn role_of(&self, task: &TaskSpec) -> Role {
        task.role.as_ref().and_then(|name| self.roles.get(name)).cloned().unwrap_or_default()
    }

    /// Whether it declares nothing: a role by itself is nothing. [`parse`](super::parse) never
    /// returns such a manifest.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty() && self.services.is_empty() && self.upstreams.is_empty()
    }

    /// Writes the manifest in its own schema, with every default spelled out.
    ///
    /// [`parse`](super::parse) reads the same manifest from it, written as JSON, YAML or TOML.
    /// Component paths are written as Unicode; those that were parsed always are.
    pub fn to_json(&self) -> Value {
        let mut root = Map::new();
        if !self.roles.is_empty() {
            let roles = self.roles.iter().map(|(name, role)| (name.to_string(), role_json(role)));
            root.insert("role".to_owned(), Value::Object(roles.collect()));
        }
        if !self.tasks.is_empty() {
            let tasks = self.tasks.iter().map(|(name, task)| (name.to_string(), task.to_json()));
            root.insert("task".to_owned(), Value::Object(tasks.collect()));
        }
        if !self.services.is_empty() {
            let all = self.services.iter().map(|(name, one)| (name.to_string(), one.to_json()));
            root.insert("service".to_owned(), Value::Object(all.collect()));
        }
        if !self.upstreams.is_empty() {
            let all = self.upstreams.iter().map(|(name, one)| (name.to_string(), one.to_json()));
            root.insert("upstream".to_owned(), Value::Object(all.collect()));
        }
        Value::Object(root)
    }
}

impl TaskSpec {
    fn to_json(&self) -> Value {
        let limits = &self.limits;
        let mut table = json!({
            "env": self.env,
            "cpu": limits.cpu,
            "memory": limits.memory,
            "cpu_cap": limits.cpu_cap,
            "instance_memory": limits.instance_memory,
            "fuel": limits.fuel,
            "timeout": duration::format(limits.timeout),
            "concurrency": limits.concurrency,
            "limits": {
                "request_body": limits.request_body,
                "response_body": limits.response_body,
                "headers": limits.headers,
                "handles": limits.handles,
                "hostcall_bytes": limits.hostcall_bytes,
            },
        });
        let (key, source) = match &self.source {
            Source::Image(reference) => ("image", reference.to_string()),
            Source::Component(path) => ("component", path.to_string_lossy().into_owned()),
        };
        table[key] = Value::String(source);
        if let Some(role) = &self.role {
            table["role"] = role.as_str().into();
        }
        table
    }
}

impl ServiceSpec {
    fn to_json(&self) -> Value {
        let (scale, queue) = (&self.scale, &self.queue);
        let mut table = json!({
            "task": self.task,
            "route": self.routes,
            "scale": scaling_json(scale, &self.scaling, &self.schedule),
            "queue": { "depth": queue.depth, "wait": duration::format(queue.wait) },
            "drain": duration::format(self.drain),
            "health": health_json(&self.health),
            "deploy": deploy_json(&self.deploy),
            "traffic": self.traffic.iter().map(target_json).collect::<Vec<_>>(),
        });
        if let Some(affinity) = &self.affinity {
            table["affinity"] = affinity_json(affinity);
        }
        if let Some(mirror) = &self.mirror {
            table["mirror"] = mirror_json(mirror);
        }
        table
    }
}

impl UpstreamSpec {
    fn to_json(&self) -> Value {
        let policy = &self.policy;
        let mut table = json!({
            "route": self.routes,
            "target": self.targets,
            "host": policy.host.as_str(),
            "connect_timeout": duration::format(policy.connect_timeout),
            "timeout": duration::format(policy.timeout),
            "idle_timeout": duration::format(policy.idle_timeout),
            "max_in_flight": policy.max_in_flight,
            "retry": {
                "attempts": policy.retry.attempts,
                "budget": number(policy.retry.budget),
            },
            "eject": {
                "failures": policy.eject.failures,
                "time": duration::format(policy.eject.time),
            },
        });
        if let Some(probe) = &policy.health {
            table["health"] = probe_json(probe);
        }
        if let Some(affinity) = &policy.affinity {
            table["affinity"] = affinity_json(affinity);
        }
        if let Some(ca) = &policy.ca {
            table["ca"] = ca.as_str().into();
        }
        table
    }
}

/// A role is stored as it is written, but for its name.
fn role_json(role: &Role) -> Value {
    let mut table = json!(role);
    if let Value::Object(keys) = &mut table {
        keys.remove("name");
    }
    table["limits"] = json!(role.limits);
    table
}

fn scaling_json(scale: &Scale, scaling: &ScalePolicies, schedule: &[ScheduledBounds]) -> Value {
    let mut table = json!({
        "min": scale.min,
        "max": scale.max,
        "idle": duration::format(scale.idle),
    });
    if !scaling.is_none() {
        let targets = scaling.target.all();
        let targets = targets.map(|(metric, target)| (metric.to_string(), target.into()));
        let targets: Map<String, Value> = targets.collect();
        if !targets.is_empty() {
            table["target"] = targets.into();
        }
        if !scaling.steps.is_empty() {
            table["steps"] = scaling.steps.iter().map(step_json).collect();
        }
        table["window"] = duration::format(scaling.window).into();
        table["burst"] = duration::format(scaling.burst).into();
        table["burst_threshold"] = scaling.burst_threshold.into();
        table["out_cooldown"] = duration::format(scaling.out_cooldown).into();
        table["in_cooldown"] = duration::format(scaling.in_cooldown).into();
    }
    if !schedule.is_empty() {
        table["schedule"] = json!(schedule);
    }
    table
}

fn step_json(step: &Step) -> Value {
    let mut table = json!({ "metric": step.metric.as_str() });
    let (key, mark) = match step.mark {
        Threshold::Above(mark) => ("above", mark),
        Threshold::Below(mark) => ("below", mark),
    };
    table[key] = mark.into();
    let (key, amount) = match step.adjust {
        Adjust::Add(tasks) => ("add", tasks),
        Adjust::Remove(tasks) => ("remove", tasks),
        Adjust::AddPercent(percent) => ("add_percent", percent),
        Adjust::RemovePercent(percent) => ("remove_percent", percent),
        Adjust::Set(tasks) => ("set", tasks),
    };
    table[key] = amount.into();
    table
}

fn health_json(health: &Health) -> Value {
    let probes = [
        ("startup", &health.startup),
        ("liveness", &health.liveness),
        ("readiness", &health.readiness),
    ];
    let given = probes.into_iter().filter_map(|(name, probe)| Some((name, probe.as_ref()?)));
    given.map(|(name, probe)| (name.to_owned(), probe_json(probe))).collect::<Map<_, _>>().into()
}

fn probe_json(probe: &Probe) -> Value {
    json!({
        "path": probe.path,
        "interval": duration::format(probe.interval),
        "timeout": duration::format(probe.timeout),
        "failures": probe.failures,
        "successes": probe.successes,
        "delay": duration::format(probe.delay),
    })
}

fn deploy_json(deploy: &DeployPolicy) -> Value {
    let (breaker, alarm) = (&deploy.breaker, &deploy.alarm);
    let mut table = json!({
        "strategy": deploy.strategy.as_str(),
        "bake": duration::format(deploy.bake),
        "breaker": { "rollback": breaker.rollback },
        "alarm": {
            "errors": number(alarm.errors),
            "latency": alarm.latency,
            "requests": alarm.requests,
        },
        "keep": deploy.keep,
    });
    if let Some(threshold) = breaker.threshold {
        table["breaker"]["threshold"] = threshold.into();
    }
    match deploy.strategy {
        Strategy::Rolling { min_healthy, max_healthy } => {
            table["min_healthy"] = min_healthy.into();
            table["max_healthy"] = max_healthy.into();
        }
        Strategy::Canary { percent, step_bake } | Strategy::Linear { percent, step_bake } => {
            table["percent"] = number(percent);
            table["step_bake"] = duration::format(step_bake).into();
        }
        Strategy::BlueGreen | Strategy::AllAtOnce => {}
    }
    table
}

fn affinity_json(affinity: &Affinity) -> Value {
    match affinity {
        Affinity::Cookie { name, ttl } => json!({ "cookie": name, "ttl": duration::format(*ttl) }),
        Affinity::Header(name) => json!({ "header": name }),
        Affinity::Client => "client".into(),
    }
}

fn mirror_json(mirror: &Mirror) -> Value {
    let percent = number(mirror.percent);
    match &mirror.to {
        MirrorTo::Revision(revision) => json!({ "revision": revision, "percent": percent }),
        MirrorTo::Service(service) => json!({ "service": service, "percent": percent }),
    }
}

fn target_json(target: &TrafficTarget) -> Value {
    let mut table = json!({ "percent": number(target.percent) });
    match target.revision {
        Some(revision) => table["revision"] = revision.into(),
        None => table["latest"] = true.into(),
    }
    if let Some(tag) = &target.tag {
        table["tag"] = tag.as_str().into();
    }
    for (key, mark) in [("header", &target.header), ("cookie", &target.cookie)] {
        if let Some(mark) = mark {
            table[key] = json!(mark);
        }
    }
    table
}

/// A percentage as people write it.
fn number(percent: Percent) -> Value {
    percent.to_string().trim_end_matches('%').into()
}
