//! Properties of all manifests, all values and all texts.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::model::{
    self, Adjust, Affinity, Callees, DeployPolicy, Ejection, Health, HostHeader, Mark, Methods,
    Metric, Mirror, MirrorTo, Networks, Origin, Outbound, Percent, Probe, Rate, RateKey, RateLimit,
    Retry, Role, RoleLimits, Route, RoutePattern, RouteRules, ScalePolicies, ScheduledBounds, Step,
    Targets, Threshold, Token, TrafficTarget, UpstreamPolicy,
};

fn names() -> impl Strategy<Value = Name> {
    "[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?".prop_map(|text| name(&text))
}

fn sources() -> impl Strategy<Value = Source> {
    let image = "[a-z]{1,5}\\.io/[a-z]{1,5}/[a-z]{1,5}:[0-9]{1,3}";
    prop_oneof![
        image.prop_map(|text| Source::Image(text.parse().expect("a reference"))),
        "[ -~äß]{1,20}"
            .prop_filter("not an address", |text| !text.contains("://"))
            .prop_map(|text| Source::Component(PathBuf::from(text))),
    ]
}

fn limits() -> impl Strategy<Value = Limits> {
    let sizes = (0u64..1 << 40, 0u64..1 << 40, 1u64..1 << 20, 1u64..1 << 27);
    let counts = (1u32..65_537, 1u32..10_001, 1u32..100_001, 1u64..1_000_000_000_000_001);
    ((65_536u64..1 << 40, 0.0..1.0f64, any::<bool>()), sizes, counts, 1u64..3_600_001).prop_map(
        |((memory, part, cpu_cap), (request, response, headers, copies), counts, timeout_ms)| {
            let instance = ((memory as f64 * part) as u64).clamp(65_536, memory.min(4 << 30));
            let (cpu, concurrency, handles, fuel) = counts;
            Limits {
                cpu: CpuUnits(cpu),
                cpu_cap,
                memory: ByteSize(memory),
                instance_memory: ByteSize(instance),
                fuel,
                timeout: Duration::from_millis(timeout_ms),
                concurrency,
                request_body: ByteSize(request),
                response_body: ByteSize(response),
                headers: ByteSize(headers),
                handles,
                hostcall_bytes: ByteSize(copies),
            }
        },
    )
}

fn outbounds() -> impl Strategy<Value = Vec<Outbound>> {
    let origin = "(http|https)://(\\*\\.)?[a-z]{1,9}\\.[a-z]{2}(:[1-9][0-9]{0,3})?";
    let origins = prop::collection::btree_set(origin, 0..4);
    let methods = prop::sample::subsequence(vec!["GET", "POST", "PURGE"], 0..3);
    (origins, methods).prop_map(|(origins, methods)| {
        let methods: Vec<String> = methods.into_iter().map(str::to_owned).collect();
        let methods = Methods::try_from(methods).expect("methods");
        let to = |text: &String| text.parse::<Origin>().expect("an origin");
        let all: BTreeSet<Origin> = origins.iter().map(to).collect();
        all.into_iter().map(|to| Outbound { to, methods: methods.clone() }).collect()
    })
}

/// Roles that have no name yet.
fn roles() -> impl Strategy<Value = Role> {
    let networks = prop::sample::subsequence(vec!["10.0.0.0/8", "::1/128"], 0..2);
    let services = prop_oneof![
        Just(Callees::All),
        prop::collection::btree_set(names(), 0..3).prop_map(Callees::Some),
    ];
    let rate = prop::option::of((1u32..=1_000_000, 1_000u64..=86_400_000, 1u32..=1_000_000));
    let limits = (1u32..=4_096, 1u32..=10_000, rate, 0u64..1 << 40, 0u64..1 << 40, 1u64..3_600_001);
    let limits = limits.prop_map(|(connections, requests, rate, sent, taken, timeout)| {
        let rate = rate.map(|(requests, per, burst)| Rate {
            requests,
            per: Duration::from_millis(per),
            burst,
        });
        let (request_bytes, response_bytes) = (ByteSize(sent), ByteSize(taken));
        let timeout = Duration::from_millis(timeout);
        RoleLimits { connections, requests, rate, request_bytes, response_bytes, timeout }
    });
    (outbounds(), networks, services, limits).prop_map(|(outbound, networks, services, limits)| {
        let networks: Vec<String> = networks.into_iter().map(str::to_owned).collect();
        let networks = Networks::try_from(networks).expect("networks");
        Role { name: None, outbound, networks, services, limits }
    })
}

fn tasks() -> impl Strategy<Value = TaskSpec> {
    let env = prop::collection::btree_map("[A-Za-z_. é-]{1,8}", "[^\0]{0,12}", 0..4);
    (sources(), env, limits(), prop::option::of(names()))
        .prop_map(|(source, env, limits, role)| TaskSpec { source, env, role, limits })
}

