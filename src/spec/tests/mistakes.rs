//! Every mistake is found, at its place, with a hint.

use serde_json::{Value, json};

use super::*;

const TWENTY: &str = r#"[task.Hello_World]
image = "http://registry.example/hello:1"

[task.a]
image = "a.wasm"
cpu = 0
memory = "64mb"
fuel = 1e9
timeout = 10
concurency = 5

[task.b]
image = "x/b:1"
component = "b.wasm"
memory = "1MiB"
instance_memory = "2MiB"
env = { "A=B" = "x", PI = 3.14 }
limits = { headers = "2MiB", handles = -1 }

[task.c]
cpu = "256"

[service.s]
task = "Nope"
routes = "s.localhost/*"
scale = { min = 5, max = 2, idle = "10ms" }
queue = 7

[service.t]
route = ["https://t.localhost/*", "u.localhost", "u.localhost/*"]

[service.u]
route = "u.localhost/*"

[services.v]
"#;

/// Line, path, value, part of the message, part of the hint.
type Row = (usize, &'static str, &'static str, &'static str, &'static str);

const TWENTY_FOUND: [Row; 23] = [
    (1, "task.Hello_World", "Hello_World", "`H` cannot stand in a name", "write `hello-world`"),
    (
        2,
        "task.Hello_World.image",
        "http://registry.example/hello:1",
        "no scheme",
        "write \"registry.example/hello:1\"",
    ),
    (5, "task.a.image", "a.wasm", "a path, not an image", "use `component = \"a.wasm\"`"),
    (6, "task.a.cpu", "0", "expected 1 to 65536", "from 1 to 65536"),
    (7, "task.a.memory", "64mb", "unknown unit `mb`", "write \"64MiB\""),
    (8, "task.a.fuel", "1000000000.0", "expected an integer, found a float", "write 1000000000,"),
    (9, "task.a.timeout", "10", "expected a duration", "\"10s\" if you meant seconds"),
    (
        10,
        "task.a.concurency",
        "5",
        "unknown key",
        "did you mean `concurrency`? known keys here: image, component, cpu",
    ),
    (14, "task.b.component", "b.wasm", "exclude each other", "keep `image` to pull"),
    (
        16,
        "task.b.instance_memory",
        "2MiB",
        "2MiB is above the task's memory of 1MiB",
        "`memory = \"2MiB\"`",
    ),
    (17, "task.b.env.\"A=B\"", "A=B", "has no `=`", "write `env = {"),
    (17, "task.b.env.PI", "3.14", "found a float", "in quotes"),
    (18, "task.b.limits.headers", "2MiB", "expected 1B to 1MiB", "from 1B to 1MiB"),
    (18, "task.b.limits.handles", "-1", "a negative number", "from 1 to 100000"),
    (20, "task.c", "", "neither `image` nor `component`", "write `image = \"wharf.internal/c:1\"`"),
    (21, "task.c.cpu", "256", "expected an integer, found text", "write 256, without quotes"),
    (24, "service.s.task", "Nope", "`N` cannot stand in a name", "write `nope`"),
    (25, "service.s.routes", "s.localhost/*", "unknown key", "did you mean `route`?"),
    (26, "service.s.scale.idle", "10ms", "expected 1s to 168h", "from 1s to 168h"),
    (26, "service.s.scale.max", "2", "min 5 is above max 2", "`max = 5`"),
    (27, "service.s.queue", "7", "expected a table, found an integer", "write `queue = {"),
    (30, "service.t.route[0]", "https://t.localhost/*", "no scheme", "write \"t.localhost/*\""),
    (30, "service.t.route[2]", "u.localhost/*", "already, at service.t.route[1]", "remove one"),
];

#[test]
fn every_mistake_is_reported_at_once() {
    let found = problems(TWENTY, Format::Toml);
    let more = [
        (33, "service.u.route", "u.localhost/*", "already, at service.t.route[1]", "remove one"),
        (35, "services", "", "unknown key", "did you mean `service`?"),
    ];
    let expected: Vec<Row> = TWENTY_FOUND.into_iter().chain(more).collect();
    let line_and_path = |p: &Problem| (p.line.unwrap_or_default(), p.path.clone());
    assert_eq!(
        found.iter().map(line_and_path).collect::<Vec<_>>(),
        expected.iter().map(|row| (row.0, row.1.to_owned())).collect::<Vec<_>>(),
    );
    for (problem, (_, path, value, message, hint_part)) in found.iter().zip(expected) {
        assert_eq!(problem.value.as_deref().unwrap_or_default(), value, "{path}");
        assert!(problem.message.contains(message), "{path}: {}", problem.message);
        assert!(hint(problem).contains(hint_part), "{path}: {}", hint(problem));
    }
}

