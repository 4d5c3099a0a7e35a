//! The page: one file that needs nothing else, to read on a screen or on paper.

use super::super::machine::Machine;
use super::super::results::{Figures, Results};
use super::charts;
use super::text::{escaped, number, round, size, thousands, time, with_unit};

const STYLE: &str = include_str!("style.css");

/// A run as a page of HTML.
pub(in super::super) fn page(results: &Results) -> String {
    let figures = &results.figures;
    let services = thousands(f64::from(results.parameters.services));
    let machine = escaped(&machine(&results.machine));
    let when = results.started_at.get(..10).unwrap_or_default();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Wharf density run: {services} services</title>\n<style>\n{STYLE}</style>\n\
         </head>\n<body>\n<main>\n<header>\n<h1>{services} services on one node</h1>\n\
         <p class=\"lead\">A density run of Wharf {} on <time>{when}</time>. \
         {machine}.</p>\n{}</header>\n\
         {}{}{}{}{}</main>\n</body>\n</html>\n",
        escaped(results.versions.wharf),
        warning(results),
        tiles(results),
        density(figures),
        speed(figures),
        work(figures),
        facts(results),
    )
}

fn machine(machine: &Machine) -> String {
    let Machine { cpu, cores, memory_mib, kernel, .. } = machine;
    let memory = with_unit(size(*memory_mib as f64 * 1_048_576.0));
    format!("{cpu}, {cores}\u{a0}cores, {memory}, Linux {kernel}")
}

fn warning(results: &Results) -> String {
    if !results.figures.control.noisy {
        return String::new();
    }
    "<p class=\"warning\" role=\"note\"><b>The machine was too noisy.</b> The same load measured \
     twice in turns did not cost the same. Trust no digit of this page, and run it again while \
     nothing else works on the machine.</p>\n"
        .to_owned()
}

fn tiles(results: &Results) -> String {
    let Figures { deploy, memory, live, cold, warm, latency, .. } = &results.figures;
    let whole = |value: f64| (thousands(value), "/s");
    let kind = if live.kind == "instances" { "live instance" } else { "service awake" };
    let all = [
        (
            "Idle service",
            size(memory.bytes_per_service),
            "memory of a service that sleeps, page tables included".to_owned(),
        ),
        (
            "Live replica",
            size(live.bytes_per_replica),
            format!("memory of a {kind}; {} mappings", round(live.mappings_per_replica)),
        ),
        (
            "Cold start, p50",
            time(cold.cold_p50_us),
            format!("{} × a warm request; p99 {}", number(cold.ratio_p50), t(cold.cold_p99_us)),
        ),
        (
            "Cold starts",
            whole(cold.starts_per_s),
            "services woken a second over 64 connections".to_owned(),
        ),
        (
            "Warm requests",
            whole(warm.random.rate()),
            format!("to any service; {} of CPU each", t(warm.random.cpu())),
        ),
        (
            "Latency, p99",
            time(latency.p99_us),
            format!("at {} requests a second", thousands(latency.rate_per_s)),
        ),
        (
            "Flatness",
            (number(warm.flat_ratio.median), "×"),
            format!(
                "CPU of a request beside all services by that beside {}",
                results.parameters.few_services
            ),
        ),
        (
            "Deployed",
            whole(deploy.services_per_s),
            format!(
                "all in {}; one more in {}",
                t(deploy.seconds * 1e6),
                t(deploy.one_more_ms() * 1e3)
            ),
        ),
    ];
    let tile = |(name, (value, unit), note): (&str, (String, &str), String)| {
        format!(
            "<div class=\"tile\"><span>{name}</span><b>{value} <small>{unit}</small></b>\
             <i>{note}</i></div>\n"
        )
    };
    format!(
        "<section class=\"tiles\" aria-label=\"Figures\">\n{}</section>\n",
        all.map(tile).concat()
    )
}

fn t(us: f64) -> String {
    with_unit(time(us))
}

fn figure(title: &str, svg: &str, caption: &str) -> String {
    format!("<figure><h3>{title}</h3>{svg}<figcaption>{caption}</figcaption></figure>\n")
}

fn density(figures: &Figures) -> String {
    let Figures { memory, live, .. } = figures;
    let idle = charts::memory(&memory.points, "services", memory.bytes_per_service);
    let awake = charts::memory(&live.points, live_name(live.kind), live.bytes_per_replica);
    format!(
        "<h2>What a service takes</h2>\n<p class=\"soft\">Proportional set size and page tables of \
         the node's process, as the kernel counts them.</p>\n<div class=\"pair\">\n{}{}</div>\n",
        figure(
            "Services that sleep",
            &idle,
            "Read after each quarter of the services, once memory stands still. What counts is \
             the slope: what one more service adds.",
        ),
        figure(
            "Replicas that live",
            &awake,
            match live.kind == "instances" {
                true => {
                    "Each is an instance in the middle of a request, all of one component. What \
                     they share is loaded once."
                }
                false => "Each is a service that was asked once: a task, without an instance.",
            },
        ),
    )
}

