//! Inline projections: the store folds them, within each append.

use std::{sync::Arc, time::Duration};

use annals_core::{FoldError, ProjectionRecord, ProjectionState, ProjectorFactory, Store};
use tokio::sync::watch;

use super::{runner::with_causes, status::StatusBoard};

/// Watches over an inline projection, which has nobody else to say how it is doing, and lets it
/// take in what was appended without it: while it was paused, or by another program.
pub(super) struct InlineWatch {
    pub(super) store: Arc<dyn Store>,
    pub(super) factory: Arc<dyn ProjectorFactory>,
    pub(super) status: StatusBoard,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) poll: Duration,
}

impl InlineWatch {
    /// Watches until it is told to stop.
    pub(super) async fn run(mut self) {
        while !*self.stop.borrow() {
            if let Err(error) = self.look().await {
                self.status.problem(with_causes(&error));
            }
            tokio::select! {
                biased;
                _ = self.stop.changed() => {}
                () = tokio::time::sleep(self.poll) => {}
            }
        }
        self.status.ended();
    }

    async fn look(&self) -> Result<(), FoldError> {
        // In this order: whatever is appended in between, the projection is not behind for it.
        let head = self.store.head().await?;
        let Some(record) = self.read().await? else {
            let problem = "its record was deleted from the store";
            self.status.problem(problem.to_owned());
            return Ok(());
        };
        let ours = record.fingerprint == self.factory.spec().fingerprint;
        let running = record.state == ProjectionState::Running;
        if running && ours && record.checkpoint.position < head {
            self.factory.install_inline(&self.store).await?;
            self.read().await?;
        }
        Ok(())
    }

    async fn read(&self) -> Result<Option<ProjectionRecord>, FoldError> {
        let record = self.store.projection(&self.factory.spec().name).await?;
        record.iter().for_each(|record| self.status.read(record));
        Ok(record)
    }
}
