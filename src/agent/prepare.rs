//! From a granted revision to a deployment that takes requests.

use std::sync::Arc;
use std::time::Duration;

use registry::Digest;
use tokio::sync::Semaphore;

use crate::model::{GrantPhase, HealthState};
use crate::runtime::{CompileError, LoadError, Loaded};

use super::AgentParts;
use super::health::{self, ProbeFailed};
use super::images::ImagesError;
use super::place::Place;
use super::report::{Reporter, SERVED};

/// Pauses between attempts at what may succeed later; the last one repeats.
const RETRY_AFTER: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_secs(60),
];

/// What begins the line on which an error says what to do.
const HINT: &str = "\nhint: ";

/// Why a revision cannot be prepared.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Image(#[from] ImagesError),
    #[error(transparent)]
    Compile(#[from] CompileError),
    #[error("{0}")]
    Load(Arc<LoadError>),
    #[error(transparent)]
    Probe(#[from] ProbeFailed),
}

impl Error {
    fn code(&self) -> &'static str {
        match self {
            Self::Image(error) => error.code(),
            Self::Compile(error) => error.code(),
            Self::Load(error) => error.code(),
            Self::Probe(error) => error.code(),
        }
    }

    fn is_retryable(&self) -> bool {
        match self {
            Self::Image(error) => error.is_retryable(),
            Self::Compile(error) => error.is_retryable(),
            // Released by another service's deployment at this very moment: fetched anew.
            Self::Load(error) if matches!(**error, LoadError::NotCompiled) => true,
            Self::Load(error) => error.is_retryable(),
            // What the guest needs may come.
            Self::Probe(_) => true,
        }
    }

    /// The error with its sources and this note, then the hints that they bring.
    fn message(&self, note: &str) -> String {
        let sources = std::iter::successors(Some(self as &dyn std::error::Error), |e| e.source());
        let texts: Vec<String> = sources.map(ToString::to_string).collect();
        let split = |text: &String| match text.split_once(HINT) {
            Some((said, hint)) => (said.to_owned(), format!("{HINT}{hint}")),
            None => (text.clone(), String::new()),
        };
        let (said, hints): (Vec<_>, Vec<_>) = texts.iter().map(split).unzip();
        format!("{}{note}{}", said.join(": "), hints.concat())
    }
}

/// A component that can be instantiated under the limits of its task.
type Prepared = (Digest, Arc<Loaded>);

/// The worker of one revision.
pub(super) struct Preparer {
    parts: AgentParts,
    place: Arc<Place>,
    reporter: Arc<Reporter>,
}

impl Preparer {
    pub(super) fn new(parts: AgentParts, place: Arc<Place>, reporter: Arc<Reporter>) -> Self {
        Self { parts, place, reporter }
    }

    /// Prepares until it succeeds or cannot succeed.
    pub(super) async fn run(self, preparing: Arc<Semaphore>) {
        if !self.adopt().await {
            self.run_again(preparing).await;
        }
    }

    /// The same for a revision that was in force and whose code is gone.
    pub(super) async fn run_again(self, preparing: Arc<Semaphore>) {
        for attempt in 0.. {
            let prepared = {
                let Ok(_turn) = preparing.acquire().await else { return };
                self.prepare().await
            };
            // Others are prepared while a guest takes its time to start.
            let Err(error) = self.put_in_force(prepared).await else { return };
            self.place.cell.give_up();
            if !error.is_retryable() {
                let message = error.message("");
                self.say(GrantPhase::Failed, Some(error.code()), &message).await;
                return;
            }
            let pause = RETRY_AFTER[attempt.min(RETRY_AFTER.len() - 1)];
            let message = error.message(&format!(" (next attempt in {}s)", pause.as_secs()));
            self.say(GrantPhase::Pulling, Some(error.code()), &message).await;
            tokio::time::sleep(pause).await;
        }
    }

    /// Takes the short way where the node could run the revision before it stopped, and has
    /// everything on its disk: nothing is fetched, made or tried.
    async fn adopt(&self) -> bool {
        if !self.reporter.was_ready(&self.place) {
            return false;
        }
        if self.place.resume() {
            return true;
        }
        let component = self.parts.images.component(&self.place.definition.manifest);
        let Some(component) = component.filter(|it| self.parts.compiler.is_compiled(it)) else {
            return false;
        };
        self.place.deploy(component, None);
        true
    }

    async fn prepare(&self) -> Result<Prepared, Error> {
        let component = self.fetch().await?;
        let loaded = self.make_runnable(component).await?;
        let planned = self.place.planned(component);
        let trial = self.parts.runtime.try_out(Arc::clone(&loaded), &planned).await;
        trial.map_err(|error| Error::Load(Arc::new(error)))?;
        Ok((component, loaded))
    }

    async fn put_in_force(&self, prepared: Result<Prepared, Error>) -> Result<(), Error> {
        let (component, loaded) = prepared?;
        // What started once has only lost its compiled code: requests wait for it.
        let health = match self.place.cell.view().deployment {
            Some(_) => HealthState::Unknown,
            None => health::start(&self.parts, &self.place, component, &loaded).await?,
        };
        self.place.deploy(component, Some(loaded));
        self.say(GrantPhase::Ready, None, SERVED).await;
        if !health.is_unknown() {
            self.reporter.health(&self.place, health, None).await;
        }
        let parts = self.parts.clone();
        let _ = tokio::task::spawn_blocking(move || parts.release_unused()).await;
        Ok(())
    }

    async fn fetch(&self) -> Result<Digest, Error> {
        let definition = &self.place.definition;
        if let Some(component) = self.parts.images.component(&definition.manifest)
            && (self.parts.compiler.is_compiled(&component) || self.parts.images.has(&component))
        {
            return Ok(component);
        }
        let message = format!("pulling {}", definition.pinned_image());
        self.say(GrantPhase::Pulling, None, &message).await;
        self.pull().await
    }

    async fn pull(&self) -> Result<Digest, Error> {
        let pull = self.parts.pulls.begin(&self.place.service);
        let report = |progress| pull.report(progress);
        Ok(self.parts.images.pull(&self.place.definition, &report).await?)
    }

    async fn make_runnable(&self, component: Digest) -> Result<Arc<Loaded>, Error> {
        if self.parts.compiler.is_compiled(&component) {
            match self.parts.loader.load(component).await {
                Ok(loaded) => return Ok(loaded),
                // It did not authenticate, and is gone now.
                Err(error) if matches!(*error, LoadError::NotCompiled) => {}
                Err(error) => return Err(Error::Load(error)),
            }
        }
        let wasm = match self.parts.images.read(component).await? {
            Some(wasm) => wasm,
            None => {
                self.pull().await?;
                let read = self.parts.images.read(component).await?;
                read.ok_or_else(|| CompileError::Failed("the component vanished".to_owned()))?
            }
        };
        let message = format!("compiling {} KiB of WebAssembly", wasm.len() >> 10);
        self.say(GrantPhase::Compiling, None, &message).await;
        self.parts.compiler.compile(component, wasm).await?;
        self.parts.loader.load(component).await.map_err(Error::Load)
    }

    async fn say(&self, phase: GrantPhase, code: Option<&str>, message: &str) {
        self.reporter.say(&self.place, phase, code, message).await;
    }
}
