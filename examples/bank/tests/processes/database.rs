//! A connection of one's own to a bank's store, of either kind.
//!
//! Both kinds of store have the same tables, and both understand the same plain SQL about them.

use std::str::FromStr as _;

use sqlx::{
    AssertSqlSafe, Connection as _, FromRow, PgConnection, SqliteConnection,
    postgres::{PgConnectOptions, PgRow},
    sqlite::{SqliteConnectOptions, SqliteRow},
};

use crate::bank::{Bank, Place, SOON};

/// A connection to a store.
#[derive(Debug)]
pub(crate) enum Database {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

/// A row of either store.
pub(crate) trait Readable:
    Send + Unpin + for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow>
{
}

impl<T> Readable for T where
    T: Send + Unpin + for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow>
{
}

impl Database {
    pub(crate) async fn connect(bank: &Bank) -> Self {
        match bank.place() {
            Place::File(path) => {
                let options = SqliteConnectOptions::new()
                    .filename(path)
                    .busy_timeout(SOON);
                Self::Sqlite(SqliteConnection::connect_with(&options).await.unwrap())
            }
            Place::Schema(schema) => {
                let options = PgConnectOptions::from_str(&schema.url()).unwrap();
                let options = options.options([("search_path", schema.name())]);
                Self::Postgres(PgConnection::connect_with(&options).await.unwrap())
            }
        }
    }

    /// An expression for the id of an event that nobody else has.
    pub(crate) fn new_id(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "randomblob(16)",
            Self::Postgres(_) => "gen_random_uuid()",
        }
    }

    /// Begins a transaction whose reads all see one moment.
    pub(crate) async fn begin(&mut self) {
        match self {
            Self::Sqlite(_) => self.run("BEGIN").await,
            Self::Postgres(_) => self.run("BEGIN ISOLATION LEVEL REPEATABLE READ").await,
        }
    }

    /// Begins a transaction in which no projection gets any further.
    ///
    /// Who is stopped meanwhile does not hold SQLite's lock; PostgreSQL ends the transaction of who
    /// is stopped with a lock.
    pub(crate) async fn lock_projections(&mut self) {
        match self {
            Self::Sqlite(_) => self.run("BEGIN IMMEDIATE").await,
            Self::Postgres(_) => {
                self.run("BEGIN; SELECT FROM annals_projections FOR UPDATE")
                    .await;
            }
        }
    }

    /// Ends the transaction without a trace.
    pub(crate) async fn end(&mut self) {
        self.run("ROLLBACK").await;
    }

    /// Runs statements.
    pub(crate) async fn run(&mut self, sql: impl Into<String>) {
        let sql = AssertSqlSafe(sql.into());
        match self {
            Self::Sqlite(connection) => sqlx::raw_sql(sql).execute(connection).await.map(drop),
            Self::Postgres(connection) => sqlx::raw_sql(sql).execute(connection).await.map(drop),
        }
        .unwrap();
    }

    /// What a query answers, its parameters called `$1`, `$2` and so on.
    pub(crate) async fn rows<T: Readable>(
        &mut self,
        sql: &'static str,
        parameters: &[i64],
    ) -> Result<Vec<T>, sqlx::Error> {
        match self {
            Self::Sqlite(connection) => {
                let query = parameters
                    .iter()
                    .fold(sqlx::query_as(sql), |q, p| q.bind(*p));
                query.fetch_all(connection).await
            }
            Self::Postgres(connection) => {
                let query = parameters
                    .iter()
                    .fold(sqlx::query_as(sql), |q, p| q.bind(*p));
                query.fetch_all(connection).await
            }
        }
    }

    /// The one row that a query answers.
    pub(crate) async fn row<T: Readable>(&mut self, sql: &'static str) -> T {
        let mut rows = self.rows(sql, &[]).await.unwrap();
        assert_eq!(rows.len(), 1, "{sql}");
        rows.remove(0)
    }
}
