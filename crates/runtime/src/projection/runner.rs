//! The task that keeps one projection up with the log.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use annals_core::{
    Checkpoint, CommitError, Failure, Fence, FoldError, LogRead, Position, ProjectionRecord,
    ProjectionState, ProjectorFactory, Store, StoreError, StoreErrorKind, Target,
};
use futures_util::FutureExt;
use tokio::{sync::watch, time::Instant};

use super::{
    backoff::Backoff,
    batch::{Batch, Folder},
    options::ProjectionOptions,
    rows::panic_message,
    shared_log::SharedLog,
    status::StatusBoard,
    tenure::Tenure,
};

/// Drives one projection until it is told to stop, for as long as no other process does.
///
/// What is stored decides, never what is remembered: after anything unforeseen the record is read
/// again and the projection goes on from there.
pub(super) struct Runner {
    pub(super) store: Arc<dyn Store>,
    pub(super) log: Arc<SharedLog>,
    pub(super) factory: Arc<dyn ProjectorFactory>,
    pub(super) folder: Folder,
    pub(super) options: ProjectionOptions,
    pub(super) status: StatusBoard,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) backoff: Backoff,
    pub(super) tenure: Tenure,
    /// Whether it has followed the log before.
    pub(super) has_begun: bool,
}

impl Runner {
    /// Follows the log until it is told to stop or the store is closed.
    pub(super) async fn run(mut self) {
        while !*self.stop.borrow() {
            let followed = AssertUnwindSafe(self.follow()).catch_unwind().await;
            match followed {
                Ok(Ok(())) => {}
                // The record tells who was first, and what there is to do now.
                Ok(Err(CommitError::Fenced { .. })) => {
                    let wait = self.backoff.failed();
                    self.pause(wait).await;
                }
                Ok(Err(CommitError::Store(error))) if error.kind() == StoreErrorKind::Closed => {
                    self.status.problem(error.to_string());
                    break;
                }
                Ok(Err(error)) => self.recover(&error).await,
                Err(panic) => {
                    let message = panic_message(panic.as_ref());
                    self.fail(message).await;
                }
            }
        }
        if let Err(error) = self.tenure.release().await {
            // It runs out by itself.
            let (projection, error) = (&self.folder.projection, with_causes(&error));
            tracing::warn!(%projection, %error, "failed to release a lease");
        }
        self.status.ended();
    }

    /// Follows the log for as long as nobody interferes.
    async fn follow(&mut self) -> Result<(), CommitError> {
        let record = self.read_record().await?;
        if !self.may_run(&record) {
            self.tenure.release().await?;
            return self.stand_by().await;
        }
        let Some(epoch) = self.tenure.claim(&record).await? else {
            return self.stand_by().await;
        };
        let _kept = self.tenure.keep();
        // Only now nobody else moves it any more.
        let record = self.read_record().await?;
        if record.epoch != epoch || !self.may_run(&record) {
            return Ok(());
        }
        self.go_on(&record).await
    }

    /// Goes on from a record that nobody else moves.
    async fn go_on(&mut self, record: &ProjectionRecord) -> Result<(), CommitError> {
        if std::mem::replace(&mut self.has_begun, true) {
            // Whatever interrupted it may have been a log that was restored.
            self.log.forget().await;
        }
        if let Some(failure) = self.divergence(record).await? {
            let fence = Fence {
                epoch: record.epoch,
                checkpoint: record.checkpoint.position,
            };
            return self
                .stop_at(fence, ProjectionState::Diverged, failure)
                .await;
        }
        let mut batch = self.open(record).await?;
        if record.retry_parked {
            self.retry_parked(&mut batch).await?;
            return Ok(());
        }
        let mut looked = Instant::now();
        while !*self.stop.borrow() {
            self.tenure.goes_on();
            if looked.elapsed() >= self.options.poll {
                let (fence, committed) = (batch.fence(), batch.committed());
                if !self.is_undisturbed(fence, committed).await? {
                    return Ok(());
                }
                looked = Instant::now();
            }
            let Some(next) = self.log.after(batch.reached_event()).await? else {
                self.commit(&mut batch).await?;
                let look = looked + self.options.poll;
                self.wait(batch.reached(), look).await?;
                continue;
            };
            if let Some(failure) = batch.take(&next.page, next.start).await? {
                let fence = batch.fence();
                return self.stop_at(fence, ProjectionState::Failed, failure).await;
            }
            if !self.log.is_full(&next.page) || batch.is_due(&self.options.limits()) {
                self.commit(&mut batch).await?;
            }
        }
        self.commit(&mut batch).await
    }

    fn may_run(&self, record: &ProjectionRecord) -> bool {
        // A rebuild by other code, such as a newer release's, leaves a table for that code alone.
        let ours = record.fingerprint == self.factory.spec().fingerprint;
        record.state == ProjectionState::Running && ours
    }

    /// Waits a moment before it looks again whether there is something to do.
    async fn stand_by(&mut self) -> Result<(), CommitError> {
        self.backoff.succeeded();
        self.pause(self.options.poll).await;
        Ok(())
    }

    async fn read_record(&self) -> Result<ProjectionRecord, StoreError> {
        let name = &self.folder.projection;
        let record = self.store.projection(name).await?.ok_or_else(|| {
            let doing = format!("find projection `{name}`: its record was deleted from the store");
            StoreError::new(StoreErrorKind::NotFound, doing)
        })?;
        self.status.read(&record);
        Ok(record)
    }

