//! Style as a test: what a machine can check about how the code is laid out and reads.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The layers, lowest first. A module imports from lower layers and from its own.
const LAYERS: [&[&str]; 9] = [
    &["model"],
    &["spec", "autoscaler", "rollout", "routing"],
    &["reconciler"],
    &["clock", "telemetry", "shutdown", "listener", "tls", "store", "upstream", "runtime"],
    &["agent", "control", "proxy"],
    &["api"],
    &["config", "server", "cli"],
    &["main"],
    &["lib"],
];

/// Edges inside a layer that are allowed, besides those of a module to itself. The rest of a
/// layer's modules do not know each other.
const WITHIN_LAYER: [(&str, &str); 11] = [
    ("telemetry", "clock"),
    ("listener", "shutdown"),
    ("tls", "shutdown"),
    ("upstream", "clock"),
    ("upstream", "telemetry"),
    ("runtime", "clock"),
    ("runtime", "upstream"),
    ("runtime", "telemetry"),
    ("server", "config"),
    ("cli", "config"),
    ("cli", "server"),
];

/// Modules that decide. They take a snapshot and the time, and return data.
const PURE: [&str; 6] = ["model", "spec", "autoscaler", "rollout", "routing", "reconciler"];

const MOST_LINES: usize = 500;
const MOST_FUNCTION_LINES: usize = 70;
const MOST_COLUMNS: usize = 100;

struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    /// The top module, `model` for `src/model/ids.rs`.
    fn module(&self) -> String {
        let relative = self.path.strip_prefix(root().join("src")).expect("under src");
        let first = relative.components().next().expect("not empty").as_os_str();
        first.to_string_lossy().trim_end_matches(".rs").to_owned()
    }

    /// Without comments and without the tests at the end of the file.
    fn code(&self) -> String {
        let tests = self.text.find("\n#[cfg(test)]\nmod tests").unwrap_or(self.text.len());
        let lines = self.text[..tests].lines();
        lines.filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
    }

    fn name(&self) -> String {
        self.path.strip_prefix(root()).expect("under the root").display().to_string()
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folders: &[&str]) -> Vec<Source> {
    fn collect(dir: &Path, into: &mut Vec<Source>) {
        let Ok(entries) = fs::read_dir(dir) else { return };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.is_dir() {
                if !path.ends_with("target") {
                    collect(&path, into);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("readable");
                into.push(Source { path, text });
            }
        }
    }
    let mut all = Vec::new();
    for folder in folders {
        collect(&root().join(folder), &mut all);
    }
    assert!(!all.is_empty(), "no source in {folders:?}");
    all
}

fn fail_if_any(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

fn layer(module: &str) -> usize {
    let position = LAYERS.iter().position(|modules| modules.contains(&module));
    position.unwrap_or_else(|| panic!("the module `{module}` has no layer in tests/tidy.rs"))
}

/// The modules that a text names as `crate::module`.
fn imports(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let names = match rest.strip_prefix('{') {
            Some(group) => group.split('}').next().unwrap_or("").split(',').collect(),
            None => vec![rest],
        };
        for name in names {
            let name = name.trim().split(|c: char| !c.is_alphanumeric() && c != '_').next();
            found.extend(name.filter(|name| !name.is_empty()).map(str::to_owned));
        }
    }
    found
}

#[test]
fn imports_only_go_down() {
    let mut complaints = Vec::new();
    for source in sources(&["src"]) {
        let from = source.module();
        if from == "lib" {
            continue;
        }
        for to in imports(&source.code()) {
            let allowed = from == to
                || layer(&to) < layer(&from)
                || WITHIN_LAYER.contains(&(from.as_str(), to.as_str()));
            if !allowed {
                complaints.push(format!("{}: `{from}` must not import `{to}`", source.name()));
            }
        }
    }
    fail_if_any(&complaints);
}

