//! Rebuilds: a new table is filled beside the live one, and swapped in when it is complete.

use std::{sync::Arc, time::Duration};

use annals_core::{
    Checkpoint, Failure, FailurePolicy, FoldError, LogRead, Page, Position, ProjectionState,
    ProjectorFactory, RebuildError, RebuildRecord, Store, SwapRequest, Swapped, Target,
};
use futures_util::StreamExt;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::{
    backoff::Backoff,
    batch::{Batch, Folder},
    lease::{Lease, LeasedRebuild},
    options::RebuildOptions,
    progress::{Progress, RebuildPhase, RebuildSummary, Reporter},
    replay::{ReadAhead, pages},
    runner::with_causes,
};

/// How often a rebuild catches up with a growing log before it gives up.
const ROUNDS: usize = 50;
/// How often it tries again, without getting any further, when the store fails.
const ATTEMPTS: u32 = 10;
/// So few events behind, the swap takes in the rest itself.
const CLOSE: u64 = 500;

/// A rebuild to run.
#[derive(Debug)]
pub(super) struct Rebuild {
    pub(super) store: Arc<dyn Store>,
    pub(super) factory: Arc<dyn ProjectorFactory>,
    pub(super) folder: Folder,
    pub(super) options: RebuildOptions,
    /// Where it tells how far it has come; it stops when nobody listens.
    pub(super) progress: watch::Sender<Option<Progress>>,
    /// Turns true when it should stop.
    pub(super) stop: watch::Receiver<bool>,
}

impl Rebuild {
    /// Builds the projection's table anew beside the live one, and swaps it in.
    pub(super) async fn run(self) -> Result<RebuildSummary, RebuildError> {
        let started = Instant::now();
        let mut reporter = Reporter::new(self.progress.clone());
        let mut record = self.begin(self.options.restart, &mut reporter).await?;
        reporter.begin();
        let mut swapped = self.hold(&record, &mut reporter).await;
        if let Err(error @ RebuildError::Diverged { .. }) = &swapped {
            tracing::warn!(projection = %self.name(), %error, "a rebuild begins anew");
            let thrown_away = self.store.abandon_rebuild(self.name(), record.epoch, false);
            thrown_away.await?;
            record = self.begin(true, &mut reporter).await?;
            swapped = self.hold(&record, &mut reporter).await;
        }
        match swapped {
            Ok(swapped) => Ok(RebuildSummary {
                projection: self.name().to_owned(),
                events: reporter.events(),
                rows: swapped.rows,
                seconds: started.elapsed().as_secs_f64(),
                differences: swapped.differences,
                resumed: record.resumed,
                checkpoint: swapped.checkpoint.position,
            }),
            Err(error @ RebuildError::Fenced { .. }) => Err(error),
            Err(error) => {
                let abandoned = self.store.abandon_rebuild(self.name(), record.epoch, true);
                if let Err(error) = abandoned.await {
                    // Its lease runs out by itself.
                    let (projection, error) = (self.name(), with_causes(&error));
                    tracing::warn!(%projection, %error, "failed to give up a rebuild's lease");
                }
                Err(error)
            }
        }
    }

    /// Folds and swaps while it keeps the lease.
    async fn hold(
        &self,
        record: &RebuildRecord,
        reporter: &mut Reporter,
    ) -> Result<Swapped, RebuildError> {
        let leased = LeasedRebuild {
            store: Arc::clone(&self.store),
            projection: self.name().to_owned(),
            epoch: record.epoch,
        };
        let _kept = Lease::keep(leased, self.options.lease);
        self.persist(record.clone(), reporter).await
    }

    fn name(&self) -> &str {
        &self.folder.projection
    }

    fn is_stopped(&self, reporter: &Reporter) -> bool {
        *self.stop.borrow() || reporter.is_alone()
    }

    /// Takes the lease; waits for that of a rebuild which shows no sign of life.
    async fn begin(
        &self,
        restart: bool,
        reporter: &mut Reporter,
    ) -> Result<RebuildRecord, RebuildError> {
        let lease = self.options.lease;
        let deadline = Instant::now() + lease + lease / 4;
        let mut seen = None;
        loop {
            let begun = self.store.begin_rebuild(
                self.factory.spec(),
                &self.folder.owner,
                lease,
                restart,
                self.folder.clock.now(),
            );
            let error = match begun.await {
                Err(error @ RebuildError::AlreadyRunning { .. }) => error,
                done => return done,
            };
            let record = self.store.projection(self.name()).await?;
            let other = record.and_then(|record| record.rebuild);
            let position = other.map(|other| other.checkpoint.position);
            let moves = seen.is_some() && seen != position;
            if moves || Instant::now() >= deadline || self.is_stopped(reporter) {
                return Err(error);
            }
            seen = position;
            let position = position.unwrap_or_default();
            reporter.enter(RebuildPhase::Waiting, position, position);
            sleep((lease / 10).min(Duration::from_millis(250))).await;
        }
    }

    /// Folds and swaps, through failures of the store that pass.
    async fn persist(
        &self,
        mut record: RebuildRecord,
        reporter: &mut Reporter,
    ) -> Result<Swapped, RebuildError> {
        let mut backoff = Backoff::new(&self.folder.owner);
        loop {
            let error = match self.fold_and_swap(&record, reporter).await {
                Err(RebuildError::Store(error))
                    if error.is_transient() && backoff.failures() < ATTEMPTS =>
                {
                    error
                }
                done => return done,
            };
            tracing::warn!(projection = %self.name(), error = %with_causes(&error), "rebuild waits");
            sleep(backoff.failed()).await;
            let stored = self.store.projection(self.name()).await?;
            let stored = stored.and_then(|record| record.rebuild);
            let Some(stored) = stored.filter(|stored| stored.epoch == record.epoch) else {
                return Err(RebuildError::Fenced {
                    projection: self.name().to_owned(),
                });
            };
            if stored.checkpoint != record.checkpoint {
                backoff.succeeded();
            }
            record = stored;
        }
    }

