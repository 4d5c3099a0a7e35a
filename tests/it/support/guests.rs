//! The sample tasks, built by `make wasm-tasks`.

use std::path::{Path, PathBuf};

/// A component of `wasm-tasks/`, by its crate's name.
pub fn guest(name: &str) -> Vec<u8> {
    built("wasm32-wasip2", name)
}

/// A core module of `wasm-tasks/` for WASI preview 1, by its crate's name.
pub fn preview1_guest(name: &str) -> Vec<u8> {
    built("wasm32-wasip1", name)
}

fn built(target: &str, name: &str) -> Vec<u8> {
    let file = format!("{target}/release/{}.wasm", name.replace('-', "_"));
    let path = tasks().join("target").join(file);
    std::fs::read(&path).unwrap_or_else(|error| {
        panic!("{}: {error}; build the sample tasks with `make wasm-tasks`", path.display())
    })
}

/// A component of `wasm-tasks/wat/`, assembled.
pub fn wat(name: &str) -> Vec<u8> {
    let path = tasks().join("wat").join(format!("{name}.wat"));
    wat::parse_file(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn tasks() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("wasm-tasks")
}
