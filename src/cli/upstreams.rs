//! `wharf upstreams`: the servers beside services.

use crate::api::{Upstream, UpstreamDetail, UpstreamTarget};
use crate::model::duration;

use super::client::ApiClient;
use super::output::{self, Output};

pub(super) const HELP: &str = "\
An upstream is declared in a manifest:
  [upstream.legacy]
  route  = \"shop.example.com/*\"
  target = [\"http://10.0.0.7:8080\", \"http://10.0.0.8:8080\"]

Examples:
  wharf upstreams
  wharf upstreams -o json | jq -r '.[].targets[] | select(.state != \"well\") | .target'
  wharf describe legacy";

const HEADER: [&str; 7] =
    ["upstream", "target", "state", "in flight", "requests", "failures", "route"];

pub(super) async fn run(api: &ApiClient, output: Output) -> anyhow::Result<()> {
    let upstreams: Vec<Upstream> = api.get(&["v1", "upstreams"]).await?;
    match output {
        Output::Json => output::json(&upstreams),
        Output::Table if upstreams.is_empty() => {
            output::say("no upstreams: declare `[upstream.NAME]` in a manifest");
            Ok(())
        }
        Output::Table => output::table(&HEADER, upstreams.iter().flat_map(rows)),
    }
}

fn rows(upstream: &Upstream) -> impl Iterator<Item = Vec<String>> {
    upstream.targets.iter().map(|target| {
        vec![
            upstream.name.clone(),
            target.target.clone(),
            target.state.to_string(),
            target.in_flight.to_string(),
            target.requests.to_string(),
            target.failures.to_string(),
            output::routes(&upstream.routes),
        ]
    })
}

/// Shows everything about one.
pub(super) fn show(detail: &UpstreamDetail, output: Output) -> anyhow::Result<()> {
    match output {
        Output::Json => output::json(detail),
        Output::Table => output::text(&page(detail)),
    }
}

fn page(detail: &UpstreamDetail) -> String {
    let UpstreamDetail { upstream, policy, rules, retries, stats } = detail;
    let mut lines = vec![
        ("upstream", upstream.name.clone()),
        ("generation", upstream.generation.to_string()),
        ("routes", upstream.routes.join(" ")),
        ("host", format!("that of the {}", policy.host.as_str())),
        ("connect", duration::format(policy.connect_timeout)),
        ("timeout", duration::format(policy.timeout)),
        ("idle", duration::format(policy.idle_timeout)),
        ("in flight", format!("at most {} each", policy.max_in_flight)),
        ("retry", format!("{} more · {} of requests", policy.retry.attempts, policy.retry.budget)),
        (
            "eject",
            match policy.eject.failures {
                0 => "never".to_owned(),
                row => format!("{row} failures · {}", duration::format(policy.eject.time)),
            },
        ),
        ("affinity", policy.affinity.as_ref().map_or("none".to_owned(), ToString::to_string)),
        ("health", policy.health.as_ref().map_or("not asked".to_owned(), ToString::to_string)),
    ];
    lines
        .extend(rules.iter().map(|route| ("rules", format!("{}: {}", route.pattern, route.rules))));
    if let Some(stats) = stats {
        lines.push(("requests", format!("{} · {retries} attempts more", stats.requests)));
        lines.extend(stats.by_code.iter().map(|(code, count)| ("", format!("{count} {code}"))));
        let (p50, p99) = (stats.duration_p50_ms, stats.duration_p99_ms);
        lines.push(("duration", format!("p50 ≤ {p50:.2} ms · p99 ≤ {p99:.2} ms")));
    }
    lines.extend(upstream.targets.iter().map(|target| ("target", line(target))));
    let write = |(name, value): (&str, String)| format!("{name:<12}{value}\n");
    lines.into_iter().map(write).collect()
}

fn line(target: &UpstreamTarget) -> String {
    let UpstreamTarget { target: url, state, in_flight, requests, failures, .. } = target;
    let (ejections, connects) = (target.ejections, target.connects);
    let probes =
        format!("{} of {}", target.probes_passed, target.probes_passed + target.probes_failed);
    format!(
        "{url} · {state} · {in_flight} in flight · {requests} requests · {failures} failures · \
         {ejections} ejections · {connects} connections · {probes} probes passed"
    )
}