fn percents() -> impl Strategy<Value = Percent> {
    (1u32..=10_000).prop_map(|points| Percent::from_basis_points(points).expect("in bounds"))
}

fn deploys() -> impl Strategy<Value = DeployPolicy> {
    let times = || (0u64..604_800_001).prop_map(Duration::from_millis);
    let strategy = prop_oneof![
        (0u32..=100, 101u32..=300).prop_map(|(min_healthy, max_healthy)| {
            model::Strategy::Rolling { min_healthy, max_healthy }
        }),
        Just(model::Strategy::BlueGreen),
        Just(model::Strategy::AllAtOnce),
        (percents(), times())
            .prop_map(|(percent, step_bake)| model::Strategy::Canary { percent, step_bake }),
        (percents(), times())
            .prop_map(|(percent, step_bake)| model::Strategy::Linear { percent, step_bake }),
    ];
    let breaker = (prop::option::of(3u32..=200), any::<bool>());
    let alarm = (percents(), 0u32..=1_000, 1u64..=1_000);
    (strategy, times(), breaker, alarm, 0u32..=1_000).prop_map(
        |(strategy, bake, (threshold, rollback), (errors, latency, requests), keep)| {
            let breaker = model::Breaker { threshold, rollback };
            let alarm = model::Alarm { errors, latency, requests };
            DeployPolicy { strategy, bake, breaker, alarm, keep }
        },
    )
}

fn traffic() -> impl Strategy<Value = Vec<TrafficTarget>> {
    let mark = || {
        let value = prop::option::of("[a-z0-9=!]{0,9}").prop_map(|value| value.map(Into::into));
        prop::option::of((tokens(), value).prop_map(|(name, value)| Mark { name, value }))
    };
    let target = (percents(), 1u64..9, prop::option::of(names()), (mark(), mark()));
    let two = target.prop_map(|(percent, n, tag, marks)| {
        let latest = TrafficTarget::share(None, percent.rest());
        let (header, cookie) = marks;
        vec![latest, TrafficTarget { revision: Some(n), percent, tag, header, cookie }]
    });
    prop_oneof![Just(Vec::new()), two]
}

fn tokens() -> impl Strategy<Value = Token> {
    "[A-Za-z0-9_-]{1,9}".prop_map(|text| text.parse().expect("a token"))
}

fn affinities() -> impl Strategy<Value = Option<Affinity>> {
    prop::option::of(prop_oneof![
        Just(Affinity::Client),
        tokens().prop_map(Affinity::Header),
        (tokens(), 60u64..=400 * 24 * 3_600)
            .prop_map(|(name, ttl)| { Affinity::Cookie { name, ttl: Duration::from_secs(ttl) } }),
    ])
}

fn mirrors() -> impl Strategy<Value = Option<Mirror>> {
    // Longer than any name of a service here: it is never its own.
    let service = "[a-z]{20}".prop_map(|text| MirrorTo::Service(text.parse().expect("a name")));
    let to = prop_oneof![(1u64..9).prop_map(MirrorTo::Revision), service];
    prop::option::of((to, percents()).prop_map(|(to, percent)| Mirror { to, percent }))
}

fn probes() -> impl Strategy<Value = Option<Probe>> {
    let times = (100u64..=300_000, 10u64..=60_000, 0u64..=3_600_000);
    let probe = ("/[a-z?=&%]{0,9}", times, 1u32..=100, 1u32..=100).prop_map(
        |(path, (interval, timeout, delay), failures, successes)| Probe {
            path: path.parse().expect("a path"),
            interval: Duration::from_millis(interval),
            timeout: Duration::from_millis(timeout),
            delay: Duration::from_millis(delay),
            failures,
            successes,
        },
    );
    prop::option::of(probe)
}

fn healths() -> impl Strategy<Value = Health> {
    (probes(), probes(), probes()).prop_map(|(startup, liveness, readiness)| Health {
        startup,
        liveness,
        readiness,
    })
}