    async fn open(&self, record: &ProjectionRecord) -> Result<Batch, StoreError> {
        let projector = self.factory.open(&self.store, Target::Live).await?;
        let parked = match record.parked {
            0 => Vec::new(),
            _ => self.store.parked(&record.name, Target::Live).await?,
        };
        Ok(Batch::new(
            self.folder.clone(),
            projector,
            record.epoch,
            record.checkpoint,
            parked.into_iter().map(|event| event.stream).collect(),
        ))
    }

    async fn commit(&mut self, batch: &mut Batch) -> Result<(), CommitError> {
        batch.commit().await?;
        self.backoff.succeeded();
        self.status.reached(batch.committed().position);
        Ok(())
    }

    /// Waits for more events, or until it is time to look at the record.
    async fn wait(&mut self, reached: Position, look: Instant) -> Result<(), StoreError> {
        tokio::select! {
            biased;
            _ = self.stop.changed() => Ok(()),
            head = self.store.wait_beyond(reached) => head.map(drop),
            () = tokio::time::sleep_until(look) => Ok(()),
        }
    }

    /// Whether nobody has interfered, and the log is still the one that was read.
    async fn is_undisturbed(
        &self,
        fence: Fence,
        committed: Checkpoint,
    ) -> Result<bool, StoreError> {
        let record = self.read_record().await?;
        Ok(self.may_run(&record)
            && record.epoch == fence.epoch
            && record.checkpoint == committed
            && !record.retry_parked
            && self.divergence(&record).await?.is_none())
    }

    /// Why the projection does not fit the log any more, if it does not.
    async fn divergence(&self, record: &ProjectionRecord) -> Result<Option<Failure>, StoreError> {
        let checkpoint = record.checkpoint.position;
        if checkpoint == Position::START {
            return Ok(None);
        }
        let read = LogRead::after(checkpoint.minus(1), 1);
        let page = self.store.read_log(read).await?;
        let found = page.events.first().map(|event| event.id);
        Ok(record.divergence(found, self.folder.clock.now()))
    }

    /// Tries the parked events again, in order; within a stream, none before its elder.
    async fn retry_parked(&mut self, batch: &mut Batch) -> Result<(), CommitError> {
        let name = self.folder.projection.clone();
        let mut parked = self.store.parked(&name, Target::Live).await?;
        parked.sort_by_key(|event| event.position);
        let mut failed = std::collections::HashSet::new();
        for mut event in parked {
            if *self.stop.borrow() {
                return Ok(()); // the rest is retried by whoever follows the log next
            }
            if failed.contains(&event.stream) {
                continue;
            }
            let before = Checkpoint {
                position: event.position.minus(1),
                event_id: None,
            };
            let Some(found) = self.log.after(before).await? else {
                continue;
            };
            if let Some(message) = batch.unpark(&found.page, found.start, &event).await? {
                failed.insert(event.stream.clone());
                event.message = message;
                batch.park_again(event).await?;
            }
        }
        let epoch = batch.fence().epoch;
        self.store.retried_parked(&name, epoch).await?;
        Ok(())
    }

    async fn stop_at(
        &self,
        fence: Fence,
        state: ProjectionState,
        failure: Failure,
    ) -> Result<(), CommitError> {
        tracing::error!(
            projection = %self.folder.projection,
            position = failure.position.get(),
            event_type = %failure.event_type,
            message = %failure.message,
            "projection stopped",
        );
        let name = &self.folder.projection;
        self.store.record_failure(name, fence, state, failure).await
    }

    /// After a store error: waits before the next attempt, or stops where none can help.
    async fn recover(&mut self, error: &CommitError) {
        let message = with_causes(error);
        let projection = &self.folder.projection;
        tracing::warn!(%projection, error = %message, "projection can't go on");
        self.status.problem(message.clone());
        let hopeless = match error {
            CommitError::Store(error) => matches!(
                error.kind(),
                StoreErrorKind::Corrupt | StoreErrorKind::Invalid | StoreErrorKind::NewerSchema
            ),
            error => matches!(error, CommitError::Fold(FoldError::Event { .. })),
        };
        if hopeless {
            self.fail(message).await;
        }
        let wait = self.backoff.failed();
        self.pause(wait).await;
    }

    /// Records a failure that is not one particular event's: it stands at the checkpoint.
    async fn fail(&mut self, message: String) {
        self.status.problem(message.clone());
        if let Err(error) = self.try_fail(message).await {
            let projection = &self.folder.projection;
            tracing::error!(%projection, error = %with_causes(&error), "failed to record a failure");
            let wait = self.backoff.failed();
            self.pause(wait).await;
        }
    }

    async fn try_fail(&self, message: String) -> Result<(), CommitError> {
        let record = self.read_record().await?;
        let next = LogRead::after(record.checkpoint.position, 1);
        // The event is for orientation only: where it can't be read, the failure says so itself.
        let page = self.store.read_log(next).await.unwrap_or_default();
        let header = page.events.first().map(|event| &event.header);
        let failure = Failure {
            position: record.checkpoint.position.next(),
            event_type: header.map_or_else(String::new, |event| event.event_type.to_string()),
            stream: header.map_or_else(String::new, |event| event.stream.to_string()),
            message,
            since: self.folder.clock.now(),
        };
        let fence = Fence {
            epoch: record.epoch,
            checkpoint: record.checkpoint.position,
        };
        self.stop_at(fence, ProjectionState::Failed, failure).await
    }

    /// Waits, but not when it is time to stop.
    async fn pause(&mut self, time: Duration) {
        tokio::select! {
            biased;
            _ = self.stop.changed() => {}
            () = tokio::time::sleep(time) => {}
        }
    }
}

/// An error and what caused it, on one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        message.push_str(": ");
        message.push_str(&cause.to_string());
        source = cause.source();
    }
    message
}
