//! What every bench shares: measuring in pairs, judging, and the processes that are measured.
//!
//! A bench measures ratios within one run, never absolute times: the machine is part of both
//! sides. Each figure is measured as follows.
//!
//! - Ours and its peer take turns in ABBA order, a few seconds each ([`pairs`]). What counts is the
//!   median of the ratios of neighbours, with a 95 % bootstrap interval ([`stats`]).
//! - A control measures ours against a second copy of ours. Where its interval excludes 1.00, or
//!   is wider than ±7 %, the machine was too noisy: the figure is void, neither passed nor failed.
//! - Cost is the CPU time of the server's whole process tree ([`cpu`]) for each response that had
//!   the expected status and body ([`load`]). The load comes from a process of its own and its CPU
//!   time is not counted.
//!
//! A bench exits with 0 if it measured and its floors hold, with 1 if a floor fails, and with 3 if
//! the run decides nothing.
#![allow(dead_code, reason = "no bench uses all of it")]

pub(crate) mod options;
pub(crate) mod pairs;
pub(crate) mod report;
pub(crate) mod process;
pub(crate) mod load;
pub(crate) mod visits;
pub(crate) mod node;
pub(crate) mod peer;
pub(crate) mod hyper_hello;
pub(crate) mod guest;

pub(crate) use wharf::cli::bench::{cpu, machine, stats};

use std::process::ExitCode;

use clap::Parser;

use options::Options;
use process::Role;
use report::Report;

/// The exit code of a run that decides nothing.
const VOID: u8 = 3;
/// The exit code of a bench that could not be run at all.
const BROKEN: u8 = 2;

/// Runs a bench, or the role in it that this process was started for.
pub(crate) fn main(roles: &[Role], bench: fn(&Options) -> anyhow::Result<Report>) -> ExitCode {
    match run(roles, bench) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(BROKEN)
        }
    }
}

fn run(roles: &[Role], bench: fn(&Options) -> anyhow::Result<Report>) -> anyhow::Result<ExitCode> {
    if let Some(role) = process::own_role(roles)? {
        role()?;
        return Ok(ExitCode::SUCCESS);
    }
    let options = Options::parse();
    process::raise_open_files();
    let report = bench(&options)?.finish();
    print!("{}", report.table());
    if let Some(path) = &options.json {
        std::fs::write(path, report.json()?)?;
        eprintln!("written: {}", path.display());
    }
    Ok(match report.outcome() {
        report::Outcome::Holds => ExitCode::SUCCESS,
        report::Outcome::Fails => ExitCode::FAILURE,
        report::Outcome::Void => ExitCode::from(VOID),
    })
}
