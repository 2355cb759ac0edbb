//! Rebuilds: a second table, filled beside the live one and swapped in.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};

use super::{State, inline::BATCH, lease::Lease, projection::Entry, side::Side, table::Table};
use crate::{
    projection_store::{
        Differences, ProjectionSpec, ProjectionState, RebuildError, RebuildRecord, RowDifference,
        SwapRequest, Swapped,
    },
    projector::InlineProjection,
    swap::must_be_close,
};

#[derive(Debug)]
pub(super) struct Rebuild {
    spec: ProjectionSpec,
    owner: String,
    started_at: DateTime<Utc>,
    lease: Lease,
    resumed: bool,
    pub(super) side: Side,
}

impl Rebuild {
    pub(super) fn record(&self) -> RebuildRecord {
        RebuildRecord {
            owner: self.owner.clone(),
            epoch: self.side.epoch,
            checkpoint: self.side.checkpoint,
            started_at: self.started_at,
            leased: self.lease.holds(),
            resumed: self.resumed,
        }
    }
}

/// Who asks for a rebuild, and how.
pub(super) struct RebuildRequest<'a> {
    pub(super) spec: &'a ProjectionSpec,
    pub(super) owner: &'a str,
    pub(super) lease: Duration,
    pub(super) restart: bool,
    pub(super) now: DateTime<Utc>,
}

impl State {
    pub(super) fn begin_rebuild(
        &mut self,
        request: &RebuildRequest<'_>,
    ) -> Result<RebuildRecord, RebuildError> {
        self.check_table(request.spec)?;
        self.entry(&request.spec.name)?.begin_rebuild(request)
    }

    pub(super) fn renew_rebuild(
        &mut self,
        name: &str,
        epoch: u64,
        lease: Duration,
    ) -> Result<(), RebuildError> {
        let rebuild = self.entry(name)?.rebuild_in(epoch)?;
        rebuild.lease = Lease::of(lease);
        Ok(())
    }

    pub(super) fn abandon_rebuild(
        &mut self,
        name: &str,
        epoch: u64,
        keep: bool,
    ) -> Result<(), RebuildError> {
        let entry = self.entry(name)?;
        entry.rebuild_in(epoch)?.lease = Lease::over();
        if !keep {
            entry.rebuild = None;
        }
        Ok(())
    }

    pub(super) async fn swap(
        &mut self,
        request: SwapRequest,
        projection: Arc<dyn InlineProjection>,
    ) -> Result<Swapped, RebuildError> {
        let head = self.log.head();
        let entry = self
            .projections
            .get_mut(&request.spec.name)
            .ok_or_else(|| no_such(&request.spec.name))?;
        let live = entry.live.checkpoint.position;
        let Some(rebuild) = &mut entry.rebuild else {
            return Err(fenced(&request.spec.name));
        };
        if !rebuild.side.admits(request.fence) {
            return Err(fenced(&request.spec.name));
        }
        let target = if rebuild.spec.inline { head } else { live };
        let checkpoint = rebuild.side.checkpoint.position;
        must_be_close(checkpoint, target)?;
        let missing = self.log.between(checkpoint, target);
        let batches = missing.chunks(BATCH);
        let folded = rebuild.side.fold(projection.as_ref(), batches).await?;
        // Nothing awaits from here on, so a dropped future has swapped everything or nothing.
        rebuild.side.apply(folded);
        let swapped = entry.swap(&request)?;
        if entry.inline {
            self.inline.insert(entry.name.clone(), projection);
        }
        Ok(swapped)
    }

    fn entry(&mut self, name: &str) -> Result<&mut Entry, RebuildError> {
        self.projections.get_mut(name).ok_or_else(|| no_such(name))
    }
}

impl Entry {
    fn begin_rebuild(
        &mut self,
        request: &RebuildRequest<'_>,
    ) -> Result<RebuildRecord, RebuildError> {
        let left_behind = match self.rebuild.take() {
            Some(rebuild) if rebuild.lease.holds() => {
                let error = RebuildError::AlreadyRunning {
                    projection: self.name.clone(),
                    owner: rebuild.owner.clone(),
                    since: rebuild.started_at,
                };
                self.rebuild = Some(rebuild);
                return Err(error);
            }
            other => other.filter(|rebuild| {
                !request.restart && rebuild.spec.fingerprint == request.spec.fingerprint
            }),
        };
        self.rebuild_epoch += 1;
        let mut rebuild = match left_behind {
            Some(rebuild) => Rebuild {
                resumed: true,
                ..rebuild
            },
            None => Rebuild {
                spec: request.spec.clone(),
                owner: String::new(),
                started_at: request.now,
                lease: Lease::over(),
                resumed: false,
                side: Side::new(request.spec.table, 0),
            },
        };
        request.owner.clone_into(&mut rebuild.owner);
        rebuild.lease = Lease::of(request.lease);
        rebuild.side.epoch = self.rebuild_epoch;
        Ok(self.rebuild.insert(rebuild).record())
    }

    fn rebuild_in(&mut self, epoch: u64) -> Result<&mut Rebuild, RebuildError> {
        let rebuild = self.rebuild.as_mut();
        rebuild
            .filter(|rebuild| rebuild.side.epoch == epoch)
            .ok_or_else(|| fenced(&self.name))
    }

    /// Puts the rebuilt side, which has caught up, in the live one's place.
    fn swap(&mut self, request: &SwapRequest) -> Result<Swapped, RebuildError> {
        let Some(rebuild) = self.rebuild.take() else {
            return Err(fenced(&self.name));
        };
        let swapped = Swapped {
            checkpoint: rebuild.side.checkpoint,
            rows: rebuild.side.table.rows.len() as u64,
            differences: request
                .verify
                .and_then(|samples| differences(&self.live, &rebuild.side, samples)),
        };
        let epoch = self.live.epoch + 1;
        self.live = Side {
            epoch,
            ..rebuild.side
        };
        self.fingerprint = rebuild.spec.fingerprint;
        self.inline = rebuild.spec.inline;
        self.state = ProjectionState::Running;
        self.failure = None;
        self.retry_parked = false;
        self.updated_at = request.now;
        Ok(swapped)
    }
}

/// Compares two sides, if they reach the same position and have the same columns.
fn differences(live: &Side, rebuilt: &Side, samples: usize) -> Option<Differences> {
    let comparable = live.checkpoint == rebuilt.checkpoint
        && live.table.spec?.columns == rebuilt.table.spec?.columns;
    comparable.then(|| compare(&live.table, &rebuilt.table, samples))
}

fn compare(live: &Table, rebuilt: &Table, samples: usize) -> Differences {
    let mut found = Differences::default();
    let Some(spec) = &rebuilt.spec else {
        return found;
    };
    let changed_or_gone = live
        .rows
        .iter()
        .map(|(key, row)| (Some(row), rebuilt.rows.get(key)));
    let added = rebuilt
        .rows
        .iter()
        .filter(|(key, _)| !live.rows.contains_key(key))
        .map(|(_, row)| (None, Some(row)));
    for (live, rebuilt) in changed_or_gone.chain(added) {
        if live == rebuilt {
            continue;
        }
        found.count += 1;
        if found.samples.len() < samples {
            found
                .samples
                .extend(RowDifference::between(spec, live, rebuilt));
        }
    }
    found
}

fn no_such(projection: &str) -> RebuildError {
    RebuildError::NoSuchProjection {
        projection: projection.to_owned(),
    }
}

fn fenced(projection: &str) -> RebuildError {
    RebuildError::Fenced {
        projection: projection.to_owned(),
    }
}
