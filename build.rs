//! Tells the code which wasmtime and which compiler it is built with: compiled components are
//! keyed by wasmtime's full version, and wasmtime itself only compares the major one.

use std::fs;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=Cargo.lock");
    let lock = fs::read_to_string("Cargo.lock").expect("Cargo.lock is committed");
    let mut lines = lock.lines().skip_while(|line| *line != "name = \"wasmtime\"").skip(1);
    let version = lines.next().and_then(|line| line.split('"').nth(1));
    let version = version.expect("Cargo.lock names wasmtime's version");
    println!("cargo::rustc-env=WHARF_WASMTIME_VERSION={version}");

    let compiler = std::env::var_os("RUSTC").expect("cargo names the compiler");
    let output = Command::new(compiler).arg("--version").output().expect("the compiler runs");
    let version = String::from_utf8_lossy(&output.stdout);
    println!("cargo::rustc-env=WHARF_RUSTC_VERSION={}", version.trim());
}
