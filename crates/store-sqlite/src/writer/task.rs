//! The task itself: takes jobs, groups appends, and survives what goes wrong.

use std::{collections::VecDeque, panic::AssertUnwindSafe, sync::Arc};

use annals_core::{AppendError, StoreError};
use futures_util::FutureExt as _;
use sqlx::{Connection as _, SqliteConnection, SqlitePool, sqlite::SqliteRow};
use tokio::sync::mpsc;

use super::{Done, Job, Request, Work, commit};
use crate::{
    append::{self, Outcomes},
    error::failed_on_own,
    projections::inline::Installed,
    sql,
    tail::Tail,
    transaction::{self, Beginning, Connector},
};

/// The most appends in one transaction.
const MAX_APPENDS: usize = 1024;
/// A batch takes no further append once its payloads come to this much.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// What the task works with.
pub(crate) struct Writer {
    pub(super) connector: Connector,
    /// None after a connection was given up.
    pub(super) conn: Option<SqliteConnection>,
    readers: SqlitePool,
    pub(super) installed: Vec<Installed>,
    pub(super) tail: Arc<Tail>,
}

impl Writer {
    pub(crate) fn new(
        connector: Connector,
        conn: SqliteConnection,
        readers: SqlitePool,
        tail: Arc<Tail>,
    ) -> Self {
        Self {
            connector,
            conn: Some(conn),
            readers,
            installed: Vec::new(),
            tail,
        }
    }