#[test]
fn deciding_modules_are_pure() {
    let impure = [
        "async ",
        ".await",
        "tokio::",
        "tracing::",
        "rand::",
        "std::fs",
        "std::env",
        "std::thread",
        "Instant::now",
        "SystemTime",
        "println!",
    ];
    let mut complaints = Vec::new();
    for source in sources(&["src"]) {
        if !PURE.contains(&source.module().as_str()) {
            continue;
        }
        let code = source.code();
        for token in impure.iter().filter(|token| code.contains(**token)) {
            complaints.push(format!("{}: `{token}` in a module that decides", source.name()));
        }
    }
    fail_if_any(&complaints);
}

#[test]
fn one_module_reads_the_clock() {
    // Leases run on tokio's clock, which tests can pause.
    let readers = ["src/clock.rs", "src/store/expiry.rs"];
    let mut complaints = Vec::new();
    for source in sources(&["src"]) {
        let reads = ["Instant::now(", "SystemTime::now(", "clock_gettime("];
        let code = source.code();
        if reads.iter().any(|read| code.contains(read)) && !readers.contains(&&*source.name()) {
            complaints.push(format!("{}: reads the clock, use crate::clock", source.name()));
        }
    }
    fail_if_any(&complaints);
}

#[test]
fn every_file_says_what_it_is_and_stays_small() {
    let mut complaints = Vec::new();
    for source in sources(&["src", "registry", "benches", "tests"]) {
        let name = source.name();
        if !source.text.starts_with("//!") {
            complaints.push(format!("{name}: no module documentation"));
        }
        let lines = source.text.lines().count();
        if lines > MOST_LINES {
            complaints.push(format!("{name}: {lines} lines, at most {MOST_LINES}"));
        }
        for (number, line) in source.text.lines().enumerate() {
            if line.chars().count() > MOST_COLUMNS {
                complaints.push(format!("{name}:{}: over {MOST_COLUMNS} columns", number + 1));
            }
        }
        complaints.extend(long_functions(&source));
    }
    fail_if_any(&complaints);
}

fn long_functions(source: &Source) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut open: Option<(usize, String, String)> = None;
    for (number, line) in source.text.lines().enumerate() {
        let trimmed = line.trim_start();
        let indent = &line[..line.len() - trimmed.len()];
        match &open {
            None => {
                let head = trimmed.split('(').next().unwrap_or("");
                let is_function = head.split_whitespace().any(|word| word == "fn");
                if is_function && !trimmed.starts_with("//") && !line.ends_with(';') {
                    open = Some((number, format!("{indent}}}"), head.trim().to_owned()));
                }
            }
            Some((start, end, head)) => {
                if line == end {
                    let lines = number - start + 1;
                    if lines > MOST_FUNCTION_LINES {
                        let at = format!("{}:{}", source.name(), start + 1);
                        complaints.push(format!("{at}: `{head}` has {lines} lines"));
                    }
                    open = None;
                } else if line.len() > indent.len() && trimmed.is_empty() {
                    open = None;
                }
            }
        }
    }
    complaints
}

#[test]
fn no_file_is_dead() {
    let mut complaints = Vec::new();
    for source in sources(&["src", "registry/src"]) {
        let stem = source.path.file_stem().expect("a name").to_string_lossy().into_owned();
        if ["main", "lib"].contains(&&*stem) {
            continue;
        }
        let dir = source.path.parent().expect("a folder");
        let (name, parents) = match stem == "mod" {
            true => {
                let name = dir.file_name().expect("a name").to_string_lossy().into_owned();
                (name, owners(dir.parent().expect("a folder")))
            }
            false => (stem, owners(dir)),
        };
        let declared = parents.iter().any(|parent| {
            let text = fs::read_to_string(parent).unwrap_or_default();
            text.lines().any(|line| line.trim_end().ends_with(&format!("mod {name};")))
        });
        if !declared {
            complaints.push(format!("{}: no module declares it", source.name()));
        }
    }
    fail_if_any(&complaints);
}