fn rules() -> impl Strategy<Value = RouteRules> {
    let methods = prop::sample::subsequence(vec!["GET", "POST", "PURGE"], 0..3);
    let networks =
        || prop::sample::subsequence(vec!["10.0.0.0/8", "1.2.3.4/32", "fe80::/64"], 0..3);
    let rate = (1u32..=1_000_000, 1_000u64..=86_400_000, 1u32..=1_000_000, any::<bool>()).prop_map(
        |(requests, per, burst, by_client)| RateLimit {
            rate: Rate { requests, per: Duration::from_millis(per), burst },
            by: if by_client { RateKey::Client } else { RateKey::Route },
        },
    );
    let rates = prop::collection::vec(rate, 0..4);
    let body = prop::option::of((0u64..1 << 40).prop_map(ByteSize));
    let given = |texts: Vec<&str>| texts.into_iter().map(str::to_owned).collect::<Vec<_>>();
    (methods, networks(), networks(), rates, body, any::<bool>()).prop_map(
        move |(methods, allow, deny, rate, request_body, compress)| RouteRules {
            methods: Methods::try_from(given(methods)).expect("methods"),
            allow: Networks::try_from(given(allow)).expect("networks"),
            deny: Networks::try_from(given(deny)).expect("networks"),
            rate,
            request_body,
            compress,
        },
    )
}

fn routes() -> impl Strategy<Value = Vec<Route>> {
    let patterns = "(\\*\\.)?[a-z]{1,9}\\.[a-z]{2}(/[a-z]{1,3}){0,2}";
    let rules = prop_oneof![Just(RouteRules::default()), rules()];
    let routes = prop::collection::btree_map(patterns, rules, 0..4);
    routes.prop_map(|routes| {
        let route =
            |(text, rules): (String, _)| Route { pattern: text.parse().expect("a route"), rules };
        routes.into_iter().map(route).collect()
    })
}

fn upstreams() -> impl Strategy<Value = UpstreamSpec> {
    let target = "(http|https|h2c)://[a-z]{1,9}(:[1-9][0-9]{0,3})?";
    let targets = prop::collection::btree_set(target, 1..4);
    let times = (10u64..60_001, 1u64..3_600_001, 100u64..86_400_001);
    let retry = (0u32..11, percents());
    let eject = (0u32..1_001, 100u64..300_001);
    (routes(), targets, times, (any::<bool>(), 1u32..65_537, probes(), affinities()), retry, eject)
        .prop_map(
            |(routes, targets, times, (keep, max_in_flight, health, affinity), retry, eject)| {
                UpstreamSpec {
                    routes,
                    targets: targets.iter().map(|text| text.parse().expect("a target")).collect(),
                    policy: UpstreamPolicy {
                        host: if keep { HostHeader::Client } else { HostHeader::Target },
                        connect_timeout: Duration::from_millis(times.0),
                        timeout: Duration::from_millis(times.1),
                        idle_timeout: Duration::from_millis(times.2),
                        max_in_flight,
                        retry: Retry { attempts: retry.0, budget: retry.1 },
                        eject: Ejection { failures: eject.0, time: Duration::from_millis(eject.1) },
                        health,
                        affinity,
                        ca: None,
                    },
                }
            },
        )
}

fn steps() -> impl Strategy<Value = Step> {
    let metric = prop::sample::select(Metric::ALL.to_vec());
    (metric, any::<bool>(), 1u32..1_000, 0usize..3, 1u32..100).prop_map(
        |(metric, above, mark, kind, amount)| Step {
            metric,
            mark: if above { Threshold::Above(mark) } else { Threshold::Below(mark) },
            adjust: match (kind, above) {
                (0, true) => Adjust::Add(amount),
                (0, false) => Adjust::Remove(amount),
                (1, true) => Adjust::AddPercent(amount),
                (1, false) => Adjust::RemovePercent(amount),
                _ => Adjust::Set(amount),
            },
        },
    )
}

fn scalings() -> impl Strategy<Value = ScalePolicies> {
    let target = (prop::option::of(1u32..100), prop::option::of(1u32..101));
    let times = (6u64..3_601, 1u64..7, 110u32..1_001, 0u64..1_000, 0u64..1_000);
    (target, prop::collection::vec(steps(), 0..4), times).prop_map(
        |((rps, cpu), steps, (window, burst, burst_threshold, out, back))| {
            let target = Targets { rps, cpu, ..Targets::default() };
            let policies = ScalePolicies {
                target,
                steps,
                window: Duration::from_secs(window),
                burst: Duration::from_secs(burst),
                burst_threshold,
                out_cooldown: Duration::from_secs(out),
                in_cooldown: Duration::from_secs(back),
            };
            // What is about no policy is not written.
            if policies.is_none() { ScalePolicies::default() } else { policies }
        },
    )
}

fn schedules() -> impl Strategy<Value = Vec<ScheduledBounds>> {
    let zone = prop::sample::select(vec!["UTC", "Europe/Berlin", "America/New_York"]);
    let entry = (0u32..60, 0u32..24, zone, 0u32..50, 50u32..100).prop_map(
        |(minute, hour, zone, min, max)| ScheduledBounds {
            cron: format!("{minute} {hour} * * *").parse().expect("a pattern"),
            zone: zone.parse().expect("a zone"),
            min: Some(min),
            max: Some(max),
        },
    );
    prop::collection::vec(entry, 0..3)
}

