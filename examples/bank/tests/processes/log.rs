//! The store as it is: the log, and whether the table is a fold of it.
//!
//! Nothing of the framework is used here, and the fold is written out once more, so that a
//! mistake in either does not hide itself.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{bank::Bank, database::Database};

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

/// Reads a bank's store beside everybody else who does.
#[derive(Debug)]
pub(crate) struct Storage {
    pub(crate) database: Database,
    folded: Fold,
}

/// A fold of the log, up to the checkpoint that was checked last.
#[derive(Debug, Default)]
pub(crate) struct Fold {
    rows: BTreeMap<String, Row>,
    to: i64,
}

impl Storage {
    pub(crate) async fn open(bank: &Bank) -> Self {
        Self {
            database: Database::connect(bank).await,
            folded: Fold::default(),
        }
    }

    /// The events after a position.
    pub(crate) async fn entries(&mut self, after: i64) -> Vec<Entry> {
        entries(&mut self.database, after, i64::MAX).await
    }

    pub(crate) async fn head(&mut self) -> i64 {
        let head = "SELECT coalesce(max(position), 0) FROM events";
        self.database.row::<(i64,)>(head).await.0
    }

    pub(crate) async fn standing(&mut self) -> Standing {
        standing(&mut self.database).await
    }

    /// The tables that a rebuild fills.
    pub(crate) async fn half_built_tables(&mut self) -> i64 {
        let count = match self.database {
            Database::Sqlite(_) => {
                "SELECT count(*) FROM sqlite_schema WHERE name LIKE '%\\_\\_rebuild%' ESCAPE '\\'"
            }
            Database::Postgres(_) => {
                "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema() \
                 AND tablename LIKE '%\\_\\_rebuild%'"
            }
        };
        self.database.row::<(i64,)>(count).await.0
    }

    /// Appends the last event of a type once more, past everybody's back.
    pub(crate) async fn double_last_event(&mut self, types: &str) {
        let id = self.database.new_id();
        let double = format!(
            "INSERT INTO events SELECT (SELECT max(position) + 1 FROM events), stream, \
             (SELECT max(o.version) + 1 FROM events o WHERE o.stream = events.stream), type, schema_version, {id}, recorded_at, correlation_id, causation_id, \
             metadata, tags, payload FROM events WHERE type LIKE '{types}' \
             ORDER BY position DESC LIMIT 1"
        );
        self.run(double).await;
    }

    pub(crate) async fn forget_last_event(&mut self) {
        self.run("DELETE FROM events WHERE position = (SELECT max(position) FROM events)")
            .await;
    }

    /// Runs statements.
    pub(crate) async fn run(&mut self, sql: impl Into<String>) {
        self.database.run(sql).await;
    }

    /// Whether positions, and the versions of each stream, are 1, 2, 3 and so on.
    pub(crate) async fn assert_dense(&mut self) {
        let database = &mut self.database;
        database.begin().await;
        let (events, head): (i64, i64) = database
            .row("SELECT count(*), coalesce(max(position), 0) FROM events WHERE position > 0")
            .await;
        assert_eq!(events, head, "positions have holes");
        let holes: Vec<(String,)> = database
            .rows(
                "SELECT stream FROM events GROUP BY stream \
                 HAVING count(*) <> max(version) OR min(version) <> 1",
                &[],
            )
            .await
            .unwrap();
        database.end().await;
        assert!(holes.is_empty(), "versions have holes: {holes:?}");
    }

    /// Checks, as of one moment, that the table is a fold of the log up to its checkpoint.
    pub(crate) async fn check_table(&mut self) -> Result<Standing, String> {
        let database = &mut self.database;
        database.begin().await;
        let standing = standing(database).await;
        let checked = self.folded.check(database, standing.checkpoint).await;
        database.end().await;
        checked.map(|()| standing)
    }
}

impl Fold {
    async fn check(&mut self, database: &mut Database, to: i64) -> Result<(), String> {
        let from = self.to;
        if to < from {
            return Err(format!("the checkpoint fell from {from} to {to}"));
        }
        let entries = entries(database, from, to).await;
        if i64::try_from(entries.len()) != Ok(to - from) {
            return Err(format!("the log lacks events between {from} and {to}"));
        }
        for entry in &entries {
            self.fold(entry);
        }
        self.compare(&rows(database).await?)
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

async fn standing(database: &mut Database) -> Standing {
    let (checkpoint, epoch, rebuild, rebuilder) = database
        .row(
            "SELECT p.position, p.epoch, r.position, r.owner \
             FROM annals_projections p LEFT JOIN annals_rebuilds r ON r.projection = p.name \
             WHERE p.name = 'user_balance'",
        )
        .await;
    Standing {
        checkpoint,
        epoch,
        rebuild,
        rebuilder,
    }
}

async fn rows(database: &mut Database) -> Result<Vec<Row>, String> {
    let rows: Vec<(String, i64, i64, String, i64)> = database
        .rows(
            "SELECT owner, balance, accounts, currency, position FROM user_balance",
            &[],
        )
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

async fn entries(database: &mut Database, after: i64, to: i64) -> Vec<Entry> {
    let rows: Vec<(i64, String, String, Vec<u8>)> = database
        .rows(
            "SELECT position, stream, type, payload FROM events \
             WHERE position > $1 AND position <= $2 ORDER BY position",
            &[after, to],
        )
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
