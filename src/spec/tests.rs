//! Valid manifests and bad syntax; the modules have the rest.

use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::model::{CpuUnits, Limits, QueueBounds, Scale};

mod hostile;
mod mistakes;
mod roles;
mod round_trip;

const FORMATS: [Format; 3] = [Format::Toml, Format::Yaml, Format::Json];

const HELLO: &str = r#"
[task.hello]
image       = "127.0.0.1:7300/hello:1"   # or: component = "path/to/hello.wasm"
cpu         = 256
memory      = "64MiB"
fuel        = 100_000_000
timeout     = "10s"
concurrency = 10
env         = { APP_ENV = "prod" }

[service.hello]
task  = "hello"
route = ["hello.localhost/*"]
scale = { min = 0, max = 20, idle = "60s" }
"#;

const HELLO_YAML: &str = r#"
task:
  hello:
    image: 127.0.0.1:7300/hello:1
    cpu: 256
    memory: 64MiB
    fuel: 100000000
    timeout: 10s
    concurrency: 10
    env: { APP_ENV: prod }
service:
  hello:
    task: hello
    route: [hello.localhost/*]
    scale: { min: 0, max: 20, idle: 60s }
"#;

const HELLO_JSON: &str = r#"{
  "task": {"hello": {
    "image": "127.0.0.1:7300/hello:1", "cpu": 256, "memory": 67108864, "fuel": 100000000,
    "timeout": "10s", "concurrency": 10, "env": {"APP_ENV": "prod"}
  }},
  "service": {"hello": {
    "task": "hello", "route": "hello.localhost/*", "scale": {"min": 0, "max": 20, "idle": "60s"}
  }}
}"#;

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn problems(text: &str, format: Format) -> Vec<Problem> {
    parse(text, format).expect_err("has mistakes").0
}

/// The only problem of a manifest.
fn problem(text: &str, format: Format) -> Problem {
    let mut all = problems(text, format);
    assert_eq!(all.len(), 1, "{all:#?}");
    all.remove(0)
}

fn hint(problem: &Problem) -> &str {
    problem.hint.as_deref().unwrap_or_default()
}

#[test]
fn the_example_reads_the_same_in_all_formats() {
    let hello = parse(HELLO, Format::Toml).expect("valid");
    let task = &hello.tasks["hello"];
    assert_eq!(task.source, Source::Image("127.0.0.1:7300/hello:1".parse().expect("valid")));
    assert_eq!(task.env["APP_ENV"], "prod");
    let expected = Limits {
        cpu: CpuUnits(256),
        memory: ByteSize::mib(64),
        instance_memory: ByteSize::mib(64),
        fuel: 100_000_000,
        timeout: Duration::from_secs(10),
        concurrency: 10,
        ..Limits::default()
    };
    assert_eq!(task.limits, expected);
    let service = &hello.services["hello"];
    assert_eq!(service.task, name("hello"));
    assert_eq!(service.routes, ["hello.localhost/*".parse().expect("valid")]);
    assert_eq!(service.scale, Scale { min: 0, max: 20, idle: Duration::from_secs(60) });
    assert_eq!(service.queue, QueueBounds::default());

    assert_eq!(parse(HELLO_YAML, Format::Yaml).as_ref(), Ok(&hello));
    assert_eq!(parse(HELLO_JSON, Format::Json).as_ref(), Ok(&hello));
    // JSON is YAML; a byte order mark means nothing.
    assert_eq!(parse(HELLO_JSON, Format::Yaml).as_ref(), Ok(&hello));
    assert_eq!(parse(&format!("\u{feff}{HELLO}"), Format::Toml).as_ref(), Ok(&hello));
    for (text, format) in [HELLO, HELLO_YAML, HELLO_JSON].into_iter().zip(FORMATS) {
        assert_eq!(Format::sniff(text), format);
    }
}

#[test]
fn defaults_fill_in_what_is_left_out() {
    let text = "[task.a]\ncomponent = 'a.wasm'\n[service.b]\n[task.big]\nimage='x/y:1'\n\
                memory = '8GiB'\nenv = {I = 1, B = true, T = ''}\nlimits.handles = 5";
    let manifest = parse(text, Format::Toml).expect("valid");
    assert_eq!(manifest.tasks["a"].source, Source::Component(PathBuf::from("a.wasm")));
    assert_eq!(manifest.tasks["a"].limits, Limits::default());
    let big = &manifest.tasks["big"];
    assert_eq!(big.limits.instance_memory, ByteSize::gib(4));
    assert_eq!(big.limits.handles, 5);
    assert_eq!(big.env.values().collect::<Vec<_>>(), ["true", "1", ""]);
    // The task may be registered already.
    assert_eq!(manifest.services["b"].task, name("b"));
    assert_eq!(manifest.services["b"].routes, []);
}

#[test]
fn an_empty_manifest_is_a_problem() {
    for (text, format) in [
        ("", Format::Toml),
        ("# nothing\n[task]\n[service]", Format::Toml),
        ("", Format::Yaml),
        ("task:\nservice: {}\n", Format::Yaml),
        ("{}", Format::Json),
        ("null", Format::Json),
    ] {
        let found = problem(text, format);
        assert!(found.message.contains("no task and no service"), "{text}: {found}");
        assert_eq!(found.path, "");
    }
    let found = problem("[1, 2]", Format::Json);
    assert!(found.message.contains("expected a table, found a list"), "{found}");
}

#[test]
fn syntax_errors_say_where() {
    let found = problem("[task.a]\nimage = 'x/y:1'\nmemory = 64MiB\n", Format::Toml);
    assert_eq!((found.line, found.value.as_deref()), (Some(3), Some("memory = 64MiB")));
    assert!(hint(&found).contains("memory = \"64MiB\""), "{found}");

    let found = problem("{\"task\":\n  {\"a\" 1}}", Format::Json);
    assert_eq!(found.line, Some(2));
    assert_eq!(found.message, "column 8: expected `:`");
    assert_eq!(found.value.as_deref(), Some("  {\"a\" 1}}"));

    let found = problem("task:\n  a: [1, 2\n  b: 3\n", Format::Yaml);
    assert_eq!(found.line, Some(3), "{found}");
    assert!(found.message.contains("did not find expected ',' or ']'"), "{found}");

    let found = problems(HELLO_YAML, Format::Toml).remove(0);
    assert!(hint(&found).contains("looks like YAML"), "{found}");
    for text in ["{\"a\": 1} x", "{", "\"", "{\"a\": 1e999}", "nul"] {
        assert!(problem(text, Format::Json).line.is_some(), "{text}");
    }
    for text in ["a: b: c", "a: *b", "!x y", "a: !t {}", "--- 1\n--- 2", "{a: 1}: 2", "\t", "a: \0"]
    {
        assert_eq!(problem(text, Format::Yaml).path, "", "{text}");
    }
}

#[test]
fn all_syntax_errors_of_toml_are_reported() {
    let found = problems("[task.a]\ncpu = x\nmemory = = 1\n[task.b\n", Format::Toml);
    let lines: Vec<_> = found.iter().filter_map(|p| p.line).collect();
    assert!(lines.contains(&2) && lines.contains(&3) && lines.contains(&4), "{found:#?}");
}
