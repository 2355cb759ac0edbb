//! The task that runs one kind of saga, on the node that holds its lease.

use std::{collections::BTreeMap, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use annals_core::Id as _;
use annals_core::{
    Checkpoint, Claim, Commit, CommitError, EventSet as _, Failure, Fence, FoldError, LogRead,
    Page, Position, ProjectionRecord, ProjectionState, ReadModel as _, StoreError, StoreErrorKind,
    Target, UnknownEvents, Version,
    projector::relevant,
    saga::{Correlation, ProcessManager, ReceivedEvent, SagaName},
};
use tokio::{
    sync::watch,
    task::{JoinError, JoinSet},
    time::Instant,
};

use super::{
    agenda::Agenda,
    delivery::Receivers,
    desk::Desk,
    journal::Journal,
    options::SagaOptions,
    read_models::SagaDeadline,
    sagas::Endings,
    status::SagaBoard,
    worker::{Done, Order, Worker},
};
use crate::projection::{Backoff, Following, SharedLog, panic_message, with_causes};

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

/// What a runner knows while it holds the lease.
struct Term<P> {
    epoch: u64,
    desk: Desk,
    agenda: Agenda,
    workers: JoinSet<(Done, Vec<Position>)>,
    worker: Arc<Worker<P>>,
    halt: watch::Sender<bool>,
    reached: Checkpoint,
    /// Positions and event ids that a checkpoint may be set at.
    passed: Vec<Checkpoint>,
    committed: Position,
    commit_at: Instant,
    renew_at: Instant,
    backoff: Backoff,
}

/// Why a term ends.
#[derive(Debug, thiserror::Error)]
enum TermEnd {
    #[error("it is time to stop")]
    Stopping,
    #[error("somebody else has taken over")]
    Overtaken,
    #[error(transparent)]
    Event(FoldError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl<P: ProcessManager> Runner<P> {
    pub(super) async fn run(mut self) {
        while !*self.stop.borrow() {
            let led = AssertUnwindSafe(self.try_lead());
            let led = futures_util::FutureExt::catch_unwind(led).await;
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
            self.fail(&record, ProjectionState::Diverged, failure).await;
            return Ok(());
        }
        self.board.update(|health| health.leading = true);
        let mut term = self.begin(epoch, record.checkpoint);
        let led = self.lead(&mut term).await;
        self.end(term, &led).await;
        match led {
            Err(TermEnd::Event(error)) => {
                let record = self.record().await?;
                let failure = self.failure_of(error);
                self.fail(&record, ProjectionState::Failed, failure).await;
                Ok(())
            }
            led => led,
        }
    }

    fn begin(&self, epoch: u64, checkpoint: Checkpoint) -> Term<P> {
        let halt = watch::Sender::new(false);
        let worker = Worker::new(
            self.journal.clone(),
            self.receivers.clone(),
            halt.subscribe(),
        );
        Term {
            epoch,
            desk: Desk::new(self.options.concurrent, self.options.waiting),
            agenda: Agenda::new(P::NAME),
            workers: JoinSet::new(),
            worker: Arc::new(worker),
            halt,
            reached: checkpoint,
            passed: Vec::new(),
            committed: checkpoint.position,
            commit_at: Instant::now() + self.options.checkpoint,
            renew_at: Instant::now() + self.options.lease / 3,
            backoff: Backoff::new((&self.owner, &self.name)),
        }
    }

    async fn lead(&mut self, term: &mut Term<P>) -> Result<(), TermEnd> {
        self.await_table(term).await?;
        let mut next_tick = Instant::now();
        // A task of its own: were it left unpolled during a tick, a lock or connection of the store
        // that it has its turn for would be kept from the tick for ever.
        let mut pages = JoinSet::new();
        self.turn_page(&mut pages, term.reached);
        let mut stop = self.stop.clone();
        loop {
            self.hand_out(term);
            tokio::select! {
                biased;
                _ = stop.changed() => return Err(TermEnd::Stopping),
                () = tokio::time::sleep_until(next_tick) => {
                    next_tick = Instant::now() + self.options.poll;
                    self.tick(term).await?;
                }
                Some(joined) = term.workers.join_next() => {
                    let (done, taken) =
                        joined.map_err(|error| ended_by_itself("work on a saga", error))?;
                    self.take_back(term, done, &taken);
                }
                Some(joined) = pages.join_next(), if !term.desk.is_full() => {
                    let page = joined.map_err(|error| ended_by_itself("read the log", error))??;
                    self.take(term, &page).await?;
                    self.turn_page(&mut pages, term.reached);
                }
            }
        }
    }

    /// Waits until the table of deadlines shows everything up to the checkpoint: what comes after
    /// is seen on the log.
    async fn await_table(&mut self, term: &mut Term<P>) -> Result<(), TermEnd> {
        let table = SagaDeadline::TABLE.name;
        loop {
            let record = self.journal.store.projection(table).await?;
            let shown = record.map_or(Position::START, |record| record.checkpoint.position);
            if shown >= term.reached.position {
                return Ok(());
            }
            self.board.update(|health| {
                health.problem = Some(format!(
                    "it waits for projection `{table}`, which is at position {shown}, to reach {}",
                    term.reached.position
                ));
            });
            self.renew(term).await?;
            tokio::select! {
                _ = self.stop.changed() => return Err(TermEnd::Stopping),
                () = tokio::time::sleep(self.options.poll) => {}
            }
        }
    }

    /// Begins to wait for the page of the log that comes after a checkpoint.
    fn turn_page(&self, pages: &mut JoinSet<Result<Following, StoreError>>, after: Checkpoint) {
        let (log, journal) = (Arc::clone(&self.log), self.journal.clone());
        pages.spawn(async move { Self::next_page(&log, &journal, after).await });
    }

    async fn next_page(
        log: &SharedLog,
        journal: &Journal,
        after: Checkpoint,
    ) -> Result<Following, StoreError> {
        loop {
            if let Some(following) = log.after(after).await? {
                return Ok(following);
            }
            journal.store.wait_beyond(after.position).await?;
        }
    }

    /// Takes in a page of the log.
    async fn take(&mut self, term: &mut Term<P>, following: &Following) -> Result<(), TermEnd> {
        let Following { page, start } = following;
        self.take_own(term, page, *start);
        if !P::Event::schemas().is_empty() {
            self.take_foreign(term, page, *start)?;
        }
        if let Some(last) = page.events().last() {
            term.reached = Checkpoint {
                position: last.position,
                event_id: Some(last.id),
            };
            term.passed.push(term.reached);
        }
        Ok(())
    }

    /// Notices what was written to the streams of these sagas, by whomever.
    fn take_own(&self, term: &mut Term<P>, page: &Page, start: usize) {
        let mut latest: BTreeMap<&str, (Version, bool)> = BTreeMap::new();
        for event in page.events().iter().skip(start) {
            let name = SagaName::of(&event.stream).filter(|name| name.saga == P::NAME);
            if let Some(SagaName { id, .. }) = name {
                let event_type = event.event_type.as_str();
                if turns(event_type) {
                    self.endings.notify(P::NAME, id);
                }
                latest.insert(id, (event.version, ends(event_type)));
            }
        }
        for (id, (version, ended)) in latest {
            if term.desk.knows(id, version) {
                continue;
            }
            match ended {
                true => term.desk.learn(id, version),
                false => term.desk.wake(id),
            }
        }
    }

    /// Finds out which sagas a page's events are for.
    fn take_foreign(&self, term: &mut Term<P>, page: &Page, start: usize) -> Result<(), TermEnd> {
        let decoded = page.decode::<P::Event>();
        let events = page.events().iter().zip(decoded.iter()).skip(start);
        for (stored, decoded) in events {
            let event = relevant(&self.name, stored, decoded, UnknownEvents::Fail);
            let Some(event) = event.map_err(TermEnd::Event)? else {
                continue;
            };
            let (id, starts) = match P::correlate(event) {
                Correlation::None => continue,
                Correlation::Start(id) => (id, true),
                Correlation::Continue(id) => (id, false),
            };
            let refuse =
                |message: String| TermEnd::Event(FoldError::event(&self.name, stored, message));
            let taken =
                ReceivedEvent::take_in(stored).map_err(|error| refuse(error.to_string()))?;
            let id = id.to_text();
            annals_core::saga::saga_stream(P::NAME, &id)
                .map_err(|error| refuse(error.to_string()))?;
            let event = Box::new(taken);
            term.desk.order(&id, Order { event, starts });
        }
        Ok(())
    }

    fn hand_out(&self, term: &mut Term<P>) {
        while let Some((id, orders)) = term.desk.next() {
            let worker = Arc::clone(&term.worker);
            let taken = orders.iter().map(|order| order.event.position).collect();
            term.workers
                .spawn(async move { (worker.work(id, orders).await, taken) });
        }
    }

    fn take_back(&self, term: &mut Term<P>, done: Done, taken: &[Position]) {
        let now = self.journal.clock.now();
        if let Some(next) = done.next {
            term.agenda.note(&done.id, next, now);
        }
        let hold_back = match &done.problem {
            None => {
                term.backoff.succeeded();
                Duration::ZERO
            }
            Some(problem) => {
                let problem = format!("saga `{}` can't go on just now: {problem}", done.id);
                self.board.update(|health| health.problem = Some(problem));
                term.backoff.failed()
            }
        };
        term.desk.done(done, taken, hold_back);
    }

    /// What is done from time to time: the lease, the checkpoint, the clock.
    async fn tick(&mut self, term: &mut Term<P>) -> Result<(), TermEnd> {
        self.renew(term).await?;
        if Instant::now() >= term.commit_at {
            self.commit(term).await?;
        }
        if !term.desk.is_full() {
            let now = self.journal.clock.now();
            let store = &*self.journal.store;
            for id in term.agenda.due(store, now, self.options.sweep).await? {
                if !term.desk.is_working_on(&id) {
                    term.desk.wake(&id);
                }
            }
        }
        term.desk.release();
        let healthy = term.backoff.failures() == 0;
        self.board.update(|health| {
            health.working = term.desk.working();
            health.waiting = term.desk.waiting();
            health.position = term.reached.position;
            if healthy {
                health.problem = None;
            }
        });
        self.backoff.succeeded();
        Ok(())
    }

    /// Keeps the lease, and notices what operators and other nodes did.
    async fn renew(&self, term: &mut Term<P>) -> Result<(), TermEnd> {
        let store = &self.journal.store;
        if Instant::now() >= term.renew_at {
            term.renew_at = Instant::now() + self.options.lease / 3;
            match store
                .claim(&self.name, &self.owner, self.options.lease)
                .await?
            {
                Claim::Held { epoch } if epoch == term.epoch => {}
                _ => return Err(TermEnd::Overtaken),
            }
        }
        let record = self.record().await?;
        if record.epoch != term.epoch || record.state != ProjectionState::Running {
            return Err(TermEnd::Overtaken);
        }
        Ok(())
    }

    /// Writes the checkpoint, up to the first event that is not taken in yet.
    async fn commit(&self, term: &mut Term<P>) -> Result<(), TermEnd> {
        term.commit_at = Instant::now() + self.options.checkpoint;
        let first_open = term.desk.first_open();
        let done = term
            .passed
            .partition_point(|passed| first_open.is_none_or(|open| passed.position < open));
        let Some(checkpoint) = term.passed.drain(..done).next_back() else {
            return Ok(());
        };
        let commit = Commit {
            projection: self.name.clone(),
            target: Target::Live,
            fence: Fence {
                epoch: term.epoch,
                checkpoint: term.committed,
            },
            rows: None,
            checkpoint,
            park: Vec::new(),
            unpark: Vec::new(),
            now: self.journal.clock.now(),
        };
        match self.journal.store.commit(commit).await {
            Ok(()) => {
                term.committed = checkpoint.position;
                Ok(())
            }
            Err(CommitError::Store(error)) => Err(error.into()),
            Err(_) => Err(TermEnd::Overtaken),
        }
    }

    /// Lets the workers finish what is under way, and gives the lease up when it is time to stop.
    async fn end(&self, mut term: Term<P>, led: &Result<(), TermEnd>) {
        term.halt.send_replace(true);
        while let Some(joined) = term.workers.join_next().await {
            if let Ok((done, taken)) = joined {
                term.desk.done(done, &taken, Duration::ZERO);
            }
        }
        if matches!(led, Err(TermEnd::Overtaken)) {
            return;
        }
        if let Err(error) = self.commit(&mut term).await {
            tracing::debug!(saga = P::NAME, %error, "the last checkpoint was not written");
        }
        if let Err(error) = self.journal.store.release(&self.name, &self.owner).await {
            tracing::debug!(saga = P::NAME, %error, "the lease runs out by itself");
        }
    }

    async fn record(&self) -> Result<ProjectionRecord, StoreError> {
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

    fn failure_of(&self, error: FoldError) -> Failure {
        let message = with_causes(&error);
        let since = self.journal.clock.now();
        match error {
            FoldError::Event {
                position,
                stream,
                event_type,
                message,
                ..
            } => Failure {
                position,
                stream: stream.to_string(),
                event_type,
                message,
                since,
            },
            _ => Failure {
                position: Position::START,
                stream: String::new(),
                event_type: String::new(),
                message,
                since,
            },
        }
    }

    async fn fail(&self, record: &ProjectionRecord, state: ProjectionState, failure: Failure) {
        let problem = failure.message.clone();
        tracing::error!(saga = P::NAME, %problem, "sagas are stopped");
        self.board.update(|health| health.problem = Some(problem));
        let fence = Fence {
            epoch: record.epoch,
            checkpoint: record.checkpoint.position,
        };
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

/// Whether an event of this type leaves nothing to do.
fn ends(event_type: &str) -> bool {
    [
        "saga.completed",
        "saga.compensated",
        "saga.failed",
        "saga.abandoned",
    ]
    .contains(&event_type)
}

/// Whether those who wait for a saga's end should look at it.
fn turns(event_type: &str) -> bool {
    ends(event_type) || event_type == "saga.stuck"
}

/// A task that did not end as it should, which only a panic brings about.
fn ended_by_itself(doing: &str, error: JoinError) -> StoreError {
    let doing = format!("{doing}: the task ended by itself");
    StoreError::new(StoreErrorKind::Other, doing).caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use annals_core::{Event as _, saga::SagaEvent};

    #[test]
    fn the_types_that_end_a_saga_are_those_of_the_events_that_do() {
        let reason = String::new;
        let all = [
            SagaEvent::Completed,
            SagaEvent::Compensated { reason: reason() },
            SagaEvent::Failed { reason: reason() },
            SagaEvent::Abandoned { reason: reason() },
            SagaEvent::Compensating { reason: reason() },
        ];
        for event in all {
            assert_eq!(ends(event.schema().name), event.ends(), "{event:?}");
        }
    }
}
