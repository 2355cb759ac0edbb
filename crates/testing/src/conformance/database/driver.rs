//! A hand that drives a projector as an engine does.

use std::collections::HashSet;

use annals_core::{
    Checkpoint, CommitError, Fence, LogRead, Page, Projector, ProjectorFactory, RebuildError, Step,
    SwapRequest, Swapped,
};

use super::{Bank, Database};
use crate::conformance::sample::now;

/// Drives one projector.
#[derive(Debug)]
pub struct Driver {
    /// What folds.
    pub projector: Box<dyn Projector>,
    /// What its steps are fenced by.
    pub epoch: u64,
    /// Where it stands.
    pub checkpoint: Checkpoint,
}

impl Driver {
    /// Folds and commits the next `count` events.
    ///
    /// # Errors
    /// What the projector says; it is reset by then.
    ///
    /// # Panics
    /// When the log has fewer events.
    pub async fn run<D: Database>(
        &mut self,
        bank: &Bank<D>,
        count: usize,
    ) -> Result<(), CommitError> {
        let read = LogRead::after(self.checkpoint.position, count);
        let page = bank.store.read_log(read).await.expect("the log is read");
        let page = Page::new(page.events);
        let last = page.events().get(count - 1).expect("there are as many");
        let checkpoint = Checkpoint {
            position: last.position,
            event_id: Some(last.id),
        };
        let folded = self.projector.fold(&page, 0..count, &HashSet::new()).await;
        let committed = match folded {
            Ok(()) => self.projector.commit(self.step(checkpoint)).await,
            Err(error) => Err(error.into()),
        };
        match committed {
            Ok(()) => self.checkpoint = checkpoint,
            Err(_) => self.projector.reset().await,
        }
        committed
    }

    /// Puts the rebuilt tables in the live ones' place.
    ///
    /// # Errors
    /// What the projector says.
    pub async fn swap(
        &mut self,
        factory: &dyn ProjectorFactory,
        verify: Option<usize>,
    ) -> Result<Swapped, RebuildError> {
        let request = SwapRequest {
            spec: factory.spec().clone(),
            fence: self.fence(),
            verify,
            now: now(),
        };
        self.projector.swap(request).await
    }

    fn step(&self, checkpoint: Checkpoint) -> Step {
        Step {
            fence: self.fence(),
            checkpoint,
            park: Vec::new(),
            unpark: Vec::new(),
            now: now(),
        }
    }

    fn fence(&self) -> Fence {
        Fence {
            epoch: self.epoch,
            checkpoint: self.checkpoint.position,
        }
    }
}
