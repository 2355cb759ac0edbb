//! The file as it is: the log, and whether the table is a fold of it.
//!
//! Nothing of the framework is used here, and the fold is written out once more, so that a
//! mistake in either does not hide itself.

use std::collections::BTreeMap;

use serde_json::Value;
use sqlx::{Connection as _, SqliteConnection, SqliteTransaction, sqlite::SqliteConnectOptions};

use crate::bank::{Bank, SOON};

/// An event, as far as it matters to the bank.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Booking {
    pub(crate) account: String,
    /// `opened`, `deposited` or `withdrawn`.
    pub(crate) what: String,
    pub(crate) owner: String,
    pub(crate) amount: i64,
}

impl Booking {
    /// By how much it changes the balance.
    pub(crate) fn change(&self) -> i64 {
        match self.what.as_str() {
            "opened" => 0,
            "deposited" => self.amount,
            "withdrawn" => -self.amount,
            other => panic!("nobody asked for {other}"),
        }
    }
}

/// A booking and its place.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) position: i64,
    pub(crate) booking: Booking,
}

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) owner: String,
    pub(crate) balance: i64,
    pub(crate) accounts: i64,
    pub(crate) currency: String,
    pub(crate) position: i64,
}

/// Where the table and its rebuild stood when they were looked at.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) checkpoint: i64,
    /// Rises with every swap.
    pub(crate) epoch: i64,
    /// Up to where the rebuild under way has committed, if there is one.
    pub(crate) rebuild: Option<i64>,
    /// Who is at it.
    pub(crate) rebuilder: Option<String>,
}

/// Reads a bank's file beside everybody else who does.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) connection: SqliteConnection,
    folded: Fold,
}

/// A fold of the log, up to the checkpoint that was checked last.
#[derive(Debug, Default)]
pub(crate) struct Fold {
    rows: BTreeMap<String, Row>,
    to: i64,
}

impl File {
    pub(crate) async fn open(bank: &Bank) -> Self {
        let options = SqliteConnectOptions::new()
            .filename(bank.file())
            .busy_timeout(SOON);
        Self {
            connection: SqliteConnection::connect_with(&options).await.unwrap(),
            folded: Fold::default(),
        }
    }

    /// The events after a position.
    pub(crate) async fn entries(&mut self, after: i64) -> Vec<Entry> {
        let mut transaction = self.connection.begin().await.unwrap();
        let entries = entries(&mut transaction, after, i64::MAX).await;
        transaction.rollback().await.unwrap();
        entries
    }

    pub(crate) async fn head(&mut self) -> i64 {
        sqlx::query_scalar("SELECT coalesce(max(position), 0) FROM events")
            .fetch_one(&mut self.connection)
            .await
            .unwrap()
    }

    pub(crate) async fn standing(&mut self) -> Standing {
        let mut transaction = self.connection.begin().await.unwrap();
        let standing = standing(&mut transaction).await;
        transaction.rollback().await.unwrap();
        standing
    }

    /// The tables that a rebuild fills.
    pub(crate) async fn half_built_tables(&mut self) -> i64 {
        sqlx::query_scalar(
            "SELECT count(*) FROM sqlite_schema WHERE name LIKE '%\\_\\_rebuild%' ESCAPE '\\'",
        )
        .fetch_one(&mut self.connection)
        .await
        .unwrap()
    }

    pub(crate) async fn forget_last_event(&mut self) {
        self.run("DELETE FROM events WHERE position = (SELECT max(position) FROM events)")
            .await;
    }

    /// Runs a statement.
    pub(crate) async fn run(&mut self, sql: &'static str) {
        sqlx::query(sql)
            .execute(&mut self.connection)
            .await
            .unwrap();
    }

    /// Whether positions, and the versions of each stream, are 1, 2, 3 and so on.
    pub(crate) async fn assert_dense(&mut self) {
        let mut transaction = self.connection.begin().await.unwrap();
        let (events, head): (i64, i64) = sqlx::query_as(
            "SELECT count(*), coalesce(max(position), 0) FROM events WHERE position > 0",
        )
        .fetch_one(&mut *transaction)
        .await
        .unwrap();
        assert_eq!(events, head, "positions have holes");
        let holes: Vec<(String,)> = sqlx::query_as(
            "SELECT stream FROM events GROUP BY stream \
             HAVING count(*) <> max(version) OR min(version) <> 1",
        )
        .fetch_all(&mut *transaction)
        .await
        .unwrap();
        transaction.rollback().await.unwrap();
        assert!(holes.is_empty(), "versions have holes: {holes:?}");
    }

