//! The command line: one file for each command.
//!
//! `serve` runs a node; `doctor` looks at the machine; `bench` measures it with nodes of its own;
//! every other command is a client of a node's API. Data goes to standard output, everything else
//! to standard error.
//!
//! *Invariant:* an exit code is 0 when what was asked for is done, 1 when it failed and 2 when it
//! was asked for wrongly.
//!
//! *Invariant:* colour, progress bars and control characters go to terminals only.
//!
//! Start reading at [`Cli`], then `told.rs`, `client.rs` and any command.

mod apply;
mod args;
pub mod bench;
mod client;
mod compile;
mod delete;
mod describe;
mod doctor;
mod edge;
mod follow;
mod local;
mod logs;
mod node;
mod nodes;
mod output;
mod progress;
mod ps;
mod pull;
mod push;
mod revisions;
mod rollout;
mod scale;
mod serve;
mod services;
mod tasks;
mod told;
mod top;
mod upstreams;
mod version;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use client::ApiClient;
use output::Output;

/// Amazon ECS and Cloud Run for WebAssembly, in one binary.
#[derive(Debug, Parser)]
#[command(
    name = "wharf",
    version,
    arg_required_else_help = true,
    propagate_version = true,
    max_term_width = 100,
    after_help = EXAMPLES
)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  wharf serve                          start a node: http on 127.0.0.1:8080, API on 127.0.0.1:7300
  wharf push hello.wasm hello:1        put a component into the node's own registry
  wharf apply -f wharf.toml --wait     run what a manifest asks for, and wait until it is ready
  curl http://hello.localhost:8080/    send a request; a sleeping service wakes for it
  wharf ps                             see what runs
  wharf logs -f hello                  read what it prints
  wharf delete hello                   take it away

A first manifest, wharf.toml:
  [task.hello]
  component = \"hello.wasm\"
  [service.hello]
  task  = \"hello\"
  route = \"hello.localhost/*\"";

#[derive(Debug, clap::Args)]
struct Global {
    /// The API of the node to talk to
    #[arg(
        long,
        global = true,
        env = "WHARF_API",
        default_value = "http://127.0.0.1:7300",
        value_name = "URL",
        help_heading = "Global options"
    )]
    api: String,
    /// How objects are printed
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        default_value_t = Output::Table,
        value_name = "FORMAT",
        help_heading = "Global options"
    )]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a node: load balancer, API and embedded registry
    Serve(Box<serve::Args>),
    /// Create or change the tasks and services of a manifest
    Apply(apply::Args),
    /// Push a Wasm file to a registry
    Push(push::Args),
    /// Pull an image and write its Wasm to a file
    Pull(pull::Args),
    /// List services
    #[command(visible_alias = "service", after_help = services::HELP)]
    Services,
    /// List running tasks
    Tasks(tasks::Args),
    /// List nodes
    #[command(after_help = nodes::HELP)]
    Nodes,
    /// Take a node out, and bring it back
    Node(node::Args),
    /// Show services and their tasks together
    #[command(after_help = ps::HELP)]
    Ps,
    /// Watch requests, tasks, CPU and memory as they change
    Top(top::Args),
    /// List the servers beside services that requests are forwarded to
    #[command(visible_alias = "upstream", after_help = upstreams::HELP)]
    Upstreams,
    /// Show everything about a service or an upstream
    Describe(describe::Args),
    /// Show what the tasks of a service print
    Logs(logs::Args),
    /// Change how many tasks a service has
    Scale(scale::Args),
    /// List the revisions of services
    #[command(visible_alias = "revision")]
    Revisions(revisions::Args),
    /// Follow and steer the deployment of a service
    Rollout(rollout::Args),
    /// Delete services and upstreams
    Delete(delete::Args),
    /// Check whether this machine can run a node well
    Doctor(doctor::Args),
    /// Measure how many services this machine carries, and how fast they answer
    Bench(bench::Args),
    /// Show the version of this program and of the node
    #[command(after_help = version::HELP)]
    Version,
    /// What a node starts to compile a component
    #[command(hide = true)]
    Compile(compile::Args),
}

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    // The only failure is that one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match run(cli) {
        Ok(code) => code,
        Err(error) => told::report(&error),
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let Global { api, output } = cli.global;
    let cli = match cli.command {
        Command::Serve(args) => return serve::run(*args).map(|()| ExitCode::SUCCESS),
        Command::Compile(args) => return Ok(compile::run(&args)),
        command => command,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        let api = ApiClient::new(&api)?;
        command(cli, &api, output).await
    });
    // A read of standard input that is still waiting must not keep the process.
    runtime.shutdown_background();
    result
}

