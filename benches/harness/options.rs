//! The command line, the same for every bench.

use std::path::PathBuf;
use std::time::Duration;

/// How much is measured, and where the result goes.
#[derive(Debug, Clone, clap::Parser)]
#[command(about = "Measures one figure of SPECIFICATION.md", disable_version_flag = true)]
pub(crate) struct Options {
    /// How often each pair is measured
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(3..=300))]
    pub(crate) pairs: u32,
    /// How long each measurement takes, in seconds
    #[arg(long, default_value_t = 2.5, value_parser = seconds)]
    pub(crate) seconds: f64,
    /// Connections that carry the load
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) connections: u32,
    /// Services of P5
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(10..=5_000))]
    pub(crate) services: u32,
    /// Requests of P14
    #[arg(long, default_value_t = 1_000_000, value_parser = requests)]
    pub(crate) requests: u64,
    /// Keep server and load on one core each, instead of on every core; P2 always does
    #[arg(long)]
    pub(crate) pinned: bool,
    /// Write everything that was measured to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// What `cargo bench` adds
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    /// How long each measurement takes.
    pub(crate) fn window(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.1..=60.0).contains(&seconds) => Ok(seconds),
        _ => Err("give 0.1 to 60 seconds".to_owned()),
    }
}

fn requests(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(requests @ 10_000..) => Ok(requests),
        _ => Err("give at least 10000 requests".to_owned()),
    }
}
