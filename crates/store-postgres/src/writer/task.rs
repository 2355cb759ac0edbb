//! The task itself: takes jobs, groups appends, and survives what goes wrong.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use annals_core::{
    Append, AppendError, Appended, Position, StoreError, StoreErrorKind, admission::Decided,
};
use futures_util::FutureExt as _;
use tokio::{sync::mpsc, task::JoinHandle, time::Instant};

use super::{
    Job, Request,
    commit::{self, DOING, Outcomes},
    connection::Link,
    heads::Heads,
};
use crate::{projections::inline::Installed, tail::Tail};

/// The most appends in one transaction.
const MAX_APPENDS: usize = 1024;
/// With so many waiting a batch begins at once: the server works on it while the callers of the
/// last one make their next appends.
const ENOUGH: usize = 4;
/// So many callers are answered by a task of their own. Fewer make their next appends in the time it
/// takes to answer them, which then are in the next batch; that counts for more where it is small.
const MANY: usize = 16;
/// How often the callers of the last batch get a turn before the next one where others append as
/// well: when they do so all the time, it waits for the append lock anyway, and its size is what counts.
const TURNS_AMONG_OTHERS: usize = 2;
/// A batch takes no further append once it has so many events.
const MAX_EVENTS: usize = 8192;
/// A batch takes no further append once its payloads come to this much.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// What the task works with.
pub(crate) struct Writer {
    pub(super) link: Link,
    pub(super) heads: Heads,
    pub(super) tail: Arc<Tail>,
    pub(super) notify: bool,
    pub(super) lock_timeout: Duration,
    /// Whether a batch may be one statement. It is prepared, and a pooler that gives out
    /// connections by transaction has it prepared anywhere.
    pub(super) at_once: bool,
    /// Until when that is not tried again, since it came to nothing.
    pub(super) not_at_once: Option<Instant>,
    /// Whether the last batch stands right after the one before it, with nobody else's between.
    alone: bool,
    installed: Arc<RwLock<Vec<Installed>>>,
    /// Answers the callers of the last batch, and ends after those of the batches before it.
    answering: Option<JoinHandle<()>>,
}

impl Writer {
    pub(crate) fn new(
        link: Link,
        installed: Arc<RwLock<Vec<Installed>>>,
        tail: Arc<Tail>,
        options: &crate::PostgresOptions,
    ) -> Self {
        Self {
            link,
            heads: Heads::default(),
            tail,
            notify: options.notifications,
            lock_timeout: options.lock_timeout,
            at_once: !options.transaction_pooling,
            not_at_once: None,
            alone: true,
            installed,
            answering: None,
        }
    }

    /// Works until the store is closed and everything accepted is done.
    pub(crate) async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut closing = Vec::new();
        let mut next = None;
        loop {
            let job = match next.take() {
                Some(job) => Some(job),
                None => jobs.recv().await,
            };
            match job {
                Some(Job::Append(first)) => {
                    self.give_turns(jobs.len()).await;
                    let (batch, other) = gather(first, &mut jobs);
                    next = other;
                    let outcome = AssertUnwindSafe(self.append(batch)).catch_unwind().await;
                    if outcome.is_err() {
                        // What the batch was in the middle of went with its connection.
                        tracing::error!("an append panicked; its transaction was rolled back");
                    }
                }
                Some(Job::Close(reply)) => {
                    // What is in the queue already has been accepted.
                    jobs.close();
                    closing.push(reply);
                }
                None => break,
            }
        }
        self.link.close().await;
        if let Some(answering) = self.answering {
            answering.await.ok();
        }
        drop(closing);
    }

    /// The projections that are part of every append by now.
    pub(super) fn installed(&self) -> Vec<Installed> {
        let installed = self.installed.read();
        installed.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Remembers where the batch's streams will be once it has committed. If it does not, its
    /// last event is missed, and everything is forgotten.
    ///
    /// The first event comes after position `before`.
    pub(super) fn learn(&mut self, decided: &Decided<'_>, before: Position) {
        self.alone = before == self.heads.known();
        for row in &decided.placed {
            self.heads.learn(row.stream, row.version);
        }
        if let Some(last) = decided.placed.last() {
            let count = decided.placed.len() as u64;
            let head = Position::new(before.get().saturating_add(count));
            self.heads.ends_with(head, last.event.id.uuid());
        }
    }

    /// Lets callers that were just answered come back with their next appends, unless enough wait.
    async fn give_turns(&self, waiting: usize) {
        let turns = match self.alone {
            true if waiting < ENOUGH => 1,
            false if waiting < MAX_APPENDS => TURNS_AMONG_OTHERS,
            _ => 0,
        };
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
    }

    #[tracing::instrument(name = "annals.append", skip_all, fields(appends = batch.len()))]
    async fn append(&mut self, batch: Vec<Request>) {
        let appends: Vec<_> = batch.iter().map(|request| &request.append).collect();
        let outcomes = self.decide_all(&appends).await;
        if batch.len() < MANY || !self.alone {
            answer(batch, outcomes);
        } else {
            // The server has nothing to do until it gets the next batch, so it gets it first.
            let before = self.answering.take();
            self.answering = Some(tokio::spawn(async {
                if let Some(before) = before {
                    before.await.ok();
                }
                answer(batch, outcomes);
            }));
        }
    }

    async fn decide_all(&mut self, appends: &[&Append]) -> Outcomes {
        match commit::batch(self, appends).await {
            Ok(outcomes) => outcomes,
            Err(commit::Failed::Refused(_)) if appends.len() > 1 => {
                // One by one, so that only the culprit fails.
                let mut outcomes = Vec::with_capacity(appends.len());
                for append in appends {
                    outcomes.push(self.decide_one(append).await);
                }
                outcomes
            }
            Err(failure) => appends.iter().map(|_| Err(failure.for_one())).collect(),
        }
    }

    async fn decide_one(&mut self, append: &Append) -> Result<Appended, AppendError> {
        let mut outcomes = commit::batch(self, &[append])
            .await
            .map_err(|failure| failure.for_one())?;
        outcomes.pop().unwrap_or_else(|| {
            let error = StoreError::new(StoreErrorKind::Other, DOING);
            Err(error.caused_by("the append was not decided").into())
        })
    }
}

/// Tells each caller what became of its append.
fn answer(batch: Vec<Request>, outcomes: Outcomes) {
    for (request, outcome) in batch.into_iter().zip(outcomes) {
        // Whoever asked may have gone away; the append is done all the same.
        request.reply.send(outcome).ok();
    }
}

/// The appends that wait in the queue, as many as make one transaction, and a job of another
/// kind that ended the batch.
fn gather(first: Request, jobs: &mut mpsc::Receiver<Job>) -> (Vec<Request>, Option<Job>) {
    let mut events = first.append.event_count();
    let mut bytes = payload_bytes(&first);
    let mut batch = vec![first];
    while batch.len() < MAX_APPENDS && events < MAX_EVENTS && bytes < MAX_BYTES {
        match jobs.try_recv() {
            Ok(Job::Append(request)) => {
                events = events.saturating_add(request.append.event_count());
                bytes = bytes.saturating_add(payload_bytes(&request));
                batch.push(request);
            }
            Ok(other) => return (batch, Some(other)),
            Err(_) => break,
        }
    }
    (batch, None)
}

fn payload_bytes(request: &Request) -> usize {
    let events = request.append.writes.iter().flat_map(|write| &write.events);
    events.map(|event| event.payload.len()).sum()
}
