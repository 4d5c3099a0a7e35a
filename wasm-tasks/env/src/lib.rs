//! Shows what a task can see and reach. Each query parameter asks one question, and the
//! answers stand one after the other; without any, the environment is printed.

mod reach;

use std::fmt::Write as _;

use support::{IncomingRequest, Query, ResponseOutparam};
use wasi::clocks::{monotonic_clock, wall_clock};
use wasi::http::types::Scheme;
use wasi::random::random::get_random_bytes;

struct Env;

wasi::http::proxy::export!(Env);

impl wasi::exports::http::incoming_handler::Guest for Env {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let query = Query::of(&request);
        match query.get("name") {
            Some(name) => one_variable(out, name),
            None => support::text(out, 200, &answers(&request, &query)),
        }
    }
}

fn one_variable(out: ResponseOutparam, name: &str) {
    match std::env::var_os(name) {
        Some(value) => support::text(out, 200, &format!("{}\n", value.to_string_lossy())),
        None => support::text(out, 404, &format!("{name} is not set\n")),
    }
}

fn answers(request: &IncomingRequest, query: &Query) -> String {
    let mut lines = String::new();
    if query.flag("headers") {
        lines += &headers(request);
    }
    if query.flag("scheme") {
        lines += &scheme(request);
    }
    if query.flag("time") {
        lines += &time();
    }
    if query.flag("random") {
        lines += &random();
    }
    if let Some(text) = query.get("log") {
        println!("{text}");
        eprintln!("{text}");
        lines += "logged\n";
    }
    if query.flag("dirs") {
        lines += &reach::directories();
    }
    if let Some(path) = query.get("read") {
        lines += &reach::read(path);
    }
    if let Some(url) = query.get("fetch") {
        lines += &reach::fetch(url);
    }
    if let Some(address) = query.get("connect") {
        lines += &reach::connect(address);
    }
    if lines.is_empty() { environment() } else { lines }
}

fn environment() -> String {
    let mut variables: Vec<_> = std::env::vars_os().collect();
    variables.sort();
    variables.iter().fold(String::new(), |mut lines, (name, value)| {
        _ = writeln!(lines, "{}={}", name.to_string_lossy(), value.to_string_lossy());
        lines
    })
}

fn headers(request: &IncomingRequest) -> String {
    let mut entries = request.headers().entries();
    entries.sort();
    entries.iter().fold(String::new(), |mut lines, (name, value)| {
        _ = writeln!(lines, "{name}: {}", String::from_utf8_lossy(value));
        lines
    })
}

fn scheme(request: &IncomingRequest) -> String {
    match request.scheme() {
        Some(Scheme::Http) => "scheme HTTP\n".to_owned(),
        Some(Scheme::Https) => "scheme HTTPS\n".to_owned(),
        Some(Scheme::Other(other)) => format!("scheme {other}\n"),
        None => "no scheme\n".to_owned(),
    }
}

fn time() -> String {
    let wall = wall_clock::now();
    let monotonic = monotonic_clock::now();
    format!("wall={}.{:09}\nmonotonic={monotonic}\n", wall.seconds, wall.nanoseconds)
}

fn random() -> String {
    let digits = get_random_bytes(16).iter().fold(String::new(), |mut digits, byte| {
        _ = write!(digits, "{byte:02x}");
        digits
    });
    format!("random={digits}\n")
}