#[test]
fn the_same_mistakes_are_found_in_json_and_yaml() {
    let value: Value = toml::from_str(TWENTY).expect("valid TOML");
    let paths = |text: &str, format| {
        let mut paths: Vec<_> = problems(text, format).into_iter().map(|p| p.path).collect();
        paths.sort();
        paths
    };
    let toml = paths(TWENTY, Format::Toml);
    assert_eq!(paths(&value.to_string(), Format::Json), toml);
    let yaml = serde_norway::to_string(&value).expect("plain data");
    assert_eq!(paths(&yaml, Format::Yaml), toml);
}

#[test]
fn repeated_keys_are_reported_with_everything_else() {
    let json = r#"{"task": {"a": {"image": "x/a:1", "cpu": 1, "cpu": 2, "fuel": 0},
                            "a": {"image": "x/a:2"}}}"#;
    let paths = |all: Vec<Problem>| all.into_iter().map(|p| p.path).collect::<Vec<_>>();
    assert_eq!(paths(problems(json, Format::Json)), ["task.a", "task.a.cpu", "task.a.fuel"]);
    let yaml = "task:\n  a:\n    image: x/a:1\n    cpu: 1\n    cpu: 2\n    fuel: 0\n";
    assert_eq!(paths(problems(yaml, Format::Yaml)), ["task.a.cpu", "task.a.fuel"]);
    let toml = "[task.a]\nimage='x/a:1'\ncpu = 1\ncpu = 2\nfuel = 0\n";
    let found = problems(toml, Format::Toml);
    assert_eq!(found.iter().map(|p| p.line).collect::<Vec<_>>(), [Some(4), Some(5)]);
    assert_eq!(found[0].message, "column 1: duplicate key");
}

#[test]
fn names_of_every_kind_are_handled() {
    let long = "x".repeat(64 << 10);
    for (name, path, says) in [
        ("", "task.\"\"", "cannot be empty"),
        ("héllo wörld", "task.\"héllo wörld\"", "`é` cannot stand"),
        ("名前", "task.名前", "cannot stand"),
        ("a.b", "task.\"a.b\"", "`.` cannot stand"),
        ("\u{202e}a\u{7}", "task.\"\\u{202e}a\\u{7}\"", "cannot stand"),
        (&long, &format!("task.{}…", "x".repeat(74)), "this one has 65536"),
    ] {
        let text = json!({"task": {name: {"image": "x/y:1"}}}).to_string();
        for format in [Format::Json, Format::Yaml] {
            let found = problem(&text, format);
            assert_eq!(found.path, path);
            assert!(found.message.contains(says), "{found}");
            assert!(found.to_string().len() < 2_000);
        }
        let toml = toml::to_string(&serde_json::from_str::<Value>(&text).expect("JSON"));
        assert_eq!(problem(&toml.expect("TOML"), Format::Toml).path, path);
    }
    let hint = problem("[task.My_App]\nimage = 'x/y:1'", Format::Toml).hint;
    assert!(hint.expect("a hint").starts_with("write `my-app`;"));
}

