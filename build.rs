//! Tells the code which wasmtime it is built with: compiled components are keyed by the full
//! version, and wasmtime itself only compares the major one.

use std::fs;

fn main() {
    println!("cargo::rerun-if-changed=Cargo.lock");
    let lock = fs::read_to_string("Cargo.lock").expect("Cargo.lock is committed");
    let mut lines = lock.lines().skip_while(|line| *line != "name = \"wasmtime\"").skip(1);
    let version = lines.next().and_then(|line| line.split('"').nth(1));
    let version = version.expect("Cargo.lock names wasmtime's version");
    println!("cargo::rustc-env=WHARF_WASMTIME_VERSION={version}");
}
