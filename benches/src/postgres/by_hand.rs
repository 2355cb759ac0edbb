//! An application without a framework: one sqlx transaction a command, and the bare insert.

use annals::Event as _;
use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor, PgPool};
use uuid::Uuid;

use crate::{
    Outcome,
    account::{AccountEvent, AccountId, owner},
};

/// Appends one event to a stream in a transaction of its own; again when somebody was faster.
pub(crate) async fn append(pool: &PgPool, stream: &str, event: &AccountEvent) -> Outcome<()> {
    loop {
        match try_append(pool, stream, event).await {
            Err(error) if is_conflict(&*error) => {}
            done => return done,
        }
    }
}

fn is_conflict(error: &(dyn std::error::Error + 'static)) -> bool {
    error
        .downcast_ref::<sqlx::Error>()
        .and_then(sqlx::Error::as_database_error)
        .is_some_and(|error| error.is_unique_violation())
}

async fn try_append(pool: &PgPool, stream: &str, event: &AccountEvent) -> Outcome<()> {
    let mut transaction = pool.begin().await?;
    let version: i64 = sqlx::query_scalar(include_str!("../../sql/postgres/version.sql"))
        .bind(stream)
        .fetch_one(&mut *transaction)
        .await?;
    insert(&mut *transaction, stream, version + 1, event).await?;
    transaction.commit().await?;
    Ok(())
}

/// Writes one event.
pub(crate) async fn insert<'c>(
    executor: impl PgExecutor<'c>,
    stream: &str,
    version: i64,
    event: &AccountEvent,
) -> Outcome<()> {
    sqlx::query(include_str!("../../sql/postgres/insert_event.sql"))
        .bind(stream)
        .bind(version)
        .bind(event.schema().name)
        .bind(Uuid::now_v7())
        .bind(Utc::now())
        .bind(Uuid::now_v7())
        .bind(event.encode()?)
        .execute(executor)
        .await?;
    Ok(())
}

/// Writes batches of events, one statement and one commit each, and checks nothing.
#[derive(Debug, Default)]
pub(crate) struct Bare {
    head: i64,
    versions: Vec<i64>,
}

/// The columns of a batch.
#[derive(Default)]
struct Columns {
    positions: Vec<i64>,
    streams: Vec<String>,
    versions: Vec<i64>,
    types: Vec<&'static str>,
    ids: Vec<Uuid>,
    times: Vec<DateTime<Utc>>,
    causes: Vec<Uuid>,
    payloads: Vec<Vec<u8>>,
}

impl Bare {
    /// Goes on after what a log of so many accounts has, one event each.
    pub(crate) fn after(accounts: u64) -> Outcome<Self> {
        Ok(Self {
            head: i64::try_from(accounts)?,
            versions: vec![1; usize::try_from(accounts)?],
        })
    }

    /// Appends a deposit to each of these accounts.
    pub(crate) async fn append(
        &mut self,
        conn: &mut PgConnection,
        accounts: &[u64],
        amount: i64,
    ) -> Outcome<()> {
        let mut columns = Columns::default();
        for &account in accounts {
            let owner = owner(account);
            let event = AccountEvent::Deposited { owner, amount };
            let version = self.versions.get_mut(usize::try_from(account)?);
            let version = version.ok_or("no such account")?;
            *version += 1;
            self.head += 1;
            columns.positions.push(self.head);
            let stream = AccountId::numbered(account)?.stream()?;
            columns.streams.push(stream.to_string());
            columns.versions.push(*version);
            columns.types.push(event.schema().name);
            columns.ids.push(Uuid::now_v7());
            columns.times.push(Utc::now());
            columns.causes.push(Uuid::now_v7());
            columns.payloads.push(event.encode()?);
        }
        sqlx::query(include_str!("../../sql/postgres/insert_many.sql"))
            .bind(columns.positions)
            .bind(columns.streams)
            .bind(columns.versions)
            .bind(columns.types)
            .bind(columns.ids)
            .bind(columns.times)
            .bind(columns.causes)
            .bind(columns.payloads)
            .execute(conn)
            .await?;
        Ok(())
    }
}
