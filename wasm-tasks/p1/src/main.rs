//! A command for WASI preview 1.
//!
//! Built for `wasm32-wasip1` it is a core module that a node turns into a component with
//! the command adapter. Preview 1 has no HTTP: this can run as a job, never as a service.

fn main() {
    println!("Hello from Wharf!");
    for argument in std::env::args().skip(1) {
        println!("argument: {argument}");
    }
}
