//! From a granted revision to a deployment that takes requests.

use std::sync::Arc;
use std::time::Duration;

use registry::Digest;

use crate::model::{GrantPhase, HealthState};
use crate::runtime::{CompileError, LoadError, Loaded, Turn, Turns};

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
    Compile(Arc<CompileError>),
    #[error("the component's bytes are not here any more")]
    Vanished,
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
            Self::Vanished => "content-unreadable",
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
            // What the guest needs may come; bytes are pulled again.
            Self::Probe(_) | Self::Vanished => true,
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

impl From<Arc<CompileError>> for Error {
    fn from(error: Arc<CompileError>) -> Self {
        Self::Compile(error)
    }
}

/// A component that can be instantiated under the limits of its task.
type Prepared = (Digest, Arc<Loaded>);

/// The worker of one revision.
pub(super) struct Preparer {
    parts: AgentParts,
    place: Arc<Place>,
    reporter: Arc<Reporter>,
    preparing: Turns,
}

impl Preparer {
    pub(super) fn new(
        parts: AgentParts,
        place: Arc<Place>,
        reporter: Arc<Reporter>,
        preparing: Turns,
    ) -> Self {
        Self { parts, place, reporter, preparing }
    }

    /// Prepares until it succeeds or cannot succeed.
    pub(super) async fn run(self) {
        if !self.adopt().await {
            self.run_again().await;
        }
    }

    /// The same for a revision that was in force and whose code is gone.
    pub(super) async fn run_again(self) {
        for attempt in 0.. {
            let prepared = self.prepare().await;
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

    /// Others have their turn while this one waits for the compiler, and while a guest takes its
    /// time to start.
    async fn prepare(&self) -> Result<Prepared, Error> {
        let component = self.fetch().await?;
        let loaded = self.make_runnable(component).await?;
        let planned = self.place.planned(component);
        let _turn = self.turn().await;
        let trial = self.parts.runtime.try_out(Arc::clone(&loaded), &planned).await;
        trial.map_err(|error| Error::Load(Arc::new(error)))?;
        Ok((component, loaded))
    }

    async fn turn(&self) -> Turn {
        self.preparing.join(&self.place.service).turn().await
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
        self.pull().await
    }

    async fn pull(&self) -> Result<Digest, Error> {
        let _turn = self.turn().await;
        let message = format!("pulling {}", self.place.definition.pinned_image());
        self.say(GrantPhase::Pulling, None, &message).await;
        let pull = self.parts.pulls.begin(&self.place.service);
        let report = |progress| pull.report(progress);
        Ok(self.parts.images.pull(&self.place.definition, &report).await?)
    }

    async fn make_runnable(&self, component: Digest) -> Result<Arc<Loaded>, Error> {
        if self.parts.compiler.is_compiled(&component) {
            match self.load(component).await {
                // It did not authenticate, and is gone now.
                Err(Error::Load(error)) if matches!(*error, LoadError::NotCompiled) => {}
                result => return result,
            }
        }
        if !self.parts.images.has(&component) {
            self.pull().await?;
        }
        let message = format!("compiling {}", self.place.definition.pinned_image());
        self.say(GrantPhase::Compiling, None, &message).await;
        let images = self.parts.images.clone();
        let read = async move { images.read(component).await?.ok_or(Error::Vanished) };
        self.parts.compiler.compile(&self.place.service, component, read).await?;
        self.load(component).await
    }

    async fn load(&self, component: Digest) -> Result<Arc<Loaded>, Error> {
        let _turn = self.turn().await;
        self.parts.loader.load(component).await.map_err(Error::Load)
    }

    async fn say(&self, phase: GrantPhase, code: Option<&str>, message: &str) {
        self.reporter.say(&self.place, phase, code, message).await;
    }
}