    async fn fold_and_swap(
        &self,
        record: &RebuildRecord,
        reporter: &mut Reporter,
    ) -> Result<Swapped, RebuildError> {
        self.check_log(record.checkpoint).await?;
        let mut batch = self.open(record).await?;
        let mut wanted = Position::START;
        for _ in 0..ROUNDS {
            let target = self.target().await?.max(wanted);
            self.fold_to(&mut batch, target, reporter).await?;
            let head = self.store.head().await?;
            if !self.options.verify && head.get().saturating_sub(batch.reached().get()) > CLOSE {
                continue;
            }
            // It may have been replaced while pages of it were read, too.
            self.check_log(batch.committed()).await?;
            reporter.enter(RebuildPhase::Swapping, batch.reached(), target);
            match batch.swap(self.swap_request(&batch)).await {
                Err(RebuildError::Behind { target, .. }) => wanted = target,
                // The swap takes in the last events itself, but parks none.
                Err(RebuildError::Fold(FoldError::Event { position, .. }))
                    if self.folder.on_failure == FailurePolicy::Park =>
                {
                    wanted = position;
                }
                done => return done,
            }
        }
        Err(RebuildError::Behind {
            checkpoint: batch.reached(),
            target: self.target().await?.max(wanted),
        })
    }

    /// Whether the log still has the event up to which the new table reaches.
    async fn check_log(&self, checkpoint: Checkpoint) -> Result<(), RebuildError> {
        let Checkpoint { position, event_id } = checkpoint;
        if position == Position::START {
            return Ok(());
        }
        let read = LogRead::after(position.minus(1), 1);
        let found = self.store.read_log(read).await?.events;
        if found
            .first()
            .is_some_and(|found| event_id.is_none_or(|id| id == found.id))
        {
            return Ok(());
        }
        Err(RebuildError::Diverged {
            projection: self.name().to_owned(),
            checkpoint: position,
        })
    }

    async fn open(&self, record: &RebuildRecord) -> Result<Batch, RebuildError> {
        let parked = self.store.parked(self.name(), Target::Rebuild).await?;
        Ok(Batch::new(
            self.folder.clone(),
            self.factory.open(&self.store, Target::Rebuild).await?,
            record.epoch,
            record.checkpoint,
            parked.into_iter().map(|event| event.stream).collect(),
        ))
    }

    /// Up to where to fold: the end of the log, or, to compare, where the live table is.
    async fn target(&self) -> Result<Position, RebuildError> {
        if self.options.verify
            && let Some(live) = self.store.projection(self.name()).await?
            && !live.inline
            && matches!(
                live.state,
                ProjectionState::Running | ProjectionState::Paused
            )
        {
            return Ok(live.checkpoint.position);
        }
        Ok(self.store.head().await?)
    }

    fn swap_request(&self, batch: &Batch) -> SwapRequest {
        SwapRequest {
            spec: self.factory.spec().clone(),
            fence: batch.fence(),
            verify: self.options.verify.then_some(self.options.samples),
            now: self.folder.clock.now(),
        }
    }

    /// Folds and commits everything up to `target`.
    async fn fold_to(
        &self,
        batch: &mut Batch,
        target: Position,
        reporter: &mut Reporter,
    ) -> Result<(), RebuildError> {
        let limits = self.options.limits();
        let how = ReadAhead {
            page_size: self.options.page_size,
            parallel: self.options.parallel,
            decoder: batch.decoder(),
        };
        while batch.reached() < target {
            let mut pages = std::pin::pin!(pages(&self.store, batch.reached(), target, how));
            while let Some(page) = pages.next().await {
                let page = page?;
                let before = batch.reached();
                let whole = fold_page(batch, &page).await?;
                if batch.is_due(&limits) {
                    batch.commit().await?;
                }
                let folded = batch.reached().get().saturating_sub(before.get());
                reporter.folded(folded, batch.reached(), target);
                if self.is_stopped(reporter) {
                    return self.interrupted(batch).await;
                }
                if !whole || page.last() != Some(batch.reached()) {
                    break; // the batch was undone: read from its beginning again
                }
            }
            if batch.reached() >= target {
                batch.commit().await?; // which may undo the batch, too
            }
        }
        Ok(())
    }

    async fn interrupted(&self, batch: &mut Batch) -> Result<(), RebuildError> {
        batch.commit().await?;
        Err(RebuildError::Interrupted {
            projection: self.name().to_owned(),
            checkpoint: batch.committed().position,
        })
    }
}

/// Folds a page; false when the batch went back to before it.
async fn fold_page(batch: &mut Batch, page: &Page) -> Result<bool, RebuildError> {
    let (Some(first), Some(last)) = (page.first(), page.last()) else {
        return Ok(true);
    };
    while batch.reached() < last {
        let Some(start) = batch.reached().next().get().checked_sub(first.get()) else {
            return Ok(false);
        };
        let start = usize::try_from(start).unwrap_or(usize::MAX);
        if let Some(failure) = batch.take(page, start).await? {
            return Err(stopped_at(page, batch.projection(), failure));
        }
    }
    Ok(true)
}

fn stopped_at(page: &Page, projection: &str, failure: Failure) -> RebuildError {
    let position = failure.position;
    let mut events = page.events().iter();
    match events.find(|event| event.position == position) {
        Some(event) => FoldError::event(projection, event, failure.message).into(),
        // Can't be: the failure is one of this page's events.
        None => RebuildError::Fenced {
            projection: projection.to_owned(),
        },
    }
}
