//! From a grant to a deployment that takes requests.

use std::sync::Arc;
use std::time::Duration;

use registry::Digest;
use tokio::sync::Semaphore;

use crate::model::{Grant, GrantPhase};
use crate::runtime::{CompileError, Deployment, LoadError, Loaded};

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
            Self::Load(error) => error.is_retryable(),
        }
    }

    /// The error with its sources.
    fn message(&self) -> String {
        let mut message = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            message = format!("{message}: {cause}");
            source = cause.source();
        }
        message
    }
}

/// The worker of one grant.
pub(super) struct Preparer {
    parts: AgentParts,
    grant: Arc<Grant>,
    again: bool,
}

impl Preparer {
    /// `again` says that the grant was in force and its code is gone.
    pub(super) fn new(parts: AgentParts, grant: Arc<Grant>, again: bool) -> Self {
        Self { parts, grant, again }
    }

    /// Prepares until it succeeds or cannot succeed.
    pub(super) async fn run(self, preparing: Arc<Semaphore>) {
        if !self.again && self.adopt().await {
            return;
        }
        for attempt in 0.. {
            let error = {
                let Ok(_turn) = preparing.acquire().await else { return };
                match self.prepare().await {
                    Ok(()) => return,
                    Err(error) => error,
                }
            };
            let message = error.message();
            if !error.is_retryable() {
                self.report(GrantPhase::Failed, Some(error.code()), &message).await;
                return;
            }
            let pause = RETRY_AFTER[attempt.min(RETRY_AFTER.len() - 1)];
            let message = format!("{message} (next attempt in {}s)", pause.as_secs());
            self.report(GrantPhase::Pulling, Some(error.code()), &message).await;
            tokio::time::sleep(pause).await;
        }
    }

    /// Takes the short way where nothing has to be fetched or made: the bounds of a deployment
    /// changed, or the node starts again with everything on its disk.
    async fn adopt(&self) -> bool {
        let Some(component) = self.parts.images.component(&self.grant.definition.manifest) else {
            return false;
        };
        let cell = self.parts.table.get_or_insert(&self.grant.service);
        let deployment = Arc::new(self.deployment(component));
        let current = cell.view().deployment;
        if current.is_some_and(|current| current.definition == deployment.definition) {
            cell.rescale(deployment);
            self.report(GrantPhase::Ready, None, "the bounds changed").await;
            return true;
        }
        // Tried before: only the report of a success is followed by a record and code on disk.
        if !self.was_ready().await || !self.parts.compiler.is_compiled(&component) {
            return false;
        }
        cell.deploy(deployment, None);
        true
    }

    async fn was_ready(&self) -> bool {
        let status = super::report::last(&*self.parts.store, &self.grant).await;
        status.is_some_and(|status| {
            status.phase == GrantPhase::Ready && status.definition == self.grant.definition.id
        })
    }

    async fn prepare(&self) -> Result<(), Error> {
        let component = self.fetch().await?;
        let loaded = self.make_runnable(component).await?;
        let deployment = Arc::new(self.deployment(component));
        let trial = self.parts.runtime.try_out(Arc::clone(&loaded), &deployment).await;
        trial.map_err(|error| Error::Load(Arc::new(error)))?;
        let cell = self.parts.table.get_or_insert(&self.grant.service);
        cell.deploy(deployment, Some(loaded));
        self.report(GrantPhase::Ready, None, "requests are served").await;
        Ok(())
    }

    async fn fetch(&self) -> Result<Digest, Error> {
        let definition = &self.grant.definition;
        if let Some(component) = self.parts.images.component(&definition.manifest) {
            if self.parts.compiler.is_compiled(&component)
                || self.parts.images.read(&component)?.is_some()
            {
                return Ok(component);
            }
        }
        let message = format!("pulling {}", definition.pinned_image());
        self.report(GrantPhase::Pulling, None, &message).await;
        Ok(self.parts.images.pull(definition, &|_| {}).await?)
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
        let wasm = match self.parts.images.read(&component)? {
            Some(wasm) => wasm,
            None => {
                self.parts.images.pull(&self.grant.definition, &|_| {}).await?;
                let read = self.parts.images.read(&component)?;
                read.ok_or_else(|| CompileError::Failed("the component vanished".to_owned()))?
            }
        };
        let message = format!("compiling {} KiB of WebAssembly", wasm.len() >> 10);
        self.report(GrantPhase::Compiling, None, &message).await;
        self.parts.compiler.compile(component, wasm).await?;
        self.parts.loader.load(component).await.map_err(Error::Load)
    }

    fn deployment(&self, component: Digest) -> Deployment {
        Deployment {
            definition: self.grant.definition.clone(),
            component,
            generation: self.grant.generation,
            scale: self.grant.scale,
            queue: self.grant.queue,
        }
    }

    async fn report(&self, phase: GrantPhase, code: Option<&str>, message: &str) {
        report(&*self.parts.store, &self.grant, phase, code, message).await;
    }
}
