//! A term: the time during which a runner holds the lease on one kind of saga.

use std::sync::Arc;

use annals_core::{
    Checkpoint, Claim, Commit, CommitError, Failure, Fence, Position, ProjectionState,
    ReadModel as _, StoreError, StoreErrorKind, Target, saga::ProcessManager,
};
use tokio::{
    sync::watch,
    task::{JoinError, JoinSet},
    time::Instant,
};

use super::{
    agenda::Agenda,
    desk::Desk,
    read_models::SagaDeadline,
    runner::Runner,
    trail::Trail,
    worker::{Done, Worker},
};

/// What a runner knows while it holds the lease.
pub(super) struct Term<P> {
    pub(super) epoch: u64,
    pub(super) desk: Desk,
    pub(super) agenda: Agenda,
    pub(super) workers: JoinSet<Done>,
    pub(super) worker: Arc<Worker<P>>,
    pub(super) halt: watch::Sender<bool>,
    /// Up to where the log has been taken in.
    pub(super) reached: Checkpoint,
    pub(super) trail: Trail,
    /// The checkpoint that was written last.
    pub(super) committed: Position,
    pub(super) commit_at: Instant,
    pub(super) renew_at: Instant,
}

impl<P> Term<P> {
    /// What lets this term, as it stands, write to the runner's record.
    pub(super) fn fence(&self) -> Fence {
        Fence {
            epoch: self.epoch,
            checkpoint: self.committed,
        }
    }
}

/// Why a term ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum TermEnd {
    #[error("it is time to stop")]
    Stopping,
    #[error("somebody else has taken over")]
    Overtaken,
    /// An event can't be taken in.
    #[error("{}", .0.message)]
    Event(Box<Failure>),
    #[error("{0}")]
    Panicked(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl<P: ProcessManager> Runner<P> {
    /// Runs the sagas until something ends the term.
    pub(super) async fn lead(&mut self, term: &mut Term<P>) -> Result<(), TermEnd> {
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
                    self.tick(term).await?;
                    // Counted from its end: a tick that takes long would else come first always.
                    next_tick = Instant::now() + self.options.poll;
                }
                Some(joined) = term.workers.join_next() => {
                    let done = joined.map_err(|error| ended_by_itself("work on a saga", error))?;
                    self.take_back(term, done);
                }
                Some(joined) = pages.join_next(), if !term.desk.is_full() => {
                    let page = joined.map_err(|error| ended_by_itself("read the log", error))??;
                    self.take(term, &page)?;
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
                biased;
                _ = self.stop.changed() => return Err(TermEnd::Stopping),
                () = tokio::time::sleep(self.options.poll) => {}
            }
        }
    }

    fn hand_out(&self, term: &mut Term<P>) {
        while let Some(job) = term.desk.next() {
            let worker = Arc::clone(&term.worker);
            term.workers.spawn(async move { worker.work(job).await });
        }
    }

    fn take_back(&self, term: &mut Term<P>, done: Done) {
        let now = self.journal.clock.now();
        // What is in trouble is tried again, whatever it has to do.
        if let Some(next) = done.next.filter(|_| done.problem.is_none()) {
            term.agenda.note(&done.id, next, now);
        }
        term.desk.done(done);
    }

    /// What is done from time to time: the lease, the checkpoint, the clock.
    async fn tick(&mut self, term: &mut Term<P>) -> Result<(), TermEnd> {
        self.renew(term).await?;
        term.desk.close_taken_in();
        if Instant::now() >= term.commit_at {
            self.commit(term).await?;
        }
        if term.desk.looks_again() {
            term.agenda.look_again();
        }
        if !term.desk.is_overloaded() {
            let now = self.journal.clock.now();
            let store = &*self.journal.store;
            for id in term.agenda.due(store, now, self.options.sweep).await? {
                if !term.desk.is_working_on(&id) {
                    term.desk.wake(&id);
                }
            }
        }
        term.desk.release();
        self.board.update(|health| {
            health.working = term.desk.working();
            health.waiting = term.desk.waiting();
            health.position = term.reached.position;
            let problem = term.desk.problem();
            health.problem = problem.or_else(|| term.agenda.lag());
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
    pub(super) async fn commit(&self, term: &mut Term<P>) -> Result<(), TermEnd> {
        term.commit_at = Instant::now() + self.options.checkpoint;
        let Some(checkpoint) = term.trail.take_before(term.desk.first_open()) else {
            return Ok(());
        };
        let commit = Commit {
            projection: self.name.clone(),
            target: Target::Live,
            fence: term.fence(),
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
}

/// A task that did not end as it should, which only a panic brings about.
fn ended_by_itself(doing: &str, error: JoinError) -> StoreError {
    let doing = format!("{doing}: the task ended by itself");
    StoreError::new(StoreErrorKind::Other, doing).caused_by(error)
}
