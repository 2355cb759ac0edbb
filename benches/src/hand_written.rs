//! An application without a framework: one sqlx transaction a command, on the store's own schema.

use std::{path::Path, time::Duration};

use chrono::Utc;
use sqlx::{
    ConnectOptions as _, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use uuid::Uuid;

use crate::{Outcome, account::AccountEvent};
use annals::Event as _;

/// The store's own settings.
pub(crate) fn options(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(60))
        .pragma("wal_autocheckpoint", "10000")
        .pragma("cache_size", "-64000")
        .disable_statement_logging()
}

/// So many connections to the file, all open already.
pub(crate) async fn pool(file: &Path, connections: u32) -> Outcome<SqlitePool> {
    Ok(SqlitePoolOptions::new()
        .max_connections(connections)
        .min_connections(connections)
        .acquire_timeout(Duration::from_secs(60))
        .test_before_acquire(false)
        .connect_with(options(file))
        .await?)
}

/// Appends one event to a stream, in a transaction of its own.
pub(crate) async fn append(pool: &SqlitePool, stream: &str, event: &AccountEvent) -> Outcome<i64> {
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
    let version: i64 = sqlx::query_scalar(include_str!("../sql/version.sql"))
        .bind(stream)
        .fetch_one(&mut *transaction)
        .await?;
    let cause = Uuid::now_v7();
    let inserted = sqlx::query(include_str!("../sql/insert_event.sql"))
        .bind(stream)
        .bind(version + 1)
        .bind(event.schema().name)
        .bind(&Uuid::now_v7().as_bytes()[..])
        .bind(Utc::now().timestamp_micros())
        .bind(&cause.as_bytes()[..])
        .bind(event.encode()?)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(inserted.last_insert_rowid())
}