async fn command(command: Command, api: &ApiClient, output: Output) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve(_) | Command::Compile(_) => {}
        Command::Apply(args) => apply::run(args, api, output).await?,
        Command::Push(args) => push::run(args, api, output).await?,
        Command::Pull(args) => pull::run(args, api, output).await?,
        Command::Services => services::run(api, output).await?,
        Command::Tasks(args) => tasks::run(args, api, output).await?,
        Command::Nodes => nodes::run(api, output).await?,
        Command::Node(args) => node::run(args, api, output).await?,
        Command::Upstreams => upstreams::run(api, output).await?,
        Command::Ps => ps::run(api, output).await?,
        Command::Top(args) => top::run(args, api, output).await?,
        Command::Describe(args) => describe::run(args, api, output).await?,
        Command::Logs(args) => logs::run(args, api, output).await?,
        Command::Scale(args) => scale::run(args, api, output).await?,
        Command::Revisions(args) => revisions::run(args, api, output).await?,
        Command::Rollout(args) => rollout::run(args, api, output).await?,
        Command::Delete(args) => delete::run(args, api, output).await?,
        Command::Doctor(args) => return doctor::run(args, api, output).await,
        Command::Bench(args) => return bench::run(args, output).await,
        Command::Version => version::run(api, output).await?,
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn commands_are_read_as_documented() {
        for line in [
            "wharf serve --listen 127.0.0.1:0 --api-listen 127.0.0.1:0 --ready-file r.json",
            "wharf serve --reset safe --access-log stderr --insecure-registry a --log debug",
            "wharf apply -f wharf.toml --dry-run",
            "wharf apply -f - --wait --timeout 30s -o json",
            "wharf push hello.wasm hello:1",
            "wharf pull ghcr.io/me/hello:1 --to hello.wasm",
            "wharf services -o json",
            "wharf upstreams -o json",
            "wharf --api http://127.0.0.1:7301 tasks",
            "wharf tasks hello",
            "wharf top --sort cpu -n 5 --interval 2s --once -o json",
            "wharf logs -f hello/3 --tail 5",
            "wharf scale hello 3",
            "wharf scale hello --min 0 --max 5 --idle 2m",
            "wharf revisions",
            "wharf revisions hello -o json",
            "wharf rollout status hello --wait --timeout 5m",
            "wharf rollout pause hello",
            "wharf node drain --wait --timeout 1m",
            "wharf node drain local -o json",
            "wharf node undrain",
            "wharf rollout undo hello --to 3",
            "wharf delete a b c",
            "wharf delete -f wharf.toml --no-wait",
            "wharf doctor --data-dir /tmp -o json",
            "wharf bench --services 500 --live 50 --rate 900/s --duration 5s --json r.json",
        ] {
            if let Err(error) = Cli::try_parse_from(line.split(' ')) {
                panic!("{line}: {error}");
            }
        }
    }

    #[test]
    fn every_command_has_examples() {
        let cli = Cli::command();
        for command in cli.get_subcommands().filter(|command| !command.is_hide_set()) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Examples:\n  wharf "), "{}: {help}", command.get_name());
        }
    }

    #[test]
    fn bad_usage_is_refused() {
        for line in [
            "wharf frobnicate",
            "wharf apply",
            "wharf apply -f x --timeout 5",
            "wharf scale hello",
            "wharf scale hello 3 --min 2",
            "wharf delete",
            "wharf node",
            "wharf node drain a b",
            "wharf top --sort name",
            "wharf serve --listen nonsense",
            "wharf serve --node Node_1",
            "wharf services -o yaml",
            "wharf bench --services 3",
            "wharf bench --rate fast",
        ] {
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