#[test]
fn slips_have_hints_of_their_own() {
    for (line, says) in [
        ("image = './hello'", "use `component = \"./hello\"`"),
        ("image = 'oci://ghcr.io/o/app:1'", "write \"ghcr.io/o/app:1\""),
        ("image = 'wharf.internal/Hello:1'", "write `wharf.internal/hello:1`"),
        ("image = 'x/y:1'\ntimeout = '5'", "\"5s\" if you meant seconds"),
        ("image = 'UPPER case'", "HOST[:PORT]/REPOSITORY:TAG"),
        ("component = 'https://a.b/c.wasm'", "is an `image`"),
        ("component = ''", "is an `image`"),
        ("image = 'x/y:1'\nmemory = '512Mi'", "\"512MiB\""),
        ("image = 'x/y:1'\nmemory = 1.5", "\"64MiB\""),
        ("image = 'x/y:1'\nmemory = -1", "choose a value from 64KiB to 1024GiB"),
        ("image = 'x/y:1'\nfuel = '1_000_000'", "write 1000000, without quotes"),
        ("image = 'x/y:1'\nfuel = 10_000_000_000_000_000", "from 1 to 1000000000000000"),
        ("image = 'x/y:1'\nfuel = 999999999999999999999999999999999999999999", "from 1 to"),
        ("image = 'x/y:1'\ntimeout = '1m30s'", "write \"90s\""),
        ("image = 'x/y:1'\ntimeout = '2h'", "from 1ms to 1h"),
        ("image = 'x/y:1'\ntimeout = '0s'", "from 1ms to 1h"),
        ("image = 'x/y:1'\ntimeout = 2026-01-01", "\"250ms\""),
        ("image = 'x/y:1'\ninstance_memory = '1GiB'", "`memory = \"1GiB\"`"),
        ("image = 'x/y:1'\nenv = ['A=1']", "KEY = VALUE"),
        ("image = 'x/y:1'\nenv = { A = \"a\\u0000b\" }", "base64"),
        ("image = 'x/y:1'\nenvironment = {}", "did you mean `env`?"),
        ("image = 'x/y:1'\nheaders = '1KiB'", "`[task.NAME.limits]`"),
        ("image = 'x/y:1'\nlimits = { fuel = 1 }", "`[task.NAME]` itself"),
    ] {
        let found = problem(&format!("[task.a]\n{line}"), Format::Toml);
        assert!(hint(&found).contains(says), "{line}: {found}");
    }
    for (line, says) in [
        ("scale = { min = 200 }", "`max = 200`"),
        ("scale = { max = 0 }", "from 1 to 10000"),
        ("scale = { min = -1 }", "from 0 to 10000"),
        ("scale = { maximum = 1 }", "did you mean `max`?"),
        ("queue = { depth = 100001 }", "from 1 to 100000"),
        ("route = 'a.b:80/*'", "HOST/PATH"),
        ("route = [1]", "HOST/PATH"),
        ("image = 'x/y:1'", "an image belongs to `[task.NAME]`"),
    ] {
        let found = problem(&format!("[service.a]\n{line}"), Format::Toml);
        assert!(hint(&found).contains(says), "{line}: {found}");
    }
    let found = problems("[task]\nimage = 'x/y:1'", Format::Toml);
    assert!(hint(&found[0]).contains("write `[task.NAME]`"), "{found:?}");
    assert!(parse("[task.a]\nimage = 'ghcr.io/o/app.wasm'", Format::Toml).is_ok());
    let yaml = "task:\n  a:\n    image: x/y:1\n    env:\n      A:\n";
    assert!(hint(&problem(yaml, Format::Yaml)).contains("\"\" for an empty value"));
}

#[test]
fn mistakes_in_policies_are_explained() {
    for (scale, says, helps) in [
        ("window = '30s'", "no policy", "add a `target`"),
        ("target = {}", "follows nothing", "in_flight = 7"),
        ("target = { cpu = 101 }", "out of bounds", "from 1 to 100"),
        ("target = { concurrency = 5 }", "unknown key", "`in_flight`"),
        ("target = { rps = 1 }, window = '5s'", "6s, is longer than the stable one, 5s", "a tenth"),
        ("steps = 5", "expected a list", "steps = ["),
        ("steps = [{ above = 1, add = 1 }]", "without a `metric`", "metric = \"cpu\""),
        ("steps = [{ metric = 'load', above = 1, add = 1 }]", "unknown metric", "in_flight, rps"),
        ("steps = [{ metric = 'cpu', add = 1 }]", "one of `above`, `below`", "above = 80"),
        ("steps = [{ metric = 'cpu', above = 1, add = 1, set = 1 }]", "this has 2", "add = 2"),
        ("steps = [{ metric = 'cpu', above = 1, remove = 1 }]", "fewer tasks", "other direction"),
        ("schedule = [{ min = 1 }]", "never begins", "0 8 * * MON-FRI"),
        ("schedule = [{ cron = '0 8 * * *' }]", "changes nothing", "min = 4"),
        ("schedule = [{ cron = '0 8 * *', min = 1 }]", "4 fields", "MINUTE HOUR"),
        ("schedule = [{ cron = '0 8 ? * * 2026', min = 1 }]", "6 fields", "the year of AWS"),
        ("schedule = [{ cron = '0 0 31 2 *', min = 1 }]", "four years", "a day that"),
        (
            "schedule = [{ cron = '0 8 * * *', zone = 'Europe/Brelin', min = 1 }]",
            "no time zone",
            "\"Europe/Berlin\"",
        ),
        ("schedule = [{ cron = '0 8 * * *', min = 200 }]", "above max 100", "give both"),
        ("cpu = 60", "unknown key", "target = { cpu"),
    ] {
        let found = problem(&format!("[service.a]\nscale = {{ {scale} }}"), Format::Toml);
        assert!(found.message.contains(says), "{scale}: {found}");
        assert!(hint(&found).contains(helps), "{scale}: {found}");
    }
    let text = "[task.a]\nimage = 'x/y:1'\nconcurrency = 10\n\
                [service.a]\nscale = { target = { in_flight = 20 } }";
    let found = problem(text, Format::Toml);
    assert_eq!(found.path, "service.a.scale.target.in_flight");
    assert!(hint(&found).contains("to 7 or so"), "{found}");
}

