//! Projections that are folded within appends.

use std::{iter, sync::Arc};

use chrono::{DateTime, Utc};

use super::{State, invalid, log::Log, projection::Entry, side::Folded};
use crate::{
    append::AppendError,
    event::StoredEvent,
    order::Position,
    projection_store::{Failure, ProjectionSpec, ProjectionState},
    projector::{FoldError, InlineProjection},
};

/// How many missed events are folded at a time.
pub(super) const BATCH: usize = 1_000;

/// What an append does to an inline projection: changes its rows, or stops it, because they were
/// folded from another log or because an event that was appended without it can't be folded.
pub(super) type Inlined = Result<Folded, (ProjectionState, Failure)>;

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
            let last = self.log.at(self.log.head());
            let since = last.map_or(entry.updated_at, |event| event.recorded_at);
            if let Some(failure) = self.log.divergence(entry, since) {
                entry.fail(ProjectionState::Diverged, failure);
                return Ok(());
            }
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
    ) -> Result<Vec<(String, Inlined)>, FoldError> {
        let mut all = Vec::new();
        for (name, projection) in &self.inline {
            let entry = self.projections.get(name);
            let Some(entry) = entry.filter(|entry| entry.takes_part(projection.spec())) else {
                continue;
            };
            let since = new
                .first()
                .map_or(entry.updated_at, |event| event.recorded_at);
            if let Some(failure) = self.log.divergence(entry, since) {
                all.push((name.clone(), Err((ProjectionState::Diverged, failure))));
                continue;
            }
            // A projection that was paused or rebuilt meanwhile has missed some.
            let missed = self.log.after(entry.live.checkpoint.position);
            let batches = missed.chunks(BATCH).chain(iter::once(new));
            let inlined = match entry.live.fold(projection.as_ref(), batches).await {
                Ok(folded) => Ok(folded),
                // Nobody who appends now can do anything about it.
                Err(error) if error.is_at_most_at(self.log.head()) => {
                    Err((ProjectionState::Failed, error.into_failure(since)?))
                }
                Err(refused) => return Err(refused),
            };
            all.push((name.clone(), inlined));
        }
        Ok(all)
    }

    pub(super) fn write_inline(&mut self, all: Vec<(String, Inlined)>) {
        for (name, inlined) in all {
            let Some(entry) = self.projections.get_mut(&name) else {
                continue;
            };
            match inlined {
                Ok(folded) => entry.live.apply(folded),
                Err((state, failure)) => entry.fail(state, failure),
            }
        }
    }
}

impl Log {
    /// Why a projection does not fit this log, if it does not.
    fn divergence(&self, entry: &Entry, since: DateTime<Utc>) -> Option<Failure> {
        let found = self.at(entry.live.checkpoint.position);
        entry
            .record()
            .divergence(found.map(|event| event.id), since)
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

impl FoldError {
    /// Whether it is about an event up to this position.
    fn is_at_most_at(&self, head: Position) -> bool {
        matches!(self, Self::Event { position, .. } if *position <= head)
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
