//! `wharf serve`: runs a node until it is told to stop.

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::ValueEnum;
use clap::builder::FalseyValueParser;
use ipnet::IpNet;
use listenfd::ListenFd;
use registry::ClientConfig;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tracing_subscriber::EnvFilter;

use crate::config::NodeConfig;
use crate::listener::{Inherited, Role};
use crate::model::NodeId;
use crate::runtime::ResetPolicy;
use crate::server;
use crate::shutdown::Shutdown;
use crate::telemetry::AccessTarget;

use super::args;
use super::edge::Edge;
use super::output::say;
use super::told::Told;

/// How long blocking work, such as a compilation, may still run once the node has stopped.
const LAST_WORK: Duration = Duration::from_secs(2);
/// The exit code of a process that a second signal ended, as shells write an interrupt.
const INTERRUPTED: i32 = 130;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wharf serve
  wharf serve --listen 0.0.0.0:80 --data-dir /var/lib/wharf
  wharf serve --listen 0.0.0.0:80 --tls-listen 0.0.0.0:443 --tls-dir /etc/wharf/tls --https-redirect
  wharf serve --take-over --data-dir /var/lib/wharf
  wharf serve --listen 127.0.0.1:0 --api-listen 127.0.0.1:0 --ready-file ready.json")]
pub(super) struct Args {
    /// Where the load balancer listens; port 0 takes a free one
    #[arg(
        long,
        default_value = "127.0.0.1:8080",
        value_parser = args::address,
        value_name = "ADDRESS"
    )]
    listen: SocketAddr,
    #[command(flatten)]
    edge: Edge,
    /// Where the API and the embedded registry listen; port 0 takes a free one
    #[arg(
        long,
        default_value = "127.0.0.1:7300",
        value_parser = args::address,
        value_name = "ADDRESS"
    )]
    api_listen: SocketAddr,
    /// Let the API listen where other machines reach it. It has no authentication yet: whoever
    /// reaches it controls the node
    #[arg(long)]
    allow_remote_api: bool,
    /// Let tasks reach this private network, if their role names it as well; may be repeated.
    /// Nothing private is reached by default, and the node's own ports never
    #[arg(long = "allow-network", value_parser = args::network, value_name = "CIDR")]
    guest_networks: Vec<IpNet>,
    /// A host name by which the API may be asked for, besides addresses and localhost; may be
    /// repeated
    #[arg(long = "api-host", value_name = "NAME")]
    api_hosts: Vec<String>,
    /// Take over from the node that serves from the same data folder: its sockets, then its state.
    /// No connection is refused. Without such a node this one starts as usual
    #[arg(long, env = "WHARF_TAKE_OVER", value_parser = FalseyValueParser::new())]
    take_over: bool,
    /// How long another process may take to take over from this one; then this one goes on
    #[arg(long, value_parser = args::time, default_value = "60s", value_name = "TIME")]
    take_over_wait: Duration,
    #[command(flatten)]
    data: DataDir,
    /// Write `{"http": …, "https": …, "api": …, "pid": …}` to this file once the node serves
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// The node's name
    #[arg(long, default_value = "local", value_parser = args::name, value_name = "NAME")]
    node: NodeId,
    /// How memory is made clean between two requests: fast where that is safe, or always safe
    #[arg(long, value_enum, default_value = "auto")]
    reset: ResetPolicy,
    /// Where one JSON line per request goes: off, stderr or a file
    #[arg(long, default_value = "off", value_parser = access_target, value_name = "TARGET")]
    access_log: AccessTarget,
    /// Talk plain HTTP to this registry, as host or host:port; may be given again
    #[arg(long, value_name = "HOST")]
    insecure_registry: Vec<String>,
    /// Trust the certificates in this PEM file when talking to registries
    #[arg(long, value_name = "FILE")]
    registry_ca: Option<PathBuf>,
    /// Docker's config.json with credentials; else $DOCKER_CONFIG, else ~/.docker
    #[arg(long, value_name = "FILE")]
    docker_config: Option<PathBuf>,
    /// What is logged, such as `debug` or `info,wharf::proxy=debug`
    #[arg(long, env = "WHARF_LOG", default_value = "info", value_name = "FILTER")]
    log: String,
    /// How it is logged
    #[arg(long, value_enum, default_value = "text")]
    log_format: LogFormat,
}