#[test]
fn mistakes_in_probes_are_all_found() {
    let text = "[service.a.health]\nlivenessProbe = { path = '/' }\n\
                startup = { periodSeconds = 10, failureThreshold = 3 }\n\
                liveness = { path = 'healthz', timeout = 1, delay = '2h' }\n\
                readiness = { path = '/a b', interval = '1ms', failures = 0, \
                successThreshold = 1 }\n\
                [service.b]\nhealth = '/healthz'\n[service.c.health]\npath = '/healthz'\n\
                [service.d]\nlivenessProbe = 1\n";
    let found = problems(text, Format::Toml);
    let rows: Vec<_> = found.iter().map(|one| (one.path.as_str(), hint(one))).collect();
    for (path, said) in [
        ("service.a.health.livenessProbe", "did you mean `liveness`?"),
        ("service.a.health.startup.periodSeconds", "did you mean `interval`?"),
        ("service.a.health.startup.failureThreshold", "did you mean `failures`?"),
        ("service.a.health.startup", "path = \"/healthz\""),
        ("service.a.health.liveness.path", "write a path such as \"/healthz\""),
        ("service.a.health.liveness.timeout", "\"1s\" if you meant seconds"),
        ("service.a.health.liveness.delay", "from 0s to 1h"),
        ("service.a.health.readiness.path", "write a path such as"),
        ("service.a.health.readiness.interval", "from 100ms to 5m"),
        ("service.a.health.readiness.failures", "from 1 to 100"),
        ("service.a.health.readiness.successThreshold", "did you mean `successes`?"),
        ("service.b.health", "readiness = { path"),
        ("service.c.health.path", "say which probe"),
        ("service.d.livenessProbe", "health = { liveness"),
    ] {
        assert!(
            rows.iter().any(|(at, hint)| *at == path && hint.contains(said)),
            "{path} {rows:#?}"
        );
    }
    assert_eq!(rows.len(), 14, "{rows:#?}");
}

#[test]
fn mistakes_in_rules_of_routes_are_all_found() {
    let text = "[[service.a.route]]\nmatch = 'a.b'\nmethods = ['get']\nallow = ['10.0.0.0/33']\n\
                deny = []\nrate = { requests = 0, burst = 5, by = 'ip' }\nrequest_body = '1mb'\n\
                [[service.a.route]]\nhost = 'a.c'\n\
                [service.b]\nroute = { match = 'http://b.c', rate = 5, methods = [1] }\n\
                [service.c]\nroute = 'c.d'\nmethods = ['GET']\nrequest_body = 1\n\
                [service.d]\nroute = ['d.e', { match = 'd.e/*', methods = ['TRACE'] }]\n\
                [service.e]\nroute = { match = 'e.f', rate = [{ requests = 1, per = '1s' }, \
                { requests = 1, per = '100ms', per_ip = true }] }\n";
    let found = problems(text, Format::Toml);
    let rows: Vec<_> = found.iter().map(|one| (one.path.as_str(), hint(one))).collect();
    let expected = [
        ("service.a.route[0].methods", "methods = [\"GET\", \"POST\"]"),
        ("service.a.route[0].allow[0]", "\"10.0.0.0/8\""),
        ("service.a.route[0].deny", "or leave it out"),
        ("service.a.route[0].rate.requests", "from 1 to 1000000"),
        ("service.a.route[0].rate.by", "`by = \"client\"`"),
        ("service.a.route[0].rate", "rate = { requests = 100, per = \"1s\""),
        ("service.a.route[0].request_body", "write \"1MiB\""),
        ("service.a.route[1].host", "did you mean `match`?"),
        ("service.a.route[1]", "write `match = \"HOST/*\"`"),
        ("service.b.route.match", "write \"b.c\""),
        ("service.b.route.rate", "rate = { requests = 100"),
        ("service.b.route.methods[0]", "methods = ["),
        ("service.c.methods", "a rule of a route: write `route = { match"),
        ("service.c.request_body", "`[task.NAME.limits]`"),
        ("service.d.route[1].methods[0]", "methods = ["),
        ("service.d.route[1]", "each route leads to one service"),
        ("service.e.route.rate[1].per", "from 1s to 24h"),
        ("service.e.route.rate[1].per_ip", "known keys here: requests, per, burst, by"),
    ];
    for (path, said) in expected {
        assert!(
            rows.iter().any(|(at, hint)| at.starts_with(path) && hint.contains(said)),
            "{path} {rows:#?}"
        );
    }
    assert_eq!(rows.len(), expected.len(), "{rows:#?}");
}

