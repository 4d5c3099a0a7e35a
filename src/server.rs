//! Puts a node together and runs it.
//!
//! A node has two halves. What requests need is made once: the engine, the load balancer and the
//! table of tasks. What works on the state is a control plane, which another process may take over
//! while this one goes on serving.
//!
//! *Invariant:* this is the only place that knows every part.
//!
//! Start reading at [`serve`], then `plane.rs` and `wire.rs`.

mod error;
mod front;
mod body;
mod plane;
mod ready;
mod wire;
mod successor;
mod predecessor;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::clock;
use crate::config::NodeConfig;
use crate::listener::Inherited;
use crate::runtime::Machine;
use crate::shutdown::Shutdown;
use crate::store::{OpenError, SqliteStore};
use crate::telemetry::AccessLog;

pub use error::ServeError;

use body::Body;
use front::Front;
use plane::Plane;
use predecessor::Predecessor;
use successor::{Door, Sockets, Started};

/// How long the last access lines may take to be written when the node stops.
const LAST_LINES: Duration = Duration::from_secs(5);
/// How long a process that was killed may take to be gone.
const LAST_BREATH: Duration = Duration::from_secs(5);
/// How often a process that was not replaced tries to get its state back.
const RESUME_INTERVAL: Duration = Duration::from_millis(200);

/// Runs a node until the signal is given, or another process has taken over, and what was under
/// way is done. Each of `upgrades` starts the program anew, to take over.
pub async fn serve(
    config: NodeConfig,
    shutdown: Shutdown,
    upgrades: mpsc::Receiver<()>,
) -> Result<(), ServeError> {
    let machine = Machine::read();
    ready::check(&config)?;
    prepare_folder(&config.data_dir)?;
    let (mut predecessor, inherited) = find_predecessor(&config).await?;
    let first = match &predecessor {
        // The store's lock keeps a second node out of the folder, so it comes first.
        None => Some(open_alone(&config).await?),
        // Whatever can fail fails before the process that serves lets go.
        Some(_) => None,
    };
    let front = Front::open(&config, &machine, inherited).await?;
    let store = match (first, &mut predecessor) {
        (Some(store), _) => store,
        (None, predecessor) => take(&config, predecessor.as_mut()).await?,
    };
    let body = Body::open(config, machine, front.parts())?;
    let mut plane = Plane::start(&body, store);
    if predecessor.is_none() {
        plane.open_api(&body, front.sockets()).map_err(ServeError::Start)?;
    }
    // A node that says that it serves knows the routes of everything that it served before.
    let _ = shutdown.unless_begun(plane.routed()).await;
    if let Some(predecessor) = predecessor {
        let _ = shutdown.unless_begun(plane::settled(&body.table, predecessor.patience())).await;
        if shutdown.has_begun() {
            return Ok(());
        }
        predecessor.replace().await?;
        plane.open_api(&body, front.sockets()).map_err(ServeError::Start)?;
    }
    body.ready.store(true, Ordering::Release);
    let said = ready::say(&body.config, front.addresses());
    if said.is_err() {
        shutdown.begin();
    }
    Life { body, plane, front, shutdown, upgrades }.live().await;
    said
}

/// The process that serves already, if this one is to take over from it, and the sockets that this
/// one begins with.
async fn find_predecessor(
    config: &NodeConfig,
) -> Result<(Option<Predecessor>, Arc<Inherited>), ServeError> {
    if config.take_over {
        if let Some((predecessor, inherited)) = Predecessor::find(&config.data_dir).await? {
            return Ok((Some(predecessor), Arc::new(inherited)));
        }
        tracing::info!("nobody serves from the data folder: there is nothing to take over");
    }
    Ok((None, config.inherited.clone()))
}

async fn open_alone(config: &NodeConfig) -> Result<SqliteStore, ServeError> {
    let store = open_store(config).await?;
    // A process that was killed left its word behind.
    ready::forget(config);
    Ok(store)
}

async fn take(
    config: &NodeConfig,
    predecessor: Option<&mut Predecessor>,
) -> Result<SqliteStore, ServeError> {
    if let Some(predecessor) = predecessor {
        predecessor.take().await?;
    }
    open_store(config).await
}

/// Opens the state. A process that takes over waits for one that was killed: it is gone for its
/// clients before it has let go of its files.
async fn open_store(config: &NodeConfig) -> Result<SqliteStore, ServeError> {
    let until = clock::now() + LAST_BREATH;
    loop {
        match plane::open_store(config).await {
            Err(OpenError::Locked { .. }) if config.take_over && clock::now() < until => {
                tokio::time::sleep(RESUME_INTERVAL).await;
            }
            opened => return Ok(opened?),
        }
    }
}