fn services() -> impl Strategy<Value = ServiceSpec> {
    let scale = (0u32..10_001, 1u32..10_001, 1_000u64..604_800_001, scalings(), schedules());
    let queue = (1u32..100_001, 1u64..3_600_001);
    (
        names(),
        routes(),
        scale,
        (queue, 0u64..3_600_001, healths()),
        deploys(),
        (traffic(), affinities(), mirrors()),
    )
        .prop_map(
            |(
                task,
                routes,
                (a, b, idle, scaling, schedule),
                ((depth, wait), drain, health),
                deploy,
                (traffic, affinity, mirror),
            )| ServiceSpec {
                task,
                routes,
                scale: Scale { min: a.min(b), max: a.max(b), idle: Duration::from_millis(idle) },
                scaling,
                schedule,
                queue: QueueBounds { depth, wait: Duration::from_millis(wait) },
                drain: Duration::from_millis(drain),
                health,
                deploy,
                traffic,
                affinity,
                mirror,
            },
        )
}

fn manifests() -> impl Strategy<Value = Manifest> {
    let tasks = prop::collection::btree_map(names(), tasks(), 0..4);
    let services = prop::collection::btree_map(names(), services(), 0..4);
    let upstreams = prop::collection::btree_map(names(), upstreams(), 0..3);
    let roles = prop::collection::btree_map(names(), roles(), 0..3);
    let all = (tasks, services, upstreams, roles);
    all.prop_filter_map("declares something", |(mut tasks, mut services, mut upstreams, roles)| {
        let named = |(name, role): (Name, Role)| (name.clone(), Role { name: Some(name), ..role });
        let roles: BTreeMap<Name, Role> = roles.into_iter().map(named).collect();
        for task in tasks.values_mut() {
            // One that there is, if there is any.
            task.role = task.role.take().and_then(|_| roles.keys().next().cloned());
        }
        let mut seen = BTreeSet::<RoutePattern>::new();
        for service in services.values_mut() {
            service.routes.retain(|route| seen.insert(route.pattern.clone()));
        }
        upstreams.retain(|name, _| !services.contains_key(name));
        for upstream in upstreams.values_mut() {
            upstream.routes.retain(|route| seen.insert(route.pattern.clone()));
        }
        let manifest = Manifest { roles, tasks, services, upstreams };
        (!manifest.is_empty()).then_some(manifest)
    })
}

fn values() -> impl Strategy<Value = Value> {
    let keys = || {
        prop_oneof![
            3 => prop::sample::select(vec![
                "role", "outbound", "to", "services", "networks", "upstream", "target", "task",
                "service", "image", "component", "cpu", "memory",
                "fuel", "timeout", "env", "limits", "route", "scale", "queue", "drain", "health",
                "readiness", "path", "match", "methods", "allow", "rate", "per", "min", "max",
                "idle", "depth", "a",
            ])
            .prop_map(str::to_owned),
            1 => any::<String>(),
        ]
    };
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[0-9]{1,3}(s|ms|MiB|mb)?".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 128, 8, move |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            4 => prop::collection::btree_map(keys(), inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_reads_back(manifest in manifests()) {
        let json = manifest.to_json();
        prop_assert_eq!(parse(&json.to_string(), Format::Json), Ok(manifest.clone()));
        let toml = toml::to_string(&json).expect("TOML");
        prop_assert_eq!(parse(&toml, Format::Toml), Ok(manifest.clone()));
        let yaml = serde_norway::to_string(&json).expect("YAML");
        prop_assert_eq!(parse(&yaml, Format::Yaml), Ok(manifest.clone()));
    }

    #[test]
    fn any_text_gives_an_answer(
        text in any::<String>(),
        marked in "[\\[\\]{}:=,.\"'#&*!|>a0 \n-]{0,200}",
    ) {
        for format in FORMATS {
            for text in [&text, &marked] {
                if let Err(problems) = parse(text, format) {
                    prop_assert!(!problems.0.is_empty());
                    let control = |c: char| c.is_control() && c != '\n';
                    prop_assert!(!problems.to_string().contains(control));
                }
            }
        }
    }

    #[test]
    fn any_value_gives_an_answer(value in values()) {
        let yaml = serde_norway::to_string(&value).expect("plain data");
        for (text, format) in [(value.to_string(), Format::Json), (yaml, Format::Yaml)] {
            for problem in parse(&text, format).err().into_iter().flat_map(|problems| problems.0) {
                prop_assert!(problem.path.chars().count() <= 80);
                prop_assert!(problem.value.is_none_or(|value| value.chars().count() <= 80));
                prop_assert!(problem.hint.is_some(), "{}: {}", problem.path, problem.message);
            }
        }
    }
}
