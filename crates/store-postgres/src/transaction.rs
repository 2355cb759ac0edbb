//! Work on pooled connections, out of reach of the caller's cancellation.
//!
//! A future of sqlx that is dropped half-way can leave a pooled connection in a transaction, into
//! which later work of others would fall. All work therefore runs in tasks of its own, which end
//! whether or not somebody still waits; and a connection whose transaction did not end cleanly is
//! closed instead of going back to the pool.

use std::{sync::Arc, time::Duration};

use annals_core::{StoreError, StoreErrorKind};
use futures_util::future::BoxFuture;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::time::timeout;
use tracing::Instrument as _;

use crate::{
    PostgresOptions,
    error::{failed, is_read_only, silent},
    pool::Pool,
    pulse::Pulse,
    retry::{Attempts, Failure},
    sql::Sql,
};

/// How long the server may take for one answer that waits for nobody's lock.
const ANSWER: Duration = Duration::from_secs(10);
/// How long it may take for a commit, and for what a transaction does between two signs of life
/// besides waiting for a lock.
const PATIENCE: Duration = Duration::from_secs(30);

/// An open transaction, or a connection to read from, with the statements that fit its store.
#[derive(Debug)]
pub(crate) struct Session<'c> {
    pub(crate) conn: &'c mut PgConnection,
    pub(crate) sql: &'c Sql,
    /// Whatever takes long says here that it gets on, or it is given up.
    pub(crate) pulse: &'c Pulse,
}

/// What the work of a store is done with.
#[derive(Debug)]
pub(crate) struct Connections {
    pub(crate) pool: Pool,
    pub(crate) sql: Sql,
    lock_timeout: Duration,
    /// Begins a transaction that writes.
    begin: Arc<str>,
    /// Begins a transaction that reads; none where single statements need no transaction.
    begin_reading: Option<&'static str>,
}

const FORGET: &str = "; DEALLOCATE ALL";
/// How a read begins behind a pooler that gives out connections by transaction. It waits no longer
/// for a lock than for an answer.
const BEGIN_READING: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; DEALLOCATE ALL; \
    SET LOCAL lock_timeout = '9s'; SET LOCAL idle_in_transaction_session_timeout = '10s'";

/// How a transaction that writes begins, but for its end.
///
/// The isolation level is part of the design: what is read after a lock was taken must be what
/// is there then. A process that stalls in a transaction loses it, and its locks, after a while.
/// A server that acknowledges commits before they are durable is told not to.
///
/// Behind a pooler that gives out connections by transaction, the server's session may have
/// prepared statements of other clients, under the names that sqlx is about to use: they go.
pub(crate) fn begin_text(options: &PostgresOptions) -> String {
    format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = {}; \
         SET LOCAL idle_in_transaction_session_timeout = {}; \
         SELECT set_config('synchronous_commit', 'on', true) \
         WHERE current_setting('synchronous_commit') = 'off'{}",
        millis(options.lock_timeout),
        millis(options.stall_timeout),
        if options.transaction_pooling {
            FORGET
        } else {
            ""
        },
    )
}

/// A time-out as the server reads it, which takes zero for none at all.
pub(crate) fn millis(time: Duration) -> u128 {
    time.as_millis().clamp(1, i32::MAX as u128)
}

impl Connections {
    pub(crate) fn new(pool: Pool, sql: Sql, begin: &str, options: &PostgresOptions) -> Self {
        Self {
            pool,
            sql,
            lock_timeout: options.lock_timeout,
            begin: begin.into(),
            begin_reading: options.transaction_pooling.then_some(BEGIN_READING),
        }
    }