fn live_name(kind: &str) -> &'static str {
    if kind == "instances" { "live instances" } else { "services awake" }
}

fn speed(figures: &Figures) -> String {
    let Figures { cold, latency, .. } = figures;
    let caption = format!(
        "<span class=\"key\"><b>■</b> cold, p50 {}, p99 {}</span><span class=\"key\">\
         <b class=\"other\">■</b> warm, p50 {}, p99 {}</span> Services with components of their \
         own, that sleep and are not in memory, each asked once over one connection in random \
         order; then the same again. What took longer than the axis is in its last bar.",
        t(cold.cold_p50_us),
        t(cold.cold_p99_us),
        t(cold.warm_p50_us),
        t(cold.warm_p99_us),
    );
    let at_rate = format!(
        "{} requests to random services at {} a second for {} s, at {} % of what was found to be \
         possible. A time counts from when its request was due, so a pause is charged to every \
         request that it kept waiting. The load generator itself was at most {} late with 99 % of \
         them; {} were never sent.",
        thousands(latency.requests as f64),
        thousands(latency.rate_per_s),
        round(latency.seconds),
        thousands(latency.rate_per_s / latency.capacity_per_s * 100.0),
        t(latency.late_p99_us),
        latency.unsent,
    );
    format!(
        "<h2>How fast it answers</h2>\n{}<div class=\"pair\">\n{}{}</div>\n",
        figure("Latency at a constant rate", &charts::latency(figures), &at_rate),
        figure("Waking from zero", &charts::starts(figures), &caption),
        figure("What a request costs", &charts::cost(figures), &cost_caption(figures)),
    )
}

fn cost_caption(figures: &Figures) -> String {
    let warm = &figures.warm;
    format!(
        "CPU time of the node for each right answer, {} connections without pauses, {} s a round. \
         Beside all services a request costs {} × of what it costs beside few; to a random one of \
         {} services {} × of one that is always the same.",
        warm.connections,
        round(warm.window_s),
        number(warm.flat_ratio.median),
        thousands(f64::from(warm.random_services)),
        number(warm.random_ratio.median),
    )
}

fn work(figures: &Figures) -> String {
    let verdict = match figures.control.noisy {
        true => "Here it is not: the run decides nothing.",
        false => "Here it is, so differences of this size and more mean something.",
    };
    let caption = format!(
        "The same load, measured twice in each round: a ratio of 1 is right. The bar is the 95 % \
         interval of the median; it has to hold 1 and lie inside of the shaded ±7 %. {verdict}"
    );
    let control = figure("A/A control", &charts::control(&figures.control), &caption);
    let beside = figures.fairness.as_ref().map_or_else(String::new, |fairness| {
        let caption = format!(
            "A service is asked {} times a second, while {} requests to another one compute \
             without a pause. Each turn is measured twice.",
            round(fairness.rate_per_s),
            fairness.neighbours,
        );
        figure("Beside neighbours that compute", &charts::neighbours(fairness), &caption)
    });
    format!("<h2>Whether to believe it</h2>\n<div class=\"pair\">\n{control}{beside}</div>\n")
}

fn facts(results: &Results) -> String {
    let Results { versions, machine, conditions, parameters, restart, .. } = results;
    let component = format!(
        "{}, {}, {}",
        parameters.component,
        with_unit(size(parameters.component_bytes as f64)),
        parameters.component_digest
    );
    let all = [
        ("Started", results.started_at.clone()),
        ("Took", t(results.elapsed_s * 1e6)),
        (
            "Versions",
            format!("wharf {}, wasmtime {}, {}", versions.wharf, versions.wasmtime, versions.rustc),
        ),
        ("Machine", self::machine(machine)),
        (
            "Limits",
            format!("swap {} MiB, vm.max_map_count {}", machine.swap_mib, machine.max_map_count),
        ),
        ("Load average", conditions.to_string()),
        ("Component", component),
        ("Memory reset", parameters.reset.to_string()),
        (
            "Restart",
            format!(
                "killed, it serves {} services again after {} (an empty node {})",
                thousands(f64::from(restart.services)),
                t(restart.start_ms * 1e3),
                t(restart.start_of_empty_ms * 1e3)
            ),
        ),
    ];
    let rows = all.map(|(name, text)| format!("<dt>{name}</dt><dd>{}</dd>\n", escaped(&text)));
    format!(
        "<h2>The run</h2>\n<p class=\"soft\">Load comes from the program that started the node; \
         its CPU time is not counted. The guest is small: yours takes more, measure it with \
         <code>--component</code>.</p>\n<dl class=\"facts\">\n{}</dl>\n",
        rows.concat()
    )
}
