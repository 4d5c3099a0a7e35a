//! `wharf describe`: everything about a service, as indented text.

use std::fmt::Write;

use crate::api::{
    Event, Revision, Rollout, Scaling, ServiceDetail, ServiceState, Stats, TaskDefinition,
};
use crate::clock;
use crate::model::{Health, HealthState, Name, Role};

use super::args;
use super::client::ApiClient;
use super::output::{self, Output};
use super::told::Told;
use super::upstreams;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wharf describe hello
  wharf describe hello -o json | jq .definition.limits")]
pub(super) struct Args {
    /// The service, or the upstream
    #[arg(value_parser = args::name)]
    service: Name,
}

pub(super) async fn run(args: Args, api: &ApiClient, output: Output) -> anyhow::Result<()> {
    let name = args.service.as_str();
    let detail: ServiceDetail = match api.get(&["v1", "services", name]).await {
        Ok(detail) => detail,
        Err(error) if Told::is(&error, "service-not-found") => {
            // The two share their names; where there is neither, a service was meant.
            let upstream = api.get(&["v1", "upstreams", name]).await;
            return upstreams::show(&upstream.map_err(|_| error)?, output);
        }
        Err(error) => return Err(error),
    };
    match output {
        Output::Json => output::json(&detail),
        Output::Table => output::text(&page(&detail)),
    }
}

fn page(detail: &ServiceDetail) -> String {
    let service = &detail.service;
    let mut page = Page::default();
    page.line("service", &service.name);
    page.line("state", &state(detail));
    page.line("task", &service.task);
    if let Some(earlier) = service.earlier() {
        let why = match service.state {
            ServiceState::Failed => format!("{} failed", service.task),
            _ => format!("{} is not ready yet", service.task),
        };
        page.line("serving", &format!("{earlier} goes on serving: {why}"));
    }
    if let Some(why) = detail.why.as_ref().filter(|_| service.state != ServiceState::Blocked) {
        page.line("placement", why);
    }
    page.line("generation", &service.generation.to_string());
    page.line("routes", &service.routes.join(" "));
    for route in &detail.rules {
        page.below(&route.pattern.to_string(), &route.rules.to_string());
    }
    for target in &detail.traffic {
        page.line("traffic", &target.to_string());
    }
    if let Some(affinity) = &detail.affinity {
        page.line("affinity", &affinity.to_string());
    }
    if let Some(mirror) = &detail.mirror {
        page.line("mirror", &mirror.to_string());
    }
    for (outcome, count) in &detail.mirrored {
        page.below(outcome, &count.to_string());
    }
    page.scale(detail);
    page.line("queue", &format!("depth {} · wait {}", service.queue.depth, service.queue.wait));
    page.line("drain", &service.drain);
    page.health(&detail.health);
    page.line(
        "now",
        &format!(
            "tasks {} · in flight {} · waiting {} · {}",
            service.tasks,
            service.in_flight,
            service.waiting,
            if detail.loaded { "loaded" } else { "not in memory" }
        ),
    );
    detail.scaling.iter().for_each(|scaling| page.scaling(scaling));
    if let Some(rollout) = &detail.rollout {
        page.rollout(rollout);
    }
    page.revisions(&detail.revisions);
    if let Some(definition) = &detail.definition {
        page.definition(definition);
    }
    page.reports(detail);
    if let Some(stats) = &detail.stats {
        page.stats(stats);
    }
    page.events(&detail.events);
    page.line("log", &format!("{} lines kept", detail.log_lines));
    page.0
}

fn state(detail: &ServiceDetail) -> String {
    let service = &detail.service;
    let mut state = service.state.to_string();
    if let Some(code) = &service.code {
        state += &format!(" ({code})");
    }
    if !service.message.is_empty() {
        state += &format!(": {}", service.message);
    }
    if let Some(pull) = service.pull {
        state += &format!(" ({})", output::bytes_of(pull.done_bytes, pull.total_bytes));
    }
    if let Some(compile) = &service.compile {
        state += &format!(" ({})", output::compiling(compile));
    }
    state
}

/// Text that grows by lines of name and value. Writing into a `String` cannot fail.
#[derive(Default)]
struct Page(String);

impl Page {
    fn line(&mut self, name: &str, value: &str) {
        let value = if value.is_empty() { "-" } else { value };
        let _ = writeln!(self.0, "{name:<12}{value}");
    }

    fn below(&mut self, name: &str, value: &str) {
        let _ = writeln!(self.0, "  {name:<18}{value}");
    }

    fn definition(&mut self, definition: &TaskDefinition) {
        let limits = &definition.limits;
        self.line("definition", &definition.id);
        self.below("image", &definition.image);
        self.below("manifest", &definition.manifest);
        self.below("registered", &definition.registered_at);
        let capped = if limits.cpu_cap { ", never more" } else { "" };
        self.below("cpu", &format!("{} of 1024 per core{capped}", limits.cpu));
        self.below("memory", &format!("{} · {} each", limits.memory, limits.instance_memory));
        self.below("fuel", &limits.fuel.to_string());
        self.below("timeout", &limits.timeout);
        self.below("concurrency", &limits.concurrency.to_string());
        let bodies = format!("{} in · {} out", limits.request_body, limits.response_body);
        self.below("bodies", &bodies);
        self.below("headers", &limits.headers);
        let host = format!("{} · {} per host call", limits.handles, limits.hostcall_bytes);
        self.below("handles", &host);
        self.role(&definition.role);
        for (name, value) in &definition.env {
            self.below("env", &format!("{name}={}", crate::telemetry::sanitise(value.as_bytes())));
        }
    }