    /// Runs `work` in a write transaction of its own: committed when it succeeds, rolled back
    /// when it fails. Once begun it runs to its end, even if the caller goes away.
    ///
    /// `work` gets a session and `input`. It may run several times, each time in a new
    /// transaction, because transient failures are tried again; never after a commit was
    /// attempted. `doing` says what it does, as a fragment that fits "failed to ...".
    ///
    /// # Errors
    /// What `work` answers, or the store's error when it can't begin or commit.
    pub(crate) async fn transaction<I, T, E, W>(
        self: &Arc<Self>,
        doing: &'static str,
        input: I,
        work: W,
    ) -> Result<T, E>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
        E: Failure,
        W: for<'a, 'c> Fn(&'a mut Session<'c>, &'a I) -> BoxFuture<'a, Result<T, E>>
            + Send
            + Sync
            + 'static,
    {
        let done = self.outcome(doing, input, work).await;
        done.map_err(Undone::into_error)
    }

    /// As [`transaction`](Self::transaction), for whoever can find out what came of a commit that
    /// failed.
    ///
    /// # Errors
    /// [`Undone::AtCommit`] with what `work` answered, when nobody knows whether it was committed.
    pub(crate) async fn outcome<I, T, E, W>(
        self: &Arc<Self>,
        doing: &'static str,
        input: I,
        work: W,
    ) -> Result<T, Undone<T, E>>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
        E: Failure,
        W: for<'a, 'c> Fn(&'a mut Session<'c>, &'a I) -> BoxFuture<'a, Result<T, E>>
            + Send
            + Sync
            + 'static,
    {
        let this = Arc::clone(self);
        let task = async move {
            let mut attempts = Attempts::default();
            let how = How {
                begin: Some(&this.begin),
                patience: this.lock_timeout.saturating_add(PATIENCE),
            };
            loop {
                let error = match this.attempt(doing, how, &input, &work).await {
                    Err(Undone::Before(error)) => error,
                    done => return Ok(done),
                };
                if !attempts.go_on_after(&error).await {
                    return Ok(Err(Undone::Before(error)));
                }
            }
        };
        run(doing, task).await.map_err(Undone::Before)?
    }

    /// Runs `work`, which only reads, as [`transaction`](Self::transaction) does what writes.
    ///
    /// # Errors
    /// What `work` answers, or the store's error when there is no connection.
    pub(crate) async fn read<I, T, E, W>(
        self: &Arc<Self>,
        doing: &'static str,
        input: I,
        work: W,
    ) -> Result<T, E>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
        E: Failure,
        W: for<'a, 'c> Fn(&'a mut Session<'c>, &'a I) -> BoxFuture<'a, Result<T, E>>
            + Send
            + Sync
            + 'static,
    {
        let this = Arc::clone(self);
        run(doing, async move {
            let mut attempts = Attempts::default();
            let how = How {
                begin: this.begin_reading,
                patience: ANSWER,
            };
            loop {
                let error = match this.attempt(doing, how, &input, &work).await {
                    Ok(value) => return Ok(value),
                    Err(undone) => undone.into_error(),
                };
                if !attempts.go_on_after(&error).await {
                    return Err(error);
                }
            }
        })
        .await
    }

    /// Does the work once, in a transaction if there is a statement to begin one. The connection is
    /// closed unless all ends cleanly, and the server undoes what it was in the middle of.
    async fn attempt<I, T, E, W>(
        &self,
        doing: &'static str,
        how: How<'_>,
        input: &I,
        work: &W,
    ) -> Result<T, Undone<T, E>>
    where
        E: Failure,
        W: for<'a, 'c> Fn(&'a mut Session<'c>, &'a I) -> BoxFuture<'a, Result<T, E>>,
    {
        let before = |error: StoreError| Undone::Before(E::from(error));
        let mut lent = self.pool.take(doing).await.map_err(before)?;
        let (sql, pulse) = (&self.sql, &Pulse::default());
        let Some(begin) = how.begin else {
            let conn = &mut lent.conn;
            let mut session = Session { conn, sql, pulse };
            let value = pulse.watch(how.patience, work(&mut session, input)).await;
            let value = value.ok_or_else(|| before(silent(doing)))?;
            let value = value.map_err(Undone::Before)?;
            self.pool.give_back(lent);
            return Ok(value);
        };
        let begun = lent.conn.begin_with(AssertSqlSafe(begin));
        let begun = in_time(doing, ANSWER, begun).await;
        let mut transaction = begun.map_err(before)?;
        let conn = &mut *transaction;
        let mut session = Session { conn, sql, pulse };
        let result = pulse.watch(how.patience, work(&mut session, input)).await;
        match result.ok_or_else(|| before(silent(doing)))? {
            Ok(value) => match in_time(doing, PATIENCE, transaction.commit()).await {
                Ok(()) => {
                    self.pool.give_back(lent);
                    Ok(value)
                }
                Err(error) => Err(Undone::AtCommit(error, value)),
            },
            Err(error) => {
                let elsewhere = error.store_error().is_some_and(is_read_only);
                // A connection that can't even roll back is closed, which does it as well.
                let rolled_back = in_time(doing, ANSWER, transaction.rollback()).await;
                if rolled_back.is_ok() && !elsewhere {
                    self.pool.give_back(lent);
                }
                Err(Undone::Before(error))
            }
        }
    }
}

/// How an attempt is made.
#[derive(Clone, Copy, Debug)]
struct How<'a> {
    /// Begins a transaction, unless none is needed.
    begin: Option<&'a str>,
    /// How long the work may show no sign of life.
    patience: Duration,
}

/// Why an attempt came to nothing.
pub(crate) enum Undone<T, E> {
    /// Nothing was committed.
    Before(E),
    /// The commit failed, and nobody knows how far it came, nor whether the value is true.
    AtCommit(StoreError, T),
}

impl<T, E: From<StoreError>> Undone<T, E> {
    pub(crate) fn into_error(self) -> E {
        match self {
            Self::Before(error) => error,
            Self::AtCommit(error, _) => error.into(),
        }
    }
}

/// Waits for the server's answer, but not for ever: a host that dies says nothing any more.
async fn in_time<T>(
    doing: &'static str,
    time: Duration,
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, StoreError> {
    let answered = timeout(time, answer).await;
    answered.map_err(|_| silent(doing))?.map_err(failed(doing))
}

/// Runs something to its end, whether or not the caller still waits.
async fn run<T, E>(
    doing: &'static str,
    work: impl Future<Output = Result<T, E>> + Send + 'static,
) -> Result<T, E>
where
    T: Send + 'static,
    E: Failure,
{
    let task = tokio::spawn(work.in_current_span());
    task.await.unwrap_or_else(|_| {
        let error = StoreError::new(StoreErrorKind::Other, doing);
        Err(error
            .caused_by("the work panicked; its transaction was rolled back")
            .into())
    })
}
