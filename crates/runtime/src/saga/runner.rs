//! The task that runs one kind of saga, on the node that holds its lease.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use annals_core::{
    Checkpoint, Claim, Failure, Fence, LogRead, ProjectionRecord, ProjectionState, StoreError,
    StoreErrorKind, saga::ProcessManager,
};
use futures_util::FutureExt as _;
use tokio::{sync::watch, task::JoinSet, time::Instant};

use super::{
    agenda::Agenda,
    delivery::Receivers,
    desk::Desk,
    journal::Journal,
    options::SagaOptions,
    sagas::Endings,
    status::SagaBoard,
    term::{Term, TermEnd},
    trail::Trail,
    worker::Worker,
};
use crate::projection::{Backoff, SharedLog, panic_message, with_causes};

/// Runs one kind of saga until it is told to stop.
pub(super) struct Runner<P> {
    pub(super) journal: Journal,
    pub(super) receivers: Receivers,
    pub(super) log: Arc<SharedLog>,
    /// The runner's name among the projections: `saga:transfer`.
    pub(super) name: String,
    pub(super) owner: String,
    pub(super) options: SagaOptions,
    pub(super) board: SagaBoard,
    pub(super) endings: Arc<Endings>,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) backoff: Backoff,
    pub(super) process: std::marker::PhantomData<fn() -> P>,
}

impl<P: ProcessManager> Runner<P> {
    pub(super) async fn run(mut self) {
        while !*self.stop.borrow() {
            let led = AssertUnwindSafe(self.try_lead());
            let led = led.catch_unwind().await;
            self.board.update(|health| health.leading = false);
            let wait = match led {
                Ok(Ok(())) => self.options.poll,
                Ok(Err(TermEnd::Stopping)) => break,
                Ok(Err(TermEnd::Overtaken)) => self.options.poll,
                Ok(Err(TermEnd::Store(error))) if error.kind() == StoreErrorKind::Closed => break,
                Ok(Err(error)) => self.trouble(with_causes(&error)),
                Err(panic) => self.trouble(panic_message(panic.as_ref())),
            };
            tokio::select! {
                biased;
                _ = self.stop.changed() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        self.board.update(|health| {
            health.alive = false;
            health.leading = false;
        });
    }

    fn trouble(&mut self, problem: String) -> Duration {
        tracing::warn!(saga = P::NAME, error = %problem, "sagas can't be run just now");
        self.board.update(|health| health.problem = Some(problem));
        self.backoff.failed()
    }

    /// Runs the sagas if this process holds, or gets, the lease.
    async fn try_lead(&mut self) -> Result<(), TermEnd> {
        let record = self.record().await?;
        if record.state != ProjectionState::Running {
            return Ok(());
        }
        let store = &self.journal.store;
        let claim = store
            .claim(&self.name, &self.owner, self.options.lease)
            .await?;
        let Claim::Held { epoch } = claim else {
            return Ok(());
        };
        // The record as it is now that nobody else can write it.
        let record = self.record().await?;
        if let Some(failure) = self.divergence(&record).await? {
            let fence = Fence {
                epoch,
                checkpoint: record.checkpoint.position,
            };
            self.fail(fence, ProjectionState::Diverged, failure).await;
            self.release().await;
            return Ok(());
        }
        self.board.update(|health| health.leading = true);
        let mut term = self.begin(epoch, record.checkpoint);
        let led = AssertUnwindSafe(self.lead(&mut term)).catch_unwind().await;
        let led = led.unwrap_or_else(|panic| Err(TermEnd::Panicked(panic_message(panic.as_ref()))));
        self.end(term, &led).await;
        match led {
            Err(TermEnd::Event(_)) => Ok(()),
            led => led,
        }
    }

    fn begin(&self, epoch: u64, checkpoint: Checkpoint) -> Term<P> {
        let halt = watch::Sender::new(false);
        let worker = Worker::new(
            self.journal.clone(),
            self.receivers.clone(),
            halt.subscribe(),
            self.options.poll,
        );
        Term {
            epoch,
            desk: Desk::new(self.options.concurrent, self.options.waiting, &self.owner),
            agenda: Agenda::new(P::NAME),
            workers: JoinSet::new(),
            worker: Arc::new(worker),
            halt,
            reached: checkpoint,
            trail: Trail::default(),
            committed: checkpoint.position,
            commit_at: Instant::now() + self.options.checkpoint,
            renew_at: Instant::now() + self.options.lease / 3,
        }
    }

    /// Lets the workers finish what is under way, and gives the lease up when it is time to stop.
    async fn end(&self, mut term: Term<P>, led: &Result<(), TermEnd>) {
        term.halt.send_replace(true);
        while let Some(joined) = term.workers.join_next().await {
            if let Ok(done) = joined {
                term.desk.done(done);
            }
        }
        if matches!(led, Err(TermEnd::Overtaken)) {
            return;
        }
        if let Err(error) = self.commit(&mut term).await {
            tracing::debug!(saga = P::NAME, %error, "the last checkpoint was not written");
        }
        // While nobody else can run these sagas, so that nobody meets the event unwarned.
        if let Err(TermEnd::Event(failure)) = led {
            let failure = Failure::clone(failure);
            self.fail(term.fence(), ProjectionState::Failed, failure)
                .await;
        }
        self.release().await;
    }

    async fn release(&self) {
        if let Err(error) = self.journal.store.release(&self.name, &self.owner).await {
            tracing::debug!(saga = P::NAME, %error, "the lease runs out by itself");
        }
    }

    pub(super) async fn record(&self) -> Result<ProjectionRecord, StoreError> {
        let record = self.journal.store.projection(&self.name).await?;
        let record = record.ok_or_else(|| {
            let doing = format!(
                "find `{}`: its record was deleted from the store",
                self.name
            );
            StoreError::new(StoreErrorKind::NotFound, doing)
        })?;
        let failure = record.failure.as_ref();
        let problem = failure.map(|failure| failure.message.clone());
        self.board.update(|health| {
            health.state = Some(record.state);
            health.problem = problem.or(health.problem.take());
        });
        Ok(record)
    }

    /// Tells whether the log still has the event at the checkpoint.
    async fn divergence(&self, record: &ProjectionRecord) -> Result<Option<Failure>, StoreError> {
        let before = LogRead::after(record.checkpoint.position.minus(1), 1);
        let page = self.journal.store.read_log(before).await?;
        let found = page.events.first().map(|event| event.id);
        Ok(record.divergence(found, self.journal.clock.now()))
    }

    async fn fail(&self, fence: Fence, state: ProjectionState, failure: Failure) {
        let problem = failure.message.clone();
        tracing::error!(saga = P::NAME, %problem, "sagas are stopped");
        self.board.update(|health| health.problem = Some(problem));
        let store = &self.journal.store;
        if let Err(error) = store
            .record_failure(&self.name, fence, state, failure)
            .await
        {
            let error = with_causes(&error);
            tracing::error!(saga = P::NAME, %error, "failed to record a failure");
        }
    }
}
