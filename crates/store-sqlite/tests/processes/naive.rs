//! An event table as it is often written by hand: a position is taken first and the row is
//! committed later, as with a sequence, and a reader goes on from the last position it saw.

use std::{path::Path, time::Duration};

use annals_testing::{
    processes::{Journal, Seen, event_id, ready},
    seed::Seed,
};
use sqlx::{
    Connection as _, Row as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use tokio::{task::JoinSet, time::sleep};
use uuid::Uuid;

use crate::{
    in_runtime,
    role::{Part, TASKS},
};

async fn connect(directory: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new()
        .filename(directory.join("naive.db"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Off)
        .busy_timeout(Duration::from_secs(60));
    SqliteConnection::connect_with(&options)
        .await
        .expect("the file opens")
}

/// Creates the table and what gives out positions.
pub(crate) fn create(directory: &Path) {
    in_runtime(async {
        let mut connection = connect(directory).await;
        sqlx::raw_sql(
            "CREATE TABLE events (position INTEGER PRIMARY KEY, id BLOB NOT NULL) STRICT;
             CREATE TABLE sequence (last INTEGER NOT NULL) STRICT;
             INSERT INTO sequence VALUES (0);",
        )
        .execute(&mut connection)
        .await
        .expect("the tables are new");
        connection.close().await.expect("it closes");
    });
}

/// Plays [`crate::role::Role::NaiveRows`].
pub(crate) async fn insert(part: &Part, rows: u64) {
    let mut connections = Vec::new();
    for _ in 0..TASKS {
        connections.push(connect(&part.directory).await);
    }
    ready().await;
    let mut tasks = JoinSet::new();
    for (number, mut connection) in (0_u64..).zip(connections) {
        let mut seed = Seed::apart(part.seed, part.process as u64 * TASKS + number);
        tasks.spawn(async move {
            for _ in 0..rows {
                insert_one(&mut connection, &mut seed).await;
            }
            connection.close().await.expect("it closes");
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("a task does not panic");
    }
}

async fn insert_one(connection: &mut SqliteConnection, seed: &mut Seed) {
    let row = sqlx::query("UPDATE sequence SET last = last + 1 RETURNING last")
        .fetch_one(&mut *connection)
        .await
        .expect("a position is given out");
    let position: i64 = row.get(0);
    // What else such a transaction does before it commits.
    sleep(Duration::from_micros(seed.below(4_000) as u64)).await;
    sqlx::query("INSERT INTO events VALUES (?, ?)")
        .bind(position)
        .bind(event_id(seed).uuid().as_bytes().to_vec())
        .execute(connection)
        .await
        .expect("a row is inserted");
}

/// Plays [`crate::role::Role::NaiveTail`].
pub(crate) async fn follow(part: &Part) {
    let mut connection = connect(&part.directory).await;
    let journal = Journal::open(&part.directory, "seen", part.process);
    let until = ready().await;
    let mut cursor = 0;
    loop {
        // Looked at first: what is there once the writers have ended is still read.
        let ended = *until.borrow() > 0;
        let seen = read_after(&mut connection, cursor).await;
        journal.add(&seen);
        cursor = seen.last().map_or(cursor, |event| event.0);
        if ended && seen.is_empty() {
            break;
        }
        sleep(Duration::from_millis(1)).await;
    }
    connection.close().await.expect("it closes");
}

/// The whole table.
pub(crate) fn read_all(directory: &Path) -> Vec<Seen> {
    in_runtime(async {
        let mut connection = connect(directory).await;
        let all = read_after(&mut connection, 0).await;
        connection.close().await.expect("it closes");
        all
    })
}

async fn read_after(connection: &mut SqliteConnection, cursor: u64) -> Vec<Seen> {
    let rows = sqlx::query("SELECT position, id FROM events WHERE position > ? ORDER BY position")
        .bind(i64::try_from(cursor).expect("positions are small"))
        .fetch_all(connection)
        .await
        .expect("the table can be read");
    rows.iter()
        .map(|row| {
            let position: i64 = row.get(0);
            let id = Uuid::from_slice(row.get(1)).expect("a UUID");
            Seen(u64::try_from(position).expect("a position"), id)
        })
        .collect()
}
