//! Inline projections: the store folds them, within each append.

use std::{sync::Arc, time::Duration};

use annals_core::Store;
use tokio::sync::watch;

use super::{runner::with_causes, status::StatusBoard};

/// Watches over an inline projection, which has nobody else to say how it is doing.
pub(super) struct InlineWatch {
    pub(super) store: Arc<dyn Store>,
    pub(super) projection: String,
    pub(super) status: StatusBoard,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) poll: Duration,
}

impl InlineWatch {
    /// Watches until it is told to stop.
    pub(super) async fn run(mut self) {
        while !*self.stop.borrow() {
            match self.store.projection(&self.projection).await {
                Ok(Some(record)) => self.status.read(&record),
                Ok(None) => self
                    .status
                    .problem("its record was deleted from the store".to_owned()),
                Err(error) => self.status.problem(with_causes(&error)),
            }
            tokio::select! {
                _ = self.stop.changed() => {}
                () = tokio::time::sleep(self.poll) => {}
            }
        }
        self.status.ended();
    }
}
