//! What a process does.

use std::{path::PathBuf, sync::Arc, time::Duration};

use annals_core::EventStore as _;
use annals_postgres::{PostgresOptions, PostgresStore};
use annals_testing::{
    processes::{Acked, Journal, Numbered, follow, read, ready},
    seed::Seed,
};
use serde::{Deserialize, Serialize};
use sqlx::{Connection as _, PgConnection};
use tokio::{task::JoinSet, time::sleep};

use crate::naive;

/// How many tasks each writing process has.
pub(crate) const TASKS: u64 = 4;

/// What a child is told to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) directory: PathBuf,
    pub(crate) url: String,
    pub(crate) seed: u64,
    pub(crate) process: usize,
    pub(crate) role: Role,
}

/// The parts that a process can play.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Role {
    /// Makes its numbered appends, some of them within users' transactions; goes on from where
    /// its journals end.
    Append { appends: u64 },
    /// Follows the log.
    Tail,
    /// Inserts rows as naive event tables do.
    NaiveInsert { rows: u64 },
    /// Follows the naive table.
    NaiveTail,
}

/// How a numbered append is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Append,
    /// Together with a row of the user's own.
    InTransaction,
    /// The same, but the user's transaction is rolled back.
    RolledBack,
}

/// How this append is made; always the same.
pub(crate) fn deed(seed: u64, writer: u64, index: u64) -> Deed {
    match Seed::apart(!seed, writer << 32 | index).below(20) {
        0 => Deed::InTransaction,
        1 => Deed::RolledBack,
        _ => Deed::Append,
    }
}

pub(crate) fn numbered(seed: u64) -> Numbered {
    Numbered {
        seed,
        streams: 20,
        events: 16,
    }
}

pub(crate) async fn open(url: &str) -> PostgresStore {
    let store = PostgresStore::open(url, PostgresOptions::default()).await;
    store.expect("the store opens")
}

pub(crate) async fn play(part: Part) {
    match part.role {
        Role::Append { appends } => append(part, appends).await,
        Role::Tail => {
            let store = open(&part.url).await;
            let journal = Journal::open(&part.directory, "seen", part.process);
            follow(&store, &journal, 500, ready().await).await;
            store.close().await;
        }
        Role::NaiveInsert { rows } => naive::insert(&part, rows).await,
        Role::NaiveTail => naive::follow(&part).await,
    }
}

/// One of the tasks of a writing process.
struct Writer {
    store: PostgresStore,
    connection: PgConnection,
    seed: u64,
    number: u64,
    pauses: Seed,
    acks: Arc<Journal>,
    rolled_back: Arc<Journal>,
}

async fn append(part: Part, appends: u64) {
    let store = open(&part.url).await;
    let (directory, process) = (&part.directory, part.process);
    let acked: Vec<Acked> = read(directory, "acks", process);
    let rolled_back: Vec<(u64, u64)> = read(directory, "rolled-back", process);
    let acks = Arc::new(Journal::open(directory, "acks", process));
    let rolls = Arc::new(Journal::open(directory, "rolled-back", process));
    let mut writers = Vec::new();
    for task in 0..TASKS {
        let number = process as u64 * TASKS + task;
        let done = acked.iter().filter(|ack| ack.writer == number).count()
            + rolled_back.iter().filter(|(by, _)| *by == number).count();
        let connection = PgConnection::connect(&part.url).await;
        let writer = Writer {
            store: store.clone(),
            connection: connection.expect("it connects"),
            seed: part.seed,
            number,
            pauses: Seed::apart(part.seed, u64::MAX - number),
            acks: Arc::clone(&acks),
            rolled_back: Arc::clone(&rolls),
        };
        writers.push((writer, done as u64));
    }
    ready().await;
    let mut tasks = JoinSet::new();
    for (mut writer, done) in writers {
        tasks.spawn(async move {
            for index in done..appends {
                writer.make(index).await;
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("a task does not panic");
    }
    store.close().await;
}

impl Writer {
    async fn make(&mut self, index: u64) {
        if self.pauses.below(4) == 0 {
            self.pause(5_000).await;
        }
        let append = numbered(self.seed).append(self.number, index);
        let appended = match deed(self.seed, self.number, index) {
            Deed::Append => self.store.append(append).await.expect("an append succeeds"),
            deed => {
                let pause = Duration::from_micros(self.pauses.below(2_000) as u64);
                let mut transaction = self.connection.begin().await.expect("it begins");
                // After a kill it may be there: then the append is a repetition as well.
                sqlx::query("INSERT INTO business VALUES ($1, $2) ON CONFLICT DO NOTHING")
                    .bind(i64::try_from(self.number).expect("a small number"))
                    .bind(i64::try_from(index).expect("a small number"))
                    .execute(&mut *transaction)
                    .await
                    .expect("a row is inserted");
                let appended = self.store.append_in(&mut transaction, append).await;
                let appended = appended.expect("an append succeeds");
                sleep(pause).await;
                if deed == Deed::RolledBack {
                    transaction.rollback().await.expect("it rolls back");
                    self.rolled_back.add(&[(self.number, index)]);
                    return;
                }
                transaction.commit().await.expect("it commits");
                appended
            }
        };
        self.acks.add(&[Acked::new(self.number, index, &appended)]);
    }

    async fn pause(&mut self, micros: usize) {
        sleep(Duration::from_micros(self.pauses.below(micros) as u64)).await;
    }
}
