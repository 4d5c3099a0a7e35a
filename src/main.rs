//! The `wharf` program. Everything is in the library; start reading at `wharf::cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    wharf::cli::main()
}
