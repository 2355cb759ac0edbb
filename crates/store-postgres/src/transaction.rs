//! Work on pooled connections, out of reach of the caller's cancellation.
//!
//! A future of sqlx that is dropped half-way can leave a pooled connection in a transaction, into
//! which later work of others would fall. All work therefore runs in tasks of its own, which end
//! whether or not somebody still waits; and a connection whose transaction did not end cleanly is
//! closed instead of going back to the pool.

use std::{sync::Arc, time::Duration};

use annals_core::{StoreError, StoreErrorKind};
use futures_util::future::BoxFuture;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool, Postgres, pool::PoolConnection};
use tracing::Instrument as _;

use crate::{
    PostgresOptions,
    error::{failed, is_read_only},
    retry::{Attempts, Failure},
    sql::Sql,
};

/// An open transaction, or a connection to read from, with the statements that fit its store.
#[derive(Debug)]
pub(crate) struct Session<'c> {
    pub(crate) conn: &'c mut PgConnection,
    pub(crate) sql: &'c Sql,
}

/// What the work of a store is done with.
#[derive(Debug)]
pub(crate) struct Connections {
    pub(crate) pool: PgPool,
    pub(crate) sql: Sql,
    /// Begins a transaction that writes.
    begin: Arc<str>,
    /// Begins a transaction that reads; none where single statements need no transaction.
    begin_reading: Option<&'static str>,
}

const FORGET: &str = "; DEALLOCATE ALL";

/// How a transaction that writes begins, but for its end.
///
/// The isolation level is part of the design: what is read after a lock was taken must be what
/// is there then. A process that stalls in a transaction loses it, and its locks, after a while.
/// A server that acknowledges commits before they are durable is told not to.
///
/// Behind a pooler that gives out connections by transaction, the server's session may have
/// prepared statements of other clients, under the names that sqlx is about to use: they go.
pub(crate) fn begin_text(options: &PostgresOptions) -> String {
    // Zero would mean no time-out at all.
    let millis = |time: Duration| time.as_millis().clamp(1, i32::MAX as u128);
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

impl Connections {
    pub(crate) fn new(pool: PgPool, sql: Sql, begin: &str, transaction_pooling: bool) -> Self {
        Self {
            pool,
            sql,
            begin: begin.into(),
            begin_reading: transaction_pooling
                .then_some("BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; DEALLOCATE ALL"),
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
        let this = Arc::clone(self);
        run(doing, async move {
            let mut attempts = Attempts::default();
            loop {
                match this.attempt(doing, Some(&this.begin), &input, &work).await {
                    Err(Undone::Before(error)) => {
                        let transient = match error.store_error() {
                            Some(error) => attempts.go_on_after(error).await,
                            None => false,
                        };
                        if !transient {
                            return Err(error);
                        }
                    }
                    Err(Undone::AtCommit(error)) => return Err(error.into()),
                    Ok(value) => return Ok(value),
                }
            }
        })
        .await
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
            loop {
                let begin = this.begin_reading;
                let error = match this.attempt(doing, begin, &input, &work).await {
                    Ok(value) => return Ok(value),
                    Err(Undone::Before(error)) => error,
                    Err(Undone::AtCommit(error)) => error.into(),
                };
                let transient = match error.store_error() {
                    Some(error) => attempts.go_on_after(error).await,
                    None => false,
                };
                if !transient {
                    return Err(error);
                }
            }
        })
        .await
    }

    /// Does the work once, in a transaction if there is a statement to begin one.
    async fn attempt<I, T, E, W>(
        &self,
        doing: &'static str,
        begin: Option<&str>,
        input: &I,
        work: &W,
    ) -> Result<T, Undone<E>>
    where
        E: Failure,
        W: for<'a, 'c> Fn(&'a mut Session<'c>, &'a I) -> BoxFuture<'a, Result<T, E>>,
    {
        let before = |error| Undone::Before(E::from(failed(doing)(error)));
        let mut lent = Lent(Some(self.pool.acquire().await.map_err(before)?));
        let Some(conn) = lent.0.as_deref_mut() else {
            return Err(before(sqlx::Error::PoolClosed));
        };
        let sql = &self.sql;
        let Some(begin) = begin else {
            let value = work(&mut Session { conn, sql }, input).await;
            let value = value.map_err(Undone::Before)?;
            lent.give_back();
            return Ok(value);
        };
        let begin = AssertSqlSafe(begin);
        let mut transaction = conn.begin_with(begin).await.map_err(before)?;
        let conn = &mut *transaction;
        let result = work(&mut Session { conn, sql }, input).await;
        match result {
            Ok(value) => {
                let committed = transaction.commit().await;
                committed.map_err(|error| Undone::AtCommit(failed(doing)(error)))?;
                lent.give_back();
                Ok(value)
            }
            Err(error) => {
                let elsewhere = error.store_error().is_some_and(is_read_only);
                // A connection that can't even roll back is closed, which does it as well.
                if transaction.rollback().await.is_ok() && !elsewhere {
                    lent.give_back();
                }
                Err(Undone::Before(error))
            }
        }
    }
}

/// Why an attempt came to nothing.
enum Undone<E> {
    /// Nothing was committed.
    Before(E),
    /// The commit failed, and nobody knows how far it came.
    AtCommit(StoreError),
}

/// A pooled connection that is closed unless it is given back.
struct Lent(Option<PoolConnection<Postgres>>);

impl Lent {
    fn give_back(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(conn) = self.0.take() {
            // The server undoes what a closed connection was in the middle of.
            drop(conn.detach());
        }
    }
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
