//! Inline projections: committed by the store, within each append.

use std::{sync::Arc, time::Duration};

use annals_core::{ProjectionState, ProjectorFactory, Store};
use tokio::sync::watch;

use super::{engine::StartProjectionsError, runner::with_causes, status::StatusBoard};

/// Makes an inline projection part of every append, as soon as its rows allow.
///
/// One whose code has changed has to be rebuilt first; until then appends go on without it.
pub(super) struct InlineInstaller {
    pub(super) store: Arc<dyn Store>,
    pub(super) factory: Arc<dyn ProjectorFactory>,
    pub(super) status: StatusBoard,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) poll: Duration,
    pub(super) installed: bool,
}

impl InlineInstaller {
    /// Makes the projection part of every append from now on.
    pub(super) async fn install(&mut self) -> Result<(), StartProjectionsError> {
        let installed = self.factory.install_inline(&self.store).await;
        installed.map_err(|source| StartProjectionsError::Inline {
            projection: self.factory.spec().name.clone(),
            source,
        })?;
        self.installed = true;
        Ok(())
    }

    /// Looks after the projection until it is told to stop.
    pub(super) async fn run(mut self) {
        while !*self.stop.borrow() {
            match self.store.projection(&self.factory.spec().name).await {
                Ok(Some(record)) => {
                    self.status.read(&record);
                    if record.state == ProjectionState::Running && !self.installed {
                        self.install_late().await;
                    }
                }
                Ok(None) => self.status.problem("its record was deleted".to_owned()),
                Err(error) => self.status.problem(with_causes(&error)),
            }
            tokio::select! {
                _ = self.stop.changed() => {}
                () = tokio::time::sleep(self.poll) => {}
            }
        }
        self.status.ended();
    }

    async fn install_late(&mut self) {
        if let Err(error) = self.install().await {
            let projection = &self.factory.spec().name;
            let error = with_causes(&error);
            tracing::error!(%projection, %error, "inline projection can't be installed");
            self.status.problem(error);
        }
    }
}