/// The files that may declare the modules of a folder.
fn owners(dir: &Path) -> Vec<PathBuf> {
    vec![dir.join("mod.rs"), dir.join("lib.rs"), dir.join("main.rs"), dir.with_extension("rs")]
}

/// Words that are returned by functions named `code`, and the codes of requests.
fn user_facing_codes() -> BTreeMap<String, String> {
    let mut codes = BTreeMap::new();
    for source in sources(&["src", "registry/src"]) {
        let code = source.code();
        let heads = ["fn code(&self) -> &'static str {", "const fn as_str(self) -> &'static str {"];
        for head in heads {
            for (at, _) in code.match_indices(head) {
                let body = &code[at + head.len()..];
                let body = &body[..body.find("\n    }\n").unwrap_or(body.len())];
                for word in body.split('"').skip(1).step_by(2) {
                    codes.insert(word.to_owned(), source.name());
                }
            }
        }
    }
    codes.remove("ok");
    codes
}

#[test]
fn every_code_has_its_page_and_every_page_its_code() {
    let codes = user_facing_codes();
    assert!(codes.len() > 40, "{codes:?}");
    let mut complaints = Vec::new();
    for (code, file) in &codes {
        let page = root().join(format!("docs/errors/{code}.md"));
        match fs::read_to_string(&page) {
            Err(_) => complaints.push(format!("{file}: `{code}` has no page in docs/errors")),
            Ok(text) if !text.starts_with(&format!("# {code}\n")) => {
                complaints.push(format!("docs/errors/{code}.md: does not start with its code"));
            }
            Ok(_) => {}
        }
    }
    for entry in fs::read_dir(root().join("docs/errors")).expect("pages").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let code = name.trim_end_matches(".md");
        if code != "README" && !codes.contains_key(code) {
            complaints.push(format!("docs/errors/{name}: no code has this name"));
        }
    }
    fail_if_any(&complaints);
}

#[test]
fn metric_names_stand_in_one_place_and_in_the_docs() {
    let files = sources(&["src/telemetry/metrics"]);
    let docs = fs::read_to_string(root().join("docs/observability.md")).expect("the page");
    let lines = files.iter().flat_map(|file| file.text.lines());
    let tables = lines.filter(|line| !line.contains(".encode("));
    let names = tables.filter_map(|line| {
        let name =
            line.trim().trim_start_matches(['(', '[']).strip_prefix('"')?.split('"').next()?;
        let is_name = name.len() > 3 && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        is_name.then(|| name.to_owned())
    });
    let names: BTreeSet<_> = names.collect();
    assert!(names.len() >= 7, "{names:?}");
    let missing = names.iter().filter(|name| !docs.contains(&format!("wharf_{name}")));
    fail_if_any(
        &missing.map(|name| format!("docs/observability.md: no wharf_{name}")).collect::<Vec<_>>(),
    );
}

/// Versions below these have known holes. The advisory database is not always reachable, so the
/// floors are kept by hand; add one with each advisory that concerns us.
#[test]
fn dependencies_are_above_their_known_holes() {
    let floors = [
        // RUSTSEC-2026-0258: empty DATA frames are queued without a bound.
        ("h2", (0, 4, 16)),
        // The batch of 2026-10-29; 48.0.9 is taken as soon as it can be had.
        ("wasmtime", (48, 0, 8)),
        ("wasmtime-wasi-http", (48, 0, 8)),
    ];
    let lock = fs::read_to_string(root().join("Cargo.lock")).expect("readable");
    for (name, floor) in floors {
        let head = format!("name = \"{name}\"\nversion = \"");
        let at = lock.find(&head).unwrap_or_else(|| panic!("{name} is not in Cargo.lock"));
        let version = lock[at + head.len()..].split('"').next().expect("a version");
        let mut parts = version.split('.').map(|part| part.parse::<u64>().unwrap_or(0));
        let mut next = || parts.next().unwrap_or(0);
        assert!((next(), next(), next()) >= floor, "{name} {version} is below {floor:?}");
    }
}
