//! Write transactions, and waiting for other processes to end theirs.

use std::{future::Future, time::Duration};

use annals_core::StoreErrorKind;
use sqlx::{
    ConnectOptions as _, SqliteConnection,
    sqlite::{SqliteArguments, SqliteConnectOptions, SqliteRow},
};
use tokio::time::{Instant, sleep};

use crate::error::kind_of;

/// How the writer connects, at first and after a connection was given up.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    pub(crate) options: SqliteConnectOptions,
    pub(crate) busy_timeout: Duration,
}

impl Connector {
    pub(crate) async fn connect(&self) -> Result<SqliteConnection, sqlx::Error> {
        patiently(self.busy_timeout, || self.options.connect()).await
    }
}

/// What begins a write transaction, and reads what it needs at once.
pub(crate) struct Beginning {
    /// `BEGIN IMMEDIATE`, and perhaps a statement that answers a row.
    pub(crate) sql: &'static str,
    pub(crate) binds: SqliteArguments,
}

impl Default for Beginning {
    fn default() -> Self {
        Self {
            sql: "BEGIN IMMEDIATE",
            binds: SqliteArguments::default(),
        }
    }
}

/// Begins a write transaction, waiting for that of another process to end.
///
/// The three steps are plain statements, not sqlx's guard, whose loan of the connection would
/// outlive a failed attempt. What runs within must use savepoints for transactions of its own.
pub(crate) async fn begin(
    conn: &mut SqliteConnection,
    busy_timeout: Duration,
) -> Result<(), sqlx::Error> {
    begin_with(conn, &Beginning::default(), busy_timeout)
        .await
        .map(drop)
}

/// Begins a write transaction and answers the row that it begins with. After an error other than
/// that of a time-out nobody knows whether it has begun.
pub(crate) async fn begin_with(
    conn: &mut SqliteConnection,
    beginning: &Beginning,
    busy_timeout: Duration,
) -> Result<Option<SqliteRow>, sqlx::Error> {
    let mut wait = Wait::new(busy_timeout);
    loop {
        let query = sqlx::query_with(beginning.sql, beginning.binds.clone());
        match query.fetch_optional(&mut *conn).await {
            Err(error) if kind_of(&error) == StoreErrorKind::Busy && wait.goes_on().await => {}
            result => return result,
        }
    }
}

/// Commits; after an error the connection is to be given up.
pub(crate) async fn commit(conn: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    run(conn, "COMMIT").await
}

/// Rolls back; after an error the connection is to be given up.
pub(crate) async fn roll_back(conn: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    run(conn, "ROLLBACK").await
}

async fn run(conn: &mut SqliteConnection, statement: &'static str) -> Result<(), sqlx::Error> {
    sqlx::query(statement).execute(conn).await.map(drop)
}

/// Does something again and again while others hold a lock that it needs.
pub(crate) async fn patiently<T, F>(
    busy_timeout: Duration,
    mut attempt: impl FnMut() -> F,
) -> Result<T, sqlx::Error>
where
    F: Future<Output = Result<T, sqlx::Error>>,
{
    let mut wait = Wait::new(busy_timeout);
    loop {
        match attempt().await {
            Err(error) if kind_of(&error) == StoreErrorKind::Busy && wait.goes_on().await => {}
            result => return result,
        }
    }
}

/// Waits that stay short, so that a process which has waited long is not overtaken for ever, as
/// it can be with SQLite's own time-out, which sleeps up to 100 ms.
struct Wait {
    deadline: Instant,
    next: Duration,
}

impl Wait {
    const LONGEST: Duration = Duration::from_millis(4);

    fn new(busy_timeout: Duration) -> Self {
        Self {
            deadline: Instant::now() + busy_timeout,
            next: Duration::from_millis(1),
        }
    }

    /// Waits a little; says no when the time is up.
    async fn goes_on(&mut self) -> bool {
        if Instant::now() >= self.deadline {
            return false;
        }
        sleep(self.next).await;
        self.next = (self.next * 2).min(Self::LONGEST);
        true
    }
}
