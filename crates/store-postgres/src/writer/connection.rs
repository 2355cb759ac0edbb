//! The connection that appends, and its transactions.

use std::sync::Arc;

use annals_core::{Position, StoreError};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, Postgres, Row as _,
    Transaction, postgres::PgConnectOptions,
};
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use crate::{
    PostgresOptions,
    error::{failed, silent},
    open::CONNECT_TIMEOUT,
    pool::{SIGN_OF_LIFE, is_alive, keep_memory},
    sql::{self, Sql},
    transaction::millis,
};

/// How the writer connects, at first and after a connection was given up.
pub(crate) struct Link {
    connect: PgConnectOptions,
    /// How a connection is set up whose session is its own.
    set_up: Option<String>,
    pub(super) sql: Sql,
    begin: String,
    lock: Arc<str>,
    look: Arc<str>,
    /// None at first, while it is in use, and after it was given up.
    conn: Option<PgConnection>,
    /// When it was put back last.
    since: Instant,
}

/// An open transaction under the append lock.
///
/// A plain one is begun by statements that sqlx knows nothing of, in one round trip with what
/// follows. In a known one a transaction that somebody begins is a savepoint.
pub(super) enum Open<'c> {
    Plain(&'c mut PgConnection),
    Known(Transaction<'c, Postgres>),
}

/// What a transaction finds when it has the append lock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) head: Position,
    /// The id of the event at the position that was asked for.
    pub(super) known: Option<Uuid>,
}

impl Link {
    pub(crate) fn new(
        connect: PgConnectOptions,
        sql: Sql,
        begin: &str,
        options: &PostgresOptions,
    ) -> Self {
        // The statement that appends at once waits for the log's tables before it can say how long.
        let set_up = format!("SET lock_timeout = {}", millis(options.lock_timeout));
        Self {
            connect,
            set_up: (!options.transaction_pooling).then_some(set_up),
            begin: begin.to_owned(),
            lock: sql.text(sql::LOCK_LOG),
            look: sql.text(sql::LOOK_AT_HEAD),
            sql,
            conn: None,
            since: Instant::now(),
        }
    }

    /// Takes the connection out, to be put back when its transaction has ended cleanly. One that
    /// is dropped instead is closed, and the server undoes what it was in the middle of.
    pub(super) async fn take(&mut self) -> Result<PgConnection, StoreError> {
        if let Some(mut conn) = self.conn.take()
            && is_alive(&mut conn, self.since).await
        {
            return Ok(conn);
        }
        let connected = timeout(CONNECT_TIMEOUT, self.connect_once()).await;
        connected
            .map_err(|_| silent("connect to the database"))?
            .map_err(failed("connect to the database"))
    }

    async fn connect_once(&self) -> Result<PgConnection, sqlx::Error> {
        let mut conn = self.connect.connect().await?;
        if let Some(set_up) = &self.set_up {
            let set_up = AssertSqlSafe(set_up.as_str());
            sqlx::raw_sql(set_up).execute(&mut conn).await?;
            keep_memory(&mut conn).await;
        }
        Ok(conn)
    }

    pub(super) fn put(&mut self, conn: PgConnection) {
        self.conn = Some(conn);
        self.since = Instant::now();
    }

    /// Begins a transaction, takes the append lock, and looks at the log: in one round trip, or
    /// two if sqlx is to know of the transaction.
    pub(super) async fn open<'c>(
        &self,
        conn: &'c mut PgConnection,
        known_to_sqlx: bool,
        known: Position,
    ) -> Result<(Open<'c>, Found), sqlx::Error> {
        let (lock, look) = (
            &self.lock,
            self.look.replace("/*known*/", &known.to_string()),
        );
        // Each statement of a text sees what was committed before it: the last one comes after
        // the lock.
        let (mut open, text) = if known_to_sqlx {
            let transaction = self.begin(conn).await?;
            (Open::Known(transaction), format!("{lock}; {look}"))
        } else {
            let begin = &self.begin;
            (Open::Plain(conn), format!("{begin}; {lock}; {look}"))
        };
        let rows = sqlx::raw_sql(AssertSqlSafe(text));
        let rows = rows.fetch_all(open.conn()).await?;
        // The statements before the last one answer nothing of interest.
        let row = rows.last().ok_or(sqlx::Error::RowNotFound)?;
        let head: i64 = row.try_get(0)?;
        let found = Found {
            head: Position::new(u64::try_from(head).unwrap_or_default()),
            known: row.try_get(1)?,
        };
        Ok((open, found))
    }

    /// Begins a transaction without the append lock, which sqlx knows of.
    pub(super) async fn begin<'c>(
        &self,
        conn: &'c mut PgConnection,
    ) -> Result<Transaction<'c, Postgres>, sqlx::Error> {
        conn.begin_with(AssertSqlSafe(self.begin.as_str())).await
    }

    /// Closes the connection.
    pub(super) async fn close(&mut self) {
        let Some(conn) = self.conn.take() else { return };
        match timeout(SIGN_OF_LIFE, conn.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "the connection that appends did not close cleanly");
            }
            Err(_) => tracing::warn!("the connection that appends did not close in time"),
        }
    }
}

impl Open<'_> {
    pub(super) fn conn(&mut self) -> &mut PgConnection {
        match self {
            Self::Plain(conn) => conn,
            Self::Known(transaction) => transaction,
        }
    }

    pub(super) async fn commit(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Plain(conn) => sqlx::raw_sql("COMMIT").execute(conn).await.map(drop),
            Self::Known(transaction) => transaction.commit().await,
        }
    }

    pub(super) async fn roll_back(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Plain(conn) => sqlx::raw_sql("ROLLBACK").execute(conn).await.map(drop),
            Self::Known(transaction) => transaction.rollback().await,
        }
    }
}