#[test]
fn mistakes_in_affinity_are_found() {
    for (affinity, path, said) in [
        ("'cookie'", "", "affinity = { cookie = "),
        ("{}", "", "affinity = { header = "),
        ("{ cookie = 'a', header = 'b' }", "", "affinity = { cookie ="),
        ("{ cookie = 'a;b' }", ".cookie", "a name such as"),
        ("{ cookie = 'a', ttl = '1s' }", ".ttl", "from 1m to 9600h"),
        ("{ header = 'a', ttl = '1h' }", ".ttl", "only a cookie"),
        ("{ cookie = 'a', maxage = 1 }", ".maxage", "known keys here: cookie, header, ttl"),
        ("7", "", "affinity = \"client\""),
    ] {
        let found = problem(&format!("[service.a]\naffinity = {affinity}"), Format::Toml);
        assert_eq!(found.path, format!("service.a.affinity{path}"), "{affinity}");
        assert!(hint(&found).contains(said), "{affinity}: {found}");
    }
}

#[test]
fn mistakes_in_mirrors_are_found() {
    for (mirror, path, said) in [
        ("{}", "", "mirror = { revision = 4, percent = 10 } or"),
        ("{ percent = 10 }", "", "mirror = { revision = 4, percent = 10 } or"),
        ("{ revision = 1, service = 'b' }", "", "mirror = { service = \"other\""),
        ("{ revision = 0 }", ".revision", "1"),
        ("{ service = 'a' }", ".service", "name another service"),
        ("{ service = 'B!' }", ".service", "b"),
        ("{ revision = 1, percent = 101 }", ".percent", "a number such as 5"),
        ("{ latest = true }", ".latest", "wharf revisions"),
        ("'b'", "", "mirror = { revision = 4"),
    ] {
        let text = format!("[service.a]\nmirror = {mirror}");
        let problems = problems(&text, Format::Toml);
        let path = format!("service.a.mirror{path}");
        let found = problems.iter().find(|found| found.path == path);
        let found = found.unwrap_or_else(|| panic!("{mirror}: {problems:#?}"));
        assert!(hint(found).replace('`', "").contains(said), "{mirror}: {found}");
    }
}

#[test]
fn mistakes_in_marks_of_traffic_are_found() {
    for (mark, path, said) in [
        ("header = 'x'", "header", "header = { name = \"x-canary\""),
        ("header = { value = '1' }", "header", "header = { name = \"x-canary\""),
        ("cookie = { name = 'a b' }", "cookie.name", "a name such as"),
        ("cookie = { name = 'a', value = 'x;y' }", "cookie.value", "leave it out for any value"),
        ("cookie = { name = 'a', exact = 'x' }", "cookie.exact", "did you mean `value`?"),
    ] {
        let text = format!("[service.a]\ntraffic = [{{ latest = true, percent = 100, {mark} }}]");
        let found = problem(&text, Format::Toml);
        assert_eq!(found.path, format!("service.a.traffic[0].{path}"), "{mark}");
        assert!(hint(&found).contains(said), "{mark}: {found}");
    }
}
