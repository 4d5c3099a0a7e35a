//! `wharf compile`: what a node starts to compile a component. It is not for people.

use std::process::ExitCode;

use crate::runtime::{CompileOrder, compile_in_this_process, probe_confinement};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    order: CompileOrder,
    /// Compile nothing, but say what the process can do when it is confined
    #[arg(long)]
    probe: bool,
}

/// Compiles what comes from standard input.
pub(super) fn run(args: &Args) -> ExitCode {
    match args.probe {
        true => probe_confinement(&args.order),
        false => compile_in_this_process(&args.order),
    }
}
