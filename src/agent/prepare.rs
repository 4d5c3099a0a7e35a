//! From a grant to a deployment that takes requests.

use std::sync::Arc;
use std::time::Duration;

use registry::Digest;
use tokio::sync::Semaphore;

use crate::model::{Grant, GrantPhase, TaskDefinition};
use crate::runtime::{CompileError, Deployment, LoadError, Loaded, ServiceCell};

use super::AgentParts;
use super::images::ImagesError;
use super::report::report;

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

/// Why a grant cannot be prepared.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Image(#[from] ImagesError),
    #[error(transparent)]
    Compile(#[from] CompileError),
    #[error("{0}")]
    Load(Arc<LoadError>),
}

impl Error {
    fn code(&self) -> &'static str {
        match self {
            Self::Image(error) => error.code(),
            Self::Compile(error) => error.code(),
            Self::Load(error) => error.code(),
        }
    }

    fn is_retryable(&self) -> bool {
        match self {
            Self::Image(error) => error.is_retryable(),
            Self::Compile(error) => error.is_retryable(),
            // Released by another service's deployment at this very moment: fetched anew.
            Self::Load(error) if matches!(**error, LoadError::NotCompiled) => true,
            Self::Load(error) => error.is_retryable(),
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

/// The worker of one grant.
pub(super) struct Preparer {
    parts: AgentParts,
    grant: Arc<Grant>,
    cell: Arc<ServiceCell>,
}

impl Preparer {
    pub(super) fn new(parts: AgentParts, grant: Arc<Grant>, cell: Arc<ServiceCell>) -> Self {
        Self { parts, grant, cell }
    }

    /// Prepares until it succeeds or cannot succeed.
    pub(super) async fn run(self, preparing: Arc<Semaphore>) {
        let is_done = self.adopt().await;
        self.parts.recalled.lock().remove(&self.grant.service);
        if !is_done {
            self.run_again(preparing).await;
        }
    }

    /// The same for a grant that was in force and whose code is gone.
    pub(super) async fn run_again(self, preparing: Arc<Semaphore>) {
        for attempt in 0.. {
            let error = {
                let Ok(_turn) = preparing.acquire().await else { return };
                match self.prepare().await {
                    Ok(()) => return,
                    Err(error) => error,
                }
            };
            self.cell.give_up();
            if !error.is_retryable() {
                let message = error.message("");
                self.report(GrantPhase::Failed, Some(error.code()), &message).await;
                return;
            }
            let pause = RETRY_AFTER[attempt.min(RETRY_AFTER.len() - 1)];
            let message = error.message(&format!(" (next attempt in {}s)", pause.as_secs()));
            self.report(GrantPhase::Pulling, Some(error.code()), &message).await;
            tokio::time::sleep(pause).await;
        }
    }

    /// Takes the short way where nothing has to be fetched or made: the bounds of a deployment
    /// changed, or the node starts again with everything on its disk.
    ///
    /// A node that starts again serves what it served before, also when it was on its way to
    /// something else.
    async fn adopt(&self) -> bool {
        let cell = &self.cell;
        let status = super::report::last(&*self.parts.store, &self.grant).await;
        let current = cell.view().deployment.map(|deployment| deployment.definition.clone());
        let before = status.as_ref().and_then(|status| status.serving.as_deref().cloned());
        let Some(definition) = current.clone().or(before) else { return false };
        let Some(component) = self.parts.images.component(&definition.manifest) else {
            return false;
        };
        if !self.parts.compiler.is_compiled(&component) {
            return false;
        }
        let is_granted = definition == self.grant.definition;
        let deployment = Arc::new(self.deployment(definition, component));
        match current {
            Some(_) => cell.rescale(deployment),
            None => cell.deploy(deployment, None),
        }
        let is_known = status.is_some_and(|status| {
            status.generation == self.grant.generation && status.phase == GrantPhase::Ready
        });
        if is_granted && !is_known {
            self.report(GrantPhase::Ready, None, "requests are served").await;
        }
        is_granted
    }

    async fn prepare(&self) -> Result<(), Error> {
        let component = self.fetch().await?;
        let loaded = self.make_runnable(component).await?;
        let deployment = Arc::new(self.deployment(self.grant.definition.clone(), component));
        let trial = self.parts.runtime.try_out(Arc::clone(&loaded), &deployment).await;
        trial.map_err(|error| Error::Load(Arc::new(error)))?;
        self.cell.deploy(deployment, Some(loaded));
        self.report(GrantPhase::Ready, None, "requests are served").await;
        let parts = self.parts.clone();
        let _ = tokio::task::spawn_blocking(move || parts.release_unused()).await;
        Ok(())
    }

    async fn fetch(&self) -> Result<Digest, Error> {
        let definition = &self.grant.definition;
        if let Some(component) = self.parts.images.component(&definition.manifest)
            && (self.parts.compiler.is_compiled(&component) || self.parts.images.has(&component))
        {
            return Ok(component);
        }
        let message = format!("pulling {}", definition.pinned_image());
        self.report(GrantPhase::Pulling, None, &message).await;
        self.pull().await
    }

    async fn pull(&self) -> Result<Digest, Error> {
        let pull = self.parts.pulls.begin(&self.grant.service);
        let report = |progress| pull.report(progress);
        Ok(self.parts.images.pull(&self.grant.definition, &report).await?)
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
        self.report(GrantPhase::Compiling, None, &message).await;
        self.parts.compiler.compile(component, wasm).await?;
        self.parts.loader.load(component).await.map_err(Error::Load)
    }

    fn deployment(&self, definition: TaskDefinition, component: Digest) -> Deployment {
        Deployment {
            definition,
            component,
            generation: self.grant.generation,
            scale: self.grant.scale,
            queue: self.grant.queue,
        }
    }

    async fn report(&self, phase: GrantPhase, code: Option<&str>, message: &str) {
        let serving = self.cell.view().deployment;
        let serving = serving.map(|deployment| deployment.definition.clone());
        report(&*self.parts.store, &self.grant, serving, phase, code, message).await;
    }
}