/// Where a node keeps everything that outlives its process.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct DataDir {
    /// The data folder; else $XDG_DATA_HOME/wharf, else ~/.local/share/wharf
    #[arg(long, env = "WHARF_DATA_DIR", value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// Lines for people
    Text,
    /// One JSON object a line
    Json,
}

impl DataDir {
    /// The folder, by argument, environment or convention (XDG base directories).
    pub(super) fn resolve(&self) -> anyhow::Result<PathBuf> {
        let variable = |name: &str| {
            std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
        };
        let given = self.data_dir.clone().filter(|path| !path.as_os_str().is_empty());
        let xdg = || variable("XDG_DATA_HOME").map(|data| data.join("wharf"));
        let home = || variable("HOME").map(|home| home.join(".local/share/wharf"));
        given.or_else(xdg).or_else(home).ok_or_else(|| {
            Told::usage("there is no folder to keep data in: HOME is not set")
                .hint("name one with --data-dir or WHARF_DATA_DIR")
                .into()
        })
    }
}

fn access_target(text: &str) -> Result<AccessTarget, String> {
    match text {
        "" => Err("name a file, or write off or stderr".to_owned()),
        "off" => Ok(AccessTarget::Off),
        "stderr" => Ok(AccessTarget::Stderr),
        path => Ok(AccessTarget::File(path.into())),
    }
}

/// Runs a node.
pub(super) fn run(args: Args) -> anyhow::Result<()> {
    start_logging(&args)?;
    // Before there is any other thread: it takes the variables that name the sockets away.
    let inherited = handed_over()?;
    let successor = std::env::current_exe().ok().map(|program| {
        std::iter::once(program.into_os_string()).chain(std::env::args_os().skip(1)).collect()
    });
    let config = NodeConfig { inherited: Arc::new(inherited), successor, ..configure(args)? };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("wharf-io")
        .enable_all()
        .build()
        .context("the threads of the node cannot be started")?;
    let shutdown = Shutdown::new();
    let result = runtime.block_on(async {
        stop_on_signals(shutdown.clone())?;
        let upgrades = upgrade_on_signal()?;
        server::serve(config, shutdown, upgrades).await.map_err(|error| {
            let hint = error.hint();
            let told = Told::new(format!("{:#}", anyhow::Error::new(error)));
            match hint {
                Some(hint) => told.hint(hint).into(),
                None => anyhow::Error::new(told),
            }
        })
    });
    runtime.shutdown_timeout(LAST_WORK);
    result
}

fn configure(args: Args) -> anyhow::Result<NodeConfig> {
    if !args.api_listen.ip().is_loopback() && !args.allow_remote_api {
        let text = format!("the API would listen on {}, where others reach it", args.api_listen);
        return Err(Told::usage(text)
            .hint(
                "whoever reaches the API controls the node; if only people whom you trust can, \
                 add --allow-remote-api",
            )
            .into());
    }
    let extra_ca_pem = args.registry_ca.as_ref().map(|path| {
        std::fs::read(path).map_err(|error| {
            Told::new(format!("the certificates {} cannot be read: {error}", path.display()))
                .hint("give a PEM file after --registry-ca")
        })
    });
    let registry = ClientConfig {
        insecure_registries: args.insecure_registry,
        docker_config: args.docker_config,
        extra_ca_pem: extra_ca_pem.transpose()?,
        ..ClientConfig::default()
    };
    Ok(NodeConfig {
        listen: args.listen,
        edge: args.edge.configure()?,
        api_listen: args.api_listen,
        api_hosts: args.api_hosts,
        data_dir: args.data.resolve()?,
        ready_file: args.ready_file,
        node: args.node,
        reset: args.reset,
        access_log: args.access_log,
        registry,
        guest_networks: args.guest_networks.into_iter().collect(),
        remote_api: args.allow_remote_api,
        inherited: Arc::default(),
        take_over: args.take_over,
        take_over_wait: args.take_over_wait,
        successor: None,
    })
}

