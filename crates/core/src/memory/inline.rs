//! Projections that are folded within appends.

use std::{iter, sync::Arc};

use super::{State, invalid, projection::Entry, side::Folded};
use crate::{
    append::AppendError,
    event::StoredEvent,
    projection_store::{ProjectionSpec, ProjectionState},
    projector::{FoldError, InlineProjection},
};

/// How many missed events are folded at a time.
pub(super) const BATCH: usize = 1_000;

impl State {
    /// Folds what a projection has missed, and then makes it part of every append.
    pub(super) async fn install_inline(
        &mut self,
        projection: Arc<dyn InlineProjection>,
    ) -> Result<(), FoldError> {
        let spec = projection.spec();
        let Some(entry) = self.projections.get_mut(&spec.name) else {
            let name = &spec.name;
            return Err(invalid(format!(
                "make projection `{name}` part of every append: it is not registered"
            ))
            .into());
        };
        if entry.takes_part(spec) {
            let missed = self.log.after(entry.live.checkpoint.position);
            let folded = entry
                .live
                .fold(projection.as_ref(), missed.chunks(BATCH))
                .await?;
            entry.live.apply(folded);
        }
        self.inline.insert(spec.name.clone(), projection);
        Ok(())
    }

    /// Folds new events, and what was missed before them, without changing anything yet.
    pub(super) async fn fold_inline(
        &self,
        new: &[StoredEvent],
    ) -> Result<Vec<(String, Folded)>, FoldError> {
        let mut all = Vec::new();
        for (name, projection) in &self.inline {
            let entry = self.projections.get(name);
            let Some(entry) = entry.filter(|entry| entry.takes_part(projection.spec())) else {
                continue;
            };
            // A projection that was paused or rebuilt meanwhile has missed some.
            let missed = self.log.after(entry.live.checkpoint.position);
            let batches = missed.chunks(BATCH).chain(iter::once(new));
            let folded = entry.live.fold(projection.as_ref(), batches).await;
            all.push((name.clone(), folded?));
        }
        Ok(all)
    }

    pub(super) fn write_inline(&mut self, all: Vec<(String, Folded)>) {
        for (name, folded) in all {
            if let Some(entry) = self.projections.get_mut(&name) {
                entry.live.apply(folded);
            }
        }
    }
}

impl Entry {
    /// Whether the rows are kept up by this code within every append: not while the projection
    /// is stopped, or its rows are those of other code.
    fn takes_part(&self, spec: &ProjectionSpec) -> bool {
        self.state == ProjectionState::Running
            && self.inline
            && self.fingerprint == spec.fingerprint
    }
}

/// What an append is answered that an inline projection refuses.
pub(super) fn refusal(error: FoldError) -> AppendError {
    match error {
        FoldError::Event {
            projection,
            message,
            ..
        } => AppendError::InlineProjection {
            projection,
            message,
        },
        FoldError::Store(error) => AppendError::Store(error),
    }
}
