//! One side of a projection: what queries read, or what a rebuild fills.

use std::collections::{BTreeMap, HashSet};

use super::table::{Patch, Staged, Table};
use crate::{
    event::StoredEvent,
    order::Position,
    projection_store::{Checkpoint, Commit, Fence, ParkedEvent},
    projector::{FoldError, InlineProjection},
    read_model::TableSpec,
    store::StoreError,
};

#[derive(Debug)]
pub(super) struct Side {
    pub(super) epoch: u64,
    pub(super) checkpoint: Checkpoint,
    pub(super) table: Table,
    pub(super) parked: BTreeMap<Position, ParkedEvent>,
}

/// What folding some events changes on a side.
#[derive(Debug)]
pub(super) struct Folded {
    patch: Patch,
    park: Vec<ParkedEvent>,
    checkpoint: Checkpoint,
}

impl Side {
    pub(super) fn new(table: Option<TableSpec>, epoch: u64) -> Self {
        Self {
            epoch,
            checkpoint: Checkpoint::default(),
            table: Table::new(table),
            parked: BTreeMap::new(),
        }
    }

    pub(super) fn admits(&self, fence: Fence) -> bool {
        self.epoch == fence.epoch && self.checkpoint.position == fence.checkpoint
    }

    /// Commits a step whose fence holds.
    pub(super) fn commit(&mut self, commit: Commit) -> Result<(), StoreError> {
        let patch = match commit.rows {
            Some((spec, changes)) => {
                self.table.expect(&spec)?;
                self.table.patch(changes)?
            }
            None => Patch::new(),
        };
        for position in commit.unpark {
            self.parked.remove(&position);
        }
        self.apply(Folded {
            patch,
            park: commit.park,
            checkpoint: commit.checkpoint,
        });
        Ok(())
    }

    /// Folds batches of events that follow the checkpoint, without changing anything yet.
    ///
    /// Events of parked streams are parked, too.
    pub(super) async fn fold<'e>(
        &self,
        projection: &dyn InlineProjection,
        batches: impl Iterator<Item = &'e [StoredEvent]> + Send,
    ) -> Result<Folded, FoldError> {
        let parked: HashSet<_> = self.parked.values().map(|event| &event.stream).collect();
        let mut rows = Staged::new(&self.table);
        let mut park = Vec::new();
        let mut checkpoint = self.checkpoint;
        for batch in batches {
            let Some(last) = batch.last() else { continue };
            if parked.is_empty() {
                projection.fold(batch, &mut rows).await?;
            } else {
                let (aside, folded): (Vec<_>, Vec<_>) = batch
                    .iter()
                    .cloned()
                    .partition(|event| parked.contains(&event.stream));
                projection.fold(&folded, &mut rows).await?;
                park.extend(aside.iter().map(put_aside));
            }
            checkpoint = Checkpoint {
                position: last.position,
                event_id: Some(last.id),
            };
        }
        Ok(Folded {
            patch: rows.into_patch(),
            park,
            checkpoint,
        })
    }

    pub(super) fn apply(&mut self, folded: Folded) {
        self.table.apply(folded.patch);
        let parked = folded.park.into_iter();
        self.parked
            .extend(parked.map(|event| (event.position, event)));
        self.checkpoint = folded.checkpoint;
    }
}

fn put_aside(event: &StoredEvent) -> ParkedEvent {
    ParkedEvent {
        stream: event.stream.clone(),
        position: event.position,
        message: "an earlier event of its stream was put aside".to_owned(),
        // A fold within an append happens when its events are recorded; a store has no clock.
        since: event.recorded_at,
    }
}