    fn role(&mut self, role: &Role) {
        if let Some(name) = &role.name {
            self.below("role", name.as_str());
        }
        for outbound in &role.outbound {
            self.below("outbound", &outbound.to_string());
        }
        if !role.networks.is_empty() {
            self.below("networks", &role.networks.to_string());
        }
        if !role.services.is_none() {
            self.below("calls", &role.services.to_string());
        }
        if role.name.is_some() {
            self.below("role limits", &role.limits.to_string());
        }
    }

    fn scale(&mut self, detail: &ServiceDetail) {
        let scale = &detail.service.scale;
        let bounds = match &detail.service.scheduled {
            None => format!("min {} · max {}", scale.min, scale.max),
            Some(by) => {
                let until = by.until.as_ref().map_or(String::new(), |at| format!(" until {at}"));
                let schedule = format!("schedule `{}` {}{until}", by.cron, by.zone);
                format!("min {} · max {} ({schedule})", by.min, by.max)
            }
        };
        self.line("scale", &format!("{bounds} · idle {}", scale.idle));
        if !detail.policies.is_none() {
            self.line("policies", &detail.policies.to_string());
        }
        for entry in &detail.schedule {
            self.line("schedule", &entry.to_string());
        }
    }

    fn scaling(&mut self, scaling: &Scaling) {
        let (revision, why) = (scaling.revision, &scaling.why);
        let tasks = match scaling.desired {
            1 => "1 task".to_owned(),
            many => format!("{many} tasks"),
        };
        self.line("scaling", &format!("revision {revision}: {tasks}: {why}"));
        for input in &scaling.inputs {
            let (stable, burst, target) = (input.stable, input.burst, input.target);
            let text = format!("{stable:.1} · burst {burst:.1} · target {target:.1} for each");
            self.below(&input.metric, &format!("{text} → {}", input.wants));
        }
        for change in &scaling.changes {
            let text = format!("{} → {}: {}", change.before, change.tasks, change.why);
            let _ = writeln!(self.0, "  {}  {text}", clock::rfc3339(change.at_ms));
        }
    }

    fn health(&mut self, health: &Health) {
        let probes = [
            ("startup", &health.startup),
            ("liveness", &health.liveness),
            ("readiness", &health.readiness),
        ];
        for (name, probe) in probes {
            if let Some(probe) = probe {
                self.line(name, &probe.to_string());
            }
        }
    }

    fn rollout(&mut self, rollout: &Rollout) {
        let paused = if rollout.paused { ", paused" } else { "" };
        let number = rollout.deployment;
        self.line("deployment", &format!("{number} · {}{paused}", rollout.stage));
        self.below("strategy", &rollout.strategy);
        self.below("revision", &format!("{} with {}", rollout.revision, rollout.share));
        if let Some(stable) = rollout.stable {
            self.below("stable", &stable.to_string());
        }
    }

    fn revisions(&mut self, revisions: &[Revision]) {
        let used = revisions.iter().filter(|one| one.percent > 0.0 || !one.tags.is_empty());
        for revision in used {
            let tags = revision.tags.join(" ");
            let text = format!("{} · {}% {tags}", revision.task, revision.percent);
            self.line(&format!("revision {}", revision.revision), text.trim_end());
        }
    }

    fn events(&mut self, events: &[Event]) {
        if !events.is_empty() {
            self.line("events", &events.len().to_string());
        }
        for event in events {
            let _ = writeln!(self.0, "  {}  {}", event.at, event.message);
        }
    }

    fn reports(&mut self, detail: &ServiceDetail) {
        if !detail.status.is_empty() {
            self.line("nodes", &detail.status.len().to_string());
        }
        for status in &detail.status {
            let at = clock::rfc3339(status.at_ms);
            let code = status.code.as_ref().map_or(String::new(), |code| format!(" ({code})"));
            let health = match status.health {
                HealthState::Unknown => String::new(),
                known => format!(" {known}"),
            };
            let (state, task, message) = (status.state, &status.task, &status.message);
            let text = format!("{state}{code}{health} {task} {at} {message}");
            self.below(&format!("{} ({})", status.node, status.revision), &text);
        }
        if !detail.running.is_empty() {
            self.line("tasks", &detail.running.len().to_string());
        }
        for task in &detail.running {
            let memory = output::bytes(task.memory_bytes);
            let load = format!("{}/{} in flight", task.in_flight, task.concurrency);
            self.below(&task.id, &format!("{load} · {memory} · since {}", task.started_at));
        }
    }

    fn stats(&mut self, stats: &Stats) {
        self.line("requests", &stats.requests.to_string());
        for (code, count) in &stats.by_code {
            self.below(code, &count.to_string());
        }
        self.below("cold starts", &stats.cold_starts.to_string());
        let (mean, p50, p99) =
            (stats.duration_mean_ms, stats.duration_p50_ms, stats.duration_p99_ms);
        let times = format!("mean {mean:.2} ms · p50 ≤ {p50:.2} ms · p99 ≤ {p99:.2} ms");
        self.below("duration", &times);
        self.below("fuel", &stats.fuel.to_string());
        self.below("cpu", &format!("{:.3} s", stats.cpu_s));
        let (bytes_in, bytes_out) = (output::bytes(stats.bytes_in), output::bytes(stats.bytes_out));
        self.below("bytes", &format!("{bytes_in} in · {bytes_out} out"));
    }
}