    /// Checks, as of one moment, that the table is a fold of the log up to its checkpoint.
    pub(crate) async fn check_table(&mut self) -> Result<Standing, String> {
        let mut transaction = self.connection.begin().await.unwrap();
        let standing = standing(&mut transaction).await;
        let checked = self.folded.check(&mut transaction, standing.checkpoint);
        let checked = checked.await;
        transaction.rollback().await.unwrap();
        checked.map(|()| standing)
    }
}

impl Fold {
    async fn check(
        &mut self,
        transaction: &mut SqliteTransaction<'_>,
        to: i64,
    ) -> Result<(), String> {
        let from = self.to;
        if to < from {
            return Err(format!("the checkpoint fell from {from} to {to}"));
        }
        let entries = entries(transaction, from, to).await;
        if i64::try_from(entries.len()) != Ok(to - from) {
            return Err(format!("the log lacks events between {from} and {to}"));
        }
        for entry in &entries {
            self.fold(entry);
        }
        self.compare(&rows(transaction).await?)
    }

    /// Whether these rows are what the fold comes to.
    pub(crate) fn compare(&self, rows: &[Row]) -> Result<(), String> {
        let to = self.to;
        if rows.len() != self.rows.len() {
            let (found, wanted) = (rows.len(), self.rows.len());
            return Err(format!("{found} rows instead of {wanted} at {to}"));
        }
        let folded = |row: &Row| self.rows.get(&row.owner);
        match rows.iter().find(|row| folded(row) != Some(row)) {
            Some(row) => Err(format!("{row:?} instead of {:?} at {to}", folded(row))),
            None => Ok(()),
        }
    }

    /// Takes the next entry in.
    pub(crate) fn fold(&mut self, entry: &Entry) {
        let Entry { position, booking } = entry;
        self.to = *position;
        let row = self.rows.entry(booking.owner.clone());
        let row = row.or_insert_with(|| Row {
            owner: booking.owner.clone(),
            balance: 0,
            accounts: 0,
            currency: "EUR".to_owned(),
            position: 0,
        });
        row.position = *position;
        row.balance += booking.change();
        row.accounts += i64::from(booking.what == "opened");
    }
}

async fn standing(transaction: &mut SqliteTransaction<'_>) -> Standing {
    let (checkpoint, epoch, rebuild, rebuilder) = sqlx::query_as(
        "SELECT p.position, p.epoch, r.position, r.owner \
         FROM annals_projections p LEFT JOIN annals_rebuilds r ON r.projection = p.name \
         WHERE p.name = 'user_balance'",
    )
    .fetch_one(&mut **transaction)
    .await
    .unwrap();
    Standing {
        checkpoint,
        epoch,
        rebuild,
        rebuilder,
    }
}

async fn rows(transaction: &mut SqliteTransaction<'_>) -> Result<Vec<Row>, String> {
    let rows: Vec<(String, i64, i64, String, i64)> =
        sqlx::query_as("SELECT owner, balance, accounts, currency, position FROM user_balance")
            .fetch_all(&mut **transaction)
            .await
            .map_err(|error| format!("the table can't be read: {error}"))?;
    let row = |(owner, balance, accounts, currency, position)| Row {
        owner,
        balance,
        accounts,
        currency,
        position,
    };
    Ok(rows.into_iter().map(row).collect())
}

async fn entries(transaction: &mut SqliteTransaction<'_>, after: i64, to: i64) -> Vec<Entry> {
    let rows: Vec<(i64, String, String, Vec<u8>)> = sqlx::query_as(
        "SELECT position, stream, type, payload FROM events \
         WHERE position > ?1 AND position <= ?2 ORDER BY position",
    )
    .bind(after)
    .bind(to)
    .fetch_all(&mut **transaction)
    .await
    .unwrap();
    rows.into_iter()
        .map(|(position, stream, event_type, payload)| {
            entry(position, &stream, &event_type, &payload)
        })
        .collect()
}

/// An event of an account, as it is stored.
pub(crate) fn entry(position: i64, stream: &str, event_type: &str, payload: &[u8]) -> Entry {
    let payload: Value = serde_json::from_slice(payload).unwrap();
    let booking = Booking {
        account: stream.strip_prefix("account-").unwrap().to_owned(),
        what: event_type.strip_prefix("account.").unwrap().to_owned(),
        owner: payload["owner"].as_str().unwrap().to_owned(),
        amount: payload["amount"].as_i64().unwrap_or(0),
    };
    Entry { position, booking }
}