/// A node that serves.
struct Life {
    body: Body,
    plane: Plane,
    front: Front,
    shutdown: Shutdown,
    upgrades: mpsc::Receiver<()>,
}

/// How it ends.
enum End {
    /// By the signal, with a control plane if there is one.
    Stopped(Option<Plane>),
    /// Another process has taken over.
    Replaced,
}

impl Life {
    async fn live(self) {
        let Self { body, plane, front, shutdown, upgrades } = self;
        let Front { guests, log, proxy, sockets, gate, watches, .. } = front;
        let (ends, table) = (gate.clone(), body.table.clone());
        let balancer = tokio::spawn(async move { proxy.run(ends, || table.stop()).await });
        let wait = body.config.take_over_wait;
        let door = Door::open(&body.config.data_dir, sockets.clone(), wait);
        let mut door = door.inspect_err(|error| {
            tracing::warn!(%error, "no other process can take over from this one");
        });
        let end = until_end(&body, plane, door.as_mut().ok(), &sockets, &shutdown, upgrades).await;
        let is_replaced = matches!(end, End::Replaced);
        if let Ok(door) = door {
            door.close(is_replaced).await;
        }
        drop(sockets);
        match end {
            End::Stopped(plane) => stop(&body, plane, balancer, &gate).await,
            End::Replaced => {
                tracing::info!("another process serves; requests under way are finished here");
                gate.begin_replaced();
                let _ = balancer.await;
            }
        }
        for watch in watches {
            let _ = watch.await;
        }
        // Requests that were cut off have their lines as well.
        drop(guests);
        write_last_lines(log).await;
    }
}

async fn stop(body: &Body, plane: Option<Plane>, balancer: JoinHandle<()>, gate: &Shutdown) {
    ready::tell_manager(NotifyState::Stopping);
    gate.begin();
    let plane = async {
        if let Some(plane) = plane {
            plane.stop(false).await;
        }
    };
    let _ = tokio::join!(balancer, plane);
    ready::forget(&body.config);
}

async fn write_last_lines(log: Option<AccessLog>) {
    if let Some(log) = log
        && tokio::time::timeout(LAST_LINES, log.written()).await.is_err()
    {
        tracing::warn!("the last access lines are lost: their writer does not get on");
    }
}

/// Serves until the signal is given or another process has taken over. One that fails to changes
/// nothing: the control plane is started anew.
async fn until_end(
    body: &Body,
    mut plane: Plane,
    mut door: Option<&mut Door>,
    sockets: &Sockets,
    shutdown: &Shutdown,
    mut upgrades: mpsc::Receiver<()>,
) -> End {
    let wait = body.config.take_over_wait;
    let mut started = Started::new(body.config.successor.clone(), wait);
    loop {
        let knock = async {
            match &mut door {
                Some(door) => door.knock().await,
                None => std::future::pending().await,
            }
        };
        let mut successor = tokio::select! {
            () = shutdown.begun() => {
                // Alone it would find nobody to take over from, and go on after this one.
                started.stop().await;
                return End::Stopped(Some(plane));
            }
            Some(()) = upgrades.recv() => {
                started.start();
                continue;
            }
            () = started.ended() => continue,
            successor = knock => successor,
        };
        tracing::info!("another process takes over: it is given the state");
        plane.stop(true).await;
        let given = shutdown.unless_begun(successor.give(wait)).await;
        if matches!(given, Some(Ok(()))) {
            return End::Replaced;
        }
        successor.refuse().await;
        started.stop().await;
        let Some(Err(why)) = given else {
            tracing::info!("told to stop: the other process is told that it is not wanted");
            return End::Stopped(None);
        };
        tracing::error!(why, "the other process did not take over; this one goes on");
        match resume(body, sockets, shutdown).await {
            Some(resumed) => plane = resumed,
            None => return End::Stopped(None),
        }
    }
}

/// A control plane over the state that comes back; `None` if the signal is given first.
async fn resume(body: &Body, sockets: &Sockets, shutdown: &Shutdown) -> Option<Plane> {
    loop {
        match plane::open_store(&body.config).await {
            Ok(store) => {
                let mut plane = Plane::start(body, store);
                if let Err(error) = plane.open_api(body, sockets) {
                    tracing::error!(%error, "the API cannot listen: restart the node");
                }
                body.ready.store(true, Ordering::Release);
                return Some(plane);
            }
            Err(error) if body.ready.swap(false, Ordering::AcqRel) => {
                tracing::warn!(%error, "the state is not given back yet");
            }
            Err(_) => {}
        }
        shutdown.unless_begun(tokio::time::sleep(RESUME_INTERVAL)).await?;
    }
}

fn prepare_folder(path: &Path) -> Result<(), ServeError> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source: io::Error| ServeError::DataDir { path: path.to_owned(), source })
}