    /// Works until the store is closed and everything accepted is done.
    pub(crate) async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut closing = Vec::new();
        let mut waiting = VecDeque::new();
        loop {
            let job = match waiting.pop_front() {
                Some(job) => job,
                None => match jobs.recv().await {
                    Some(job) => job,
                    None => break,
                },
            };
            match job {
                Job::Append(first) => {
                    let batch = gather(first, &mut jobs, &mut waiting).await;
                    let outcome = AssertUnwindSafe(self.append(batch)).catch_unwind().await;
                    self.survive(outcome);
                }
                Job::Import(import) => {
                    let outcome = AssertUnwindSafe(self.import(import)).catch_unwind().await;
                    self.survive(outcome);
                }
                Job::Work(work) => {
                    let outcome = AssertUnwindSafe(self.work(*work)).catch_unwind().await;
                    self.survive(outcome);
                }
                Job::Close(reply) => {
                    // What is in the queue already has been accepted.
                    jobs.close();
                    closing.push(reply);
                }
            }
        }
        // Only the last connection to leave can empty the write-ahead log, and readers can't.
        self.readers.close().await;
        if let Some(conn) = self.conn.take()
            && let Err(error) = conn.close().await
        {
            tracing::warn!(%error, "the store's file did not close cleanly");
        }
        self.tail.close();
        drop(closing);
    }

    /// After a job that panicked, goes on with a new connection.
    fn survive(&mut self, outcome: std::thread::Result<()>) {
        if outcome.is_err() {
            // Closing the connection undoes whatever the job was in the middle of.
            self.conn = None;
            tracing::error!("a write job panicked; its transaction was rolled back");
        }
    }

    #[tracing::instrument(name = "annals.append", skip_all, fields(appends = batch.len()))]
    async fn append(&mut self, batch: Vec<Request>) {
        let (appends, replies): (Vec<_>, Vec<_>) = batch
            .into_iter()
            .map(|request| (request.append, request.reply))
            .unzip();
        let appends: Vec<_> = appends.iter().collect();
        let outcomes = self.decide_all(&appends).await;
        for (reply, outcome) in replies.into_iter().zip(outcomes) {
            // Whoever asked may have gone away; the append is done all the same.
            reply.send(outcome).ok();
        }
    }

    async fn decide_all(&mut self, appends: &[&annals_core::Append]) -> Outcomes {
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

    async fn decide_one(
        &mut self,
        append: &annals_core::Append,
    ) -> Result<annals_core::Appended, AppendError> {
        let mut outcomes = commit::batch(self, &[append])
            .await
            .map_err(|failure| failure.for_one())?;
        outcomes.pop().unwrap_or_else(|| {
            let error = StoreError::new(annals_core::StoreErrorKind::Other, append::DOING);
            Err(error.caused_by("the append was not decided").into())
        })
    }

    #[tracing::instrument(name = "annals.write", skip_all, fields(doing = work.doing))]
    async fn work(&mut self, work: Work) {
        let Work {
            doing,
            install,
            run,
        } = work;
        let conn = match self.begin(doing).await {
            Ok(conn) => conn,
            Err(error) => {
                let Done { settle, .. } = run(Err(error)).await;
                return settle(Ok(()));
            }
        };
        let Done { commit, settle } = run(Ok(conn)).await;
        if !commit {
            self.roll_back().await;
            return settle(Ok(()));
        }
        let committed = self.commit(doing).await;
        if committed.is_ok()
            && let Some(projection) = install
        {
            let name = &projection.spec().name;
            self.installed.retain(|other| other.spec().name != *name);
            self.installed.push(projection);
        }
        settle(committed);
    }

    /// Begins a write transaction, on a new connection if the last one was given up.
    pub(super) async fn begin(&mut self, doing: &str) -> Result<&mut SqliteConnection, StoreError> {
        let (conn, _) = self.begin_with(doing, &Beginning::default()).await?;
        Ok(conn)
    }

    /// The same, and answers the row that the transaction begins with.
    pub(super) async fn begin_with(
        &mut self,
        doing: &str,
        beginning: &Beginning,
    ) -> Result<(&mut SqliteConnection, Option<SqliteRow>), StoreError> {
        let known = self.conn.take();
        let fresh = known.is_none();
        let mut conn = match known {
            Some(conn) => conn,
            None => self
                .connector
                .connect()
                .await
                .map_err(failed_on_own(doing))?,
        };
        let row = transaction::begin_with(&mut conn, beginning, self.connector.busy_timeout)
            .await
            .map_err(failed_on_own(doing))?;
        if fresh {
            // SQLite connects even if it can't write, and then never can: such a connection is
            // not kept, so that the next one is made when the disk may be well again.
            sqlx::query(sql::CHECK_WRITABLE)
                .execute(&mut conn)
                .await
                .map_err(failed_on_own(doing))?;
        }
        Ok((self.conn.insert(conn), row))
    }

    /// Commits; after an error the connection is given up, which undoes what was not committed.
    pub(super) async fn commit(&mut self, doing: &str) -> Result<(), StoreError> {
        let Some(conn) = self.conn.as_mut() else {
            return Ok(());
        };
        let committed = transaction::commit(conn)
            .await
            .map_err(failed_on_own(doing));
        if committed.is_err() {
            self.give_up().await;
        }
        committed
    }

    /// Rolls back, by giving up the connection if need be.
    pub(super) async fn roll_back(&mut self) {
        let Some(conn) = self.conn.as_mut() else {
            return;
        };
        // SQLite rolls back by itself after some errors, and then there is nothing to undo.
        if transaction::roll_back(conn).await.is_err() {
            self.give_up().await;
        }
    }

    pub(super) async fn give_up(&mut self) {
        if let Some(conn) = self.conn.take()
            && let Err(error) = conn.close_hard().await
        {
            tracing::warn!(%error, "a broken connection did not close cleanly");
        }
    }
}

/// The appends that wait in the queue, as many as make one transaction. A job of another kind
/// ends the batch and waits for its turn.
async fn gather(
    first: Request,
    jobs: &mut mpsc::Receiver<Job>,
    waiting: &mut VecDeque<Job>,
) -> Vec<Request> {
    // Callers that were just answered get the chance to come back with their next append.
    tokio::task::yield_now().await;
    let mut bytes = payload_bytes(&first);
    let mut batch = vec![first];
    while batch.len() < MAX_APPENDS && bytes < MAX_BYTES {
        match jobs.try_recv() {
            Ok(Job::Append(request)) => {
                bytes = bytes.saturating_add(payload_bytes(&request));
                batch.push(request);
            }
            Ok(other) => {
                waiting.push_back(other);
                break;
            }
            Err(_) => break,
        }
    }
    batch
}

fn payload_bytes(request: &Request) -> usize {
    let events = request.append.writes.iter().flat_map(|write| &write.events);
    events.map(|event| event.payload.len()).sum()
}
