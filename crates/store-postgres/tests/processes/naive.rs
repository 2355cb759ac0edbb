//! An event table as it is often written by hand: positions come from a sequence, and a reader
//! goes on from the last position it saw.

use std::time::Duration;

use annals_testing::{
    processes::{Journal, Seen, event_id, ready},
    seed::Seed,
};
use sqlx::{Connection as _, PgConnection, Row as _};
use tokio::{task::JoinSet, time::sleep};

use crate::role::{Part, TASKS};

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.expect("it connects")
}

pub(crate) async fn create(url: &str) {
    sqlx::raw_sql("CREATE TABLE naive (position bigserial PRIMARY KEY, id uuid NOT NULL)")
        .execute(&mut connect(url).await)
        .await
        .expect("the table is new");
}

/// Plays [`crate::role::Role::NaiveInsert`].
pub(crate) async fn insert(part: &Part, rows: u64) {
    let mut connections = Vec::new();
    for _ in 0..TASKS {
        connections.push(connect(&part.url).await);
    }
    ready().await;
    let mut tasks = JoinSet::new();
    for (number, mut connection) in (0..).zip(connections) {
        let mut seed = Seed::apart(part.seed, part.process as u64 * TASKS + number);
        tasks.spawn(async move {
            for _ in 0..rows {
                insert_one(&mut connection, &mut seed).await;
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("a task does not panic");
    }
}

async fn insert_one(connection: &mut PgConnection, seed: &mut Seed) {
    let mut transaction = connection.begin().await.expect("it begins");
    sqlx::query("INSERT INTO naive (id) VALUES ($1)")
        .bind(event_id(seed).uuid())
        .execute(&mut *transaction)
        .await
        .expect("a row is inserted");
    // What else such a transaction does before it commits.
    sleep(Duration::from_micros(seed.below(4_000) as u64)).await;
    transaction.commit().await.expect("it commits");
}

/// Plays [`crate::role::Role::NaiveTail`].
pub(crate) async fn follow(part: &Part) {
    let mut connection = connect(&part.url).await;
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
}

/// The whole table.
pub(crate) async fn read_all(url: &str) -> Vec<Seen> {
    read_after(&mut connect(url).await, 0).await
}

async fn read_after(connection: &mut PgConnection, cursor: u64) -> Vec<Seen> {
    let rows = sqlx::query("SELECT position, id FROM naive WHERE position > $1 ORDER BY position")
        .bind(i64::try_from(cursor).expect("positions are small"))
        .fetch_all(connection)
        .await
        .expect("the table can be read");
    rows.iter()
        .map(|row| {
            let position: i64 = row.get(0);
            Seen(u64::try_from(position).expect("a position"), row.get(1))
        })
        .collect()
}