/// The sockets that a service manager has opened (sd_listen_fds(3)).
fn handed_over() -> anyhow::Result<Inherited> {
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut given = ListenFd::from_env();
    let sockets = (0..given.len()).map(|index| {
        let role = names.next().and_then(Role::named);
        Ok(given.take_tcp_listener(index)?.map(|socket| (role, socket)))
    });
    let sockets: io::Result<Vec<_>> = sockets.filter_map(Result::transpose).collect();
    let sockets = sockets.context("a socket of the service manager cannot be used")?;
    Ok(Inherited::of_manager(sockets))
}

fn start_logging(args: &Args) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&args.log).map_err(|error| {
        Told::usage(format!("`{}` is not a log filter: {error}", args.log))
            .hint("write a level such as info, or target=level pairs separated by commas")
    })?;
    let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(colour && io::stderr().is_terminal());
    match args.log_format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    Ok(())
}

/// The first SIGTERM or SIGINT begins the shutdown; the second ends the process at once.
fn stop_on_signals(shutdown: Shutdown) -> anyhow::Result<()> {
    let failed = "the node cannot listen for signals";
    let mut terminate = signal(SignalKind::terminate()).context(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).context(failed)?;
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        next().await;
        say("stopping: requests under way are finished; a second signal stops at once");
        shutdown.begin();
        next().await;
        std::process::exit(INTERRUPTED);
    });
    Ok(())
}

/// Each SIGUSR2 starts the program anew, to take over.
fn upgrade_on_signal() -> anyhow::Result<mpsc::Receiver<()>> {
    let failed = "the node cannot listen for signals";
    let mut replace = signal(SignalKind::user_defined2()).context(failed)?;
    let (told, upgrades) = mpsc::channel(1);
    tokio::spawn(async move {
        while replace.recv().await.is_some() {
            // One that waits already is as good.
            let _ = told.try_send(());
        }
    });
    Ok(upgrades)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn config(line: &str) -> anyhow::Result<NodeConfig> {
        let words = ["serve", "--data-dir", "/data"].into_iter().chain(line.split_whitespace());
        configure(Line::try_parse_from(words)?.args)
    }

    #[test]
    fn defaults_are_those_that_scripts_rely_on() {
        let config = config("").expect("valid");
        assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(config.api_listen.to_string(), "127.0.0.1:7300");
        assert_eq!((config.node.as_str(), config.access_log), ("local", AccessTarget::Off));
        assert_eq!(config.data_dir, PathBuf::from("/data"));
    }

    #[test]
    fn an_api_for_others_must_be_asked_for() {
        let error = config("--api-listen 0.0.0.0:7300").expect_err("refused");
        assert!(error.to_string().contains("0.0.0.0:7300"), "{error}");
        config("--api-listen 0.0.0.0:7300 --allow-remote-api").expect("asked for");
        config("--api-listen [::1]:0").expect("loopback");
    }

    #[test]
    fn targets_and_certificates_are_read() {
        let to = |text| config(&format!("--access-log {text}")).expect("valid").access_log;
        assert_eq!(to("stderr"), AccessTarget::Stderr);
        assert_eq!(to("a.log"), AccessTarget::File("a.log".into()));
        let error = config("--registry-ca /nowhere.pem").expect_err("missing");
        assert!(error.to_string().contains("/nowhere.pem"), "{error}");
    }
}
