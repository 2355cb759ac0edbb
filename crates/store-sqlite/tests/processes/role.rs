//! What a process does.

use std::{ops::Range, path::Path, sync::Arc};

use annals_core::{
    AppendError, EventStore as _, Expected, LogRead, Position, Query, QueryItem, Tag, Version,
};
use annals_sqlite::{SqliteOptions, SqliteStore};
use serde::{Deserialize, Serialize};
use tokio::{sync::watch, task::JoinSet};

use crate::{
    appends,
    child::{self, Part},
    journal::{self, Acked, Conflicted, Journal, KeyTaken, Seen, Won},
    naive,
    prng::Prng,
};

/// How many tasks each writing process has.
pub(crate) const TASKS: u64 = 4;

/// The parts that a process can play.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Role {
    /// Races for each version of some streams.
    Versions {
        process: usize,
        streams: u64,
        versions: u64,
    },
    /// Appends to streams that all share, each task its own number of appends; goes on from
    /// where its journal ends.
    Appends { process: usize, appends: u64 },
    /// Races for keys, of which each may be used once.
    Keys { process: usize, keys: u64 },
    /// Follows the log.
    Tail { process: usize },
    /// Inserts rows as naive event tables do.
    NaiveRows { process: usize, rows: u64 },
    /// Follows the naive table.
    NaiveTail { process: usize },
}

/// Opens the store of a directory with default settings.
pub(crate) async fn open(directory: &Path) -> SqliteStore {
    let file = directory.join("store.db");
    let location = file.to_str().expect("a temporary path is UTF-8");
    SqliteStore::open(location, SqliteOptions::default())
        .await
        .expect("the store opens")
}

pub(crate) async fn play(part: Part) {
    let directory = &part.directory;
    match part.role {
        Role::Versions {
            process,
            streams,
            versions,
        } => {
            let won = Arc::new(Journal::open(directory, "won", process));
            let conflicts = Arc::new(Journal::open(directory, "conflicts", process));
            on_every_task(&part, process, |task| {
                let (won, conflicts) = (Arc::clone(&won), Arc::clone(&conflicts));
                race_for_versions(task, streams, versions, won, conflicts)
            })
            .await;
        }
        Role::Appends { process, appends } => {
            let done: Vec<Acked> = journal::read(directory, "acks", process);
            let acks = Arc::new(Journal::open(directory, "acks", process));
            on_every_task(&part, process, |task| {
                let mine = done.iter().filter(|ack| ack.writer == task.writer);
                let rest = mine.count() as u64..appends;
                append_all(task, part.seed, rest, Arc::clone(&acks))
            })
            .await;
        }
        Role::Keys { process, keys } => {
            let journal = Arc::new(Journal::open(directory, "keys", process));
            on_every_task(&part, process, |task| {
                race_for_keys(task, keys, Arc::clone(&journal))
            })
            .await;
        }
        Role::Tail { process } => {
            let store = open(directory).await;
            let journal = Journal::open(directory, "seen", process);
            follow(&store, &journal, child::ready().await).await;
            store.close().await;
        }
        Role::NaiveRows { process, rows } => naive::insert(&part, process, rows).await,
        Role::NaiveTail { process } => naive::follow(directory, process).await,
    }
}

/// One of the tasks of a writing process.
struct Task {
    store: SqliteStore,
    process: usize,
    writer: u64,
    prng: Prng,
}

/// Runs the same in several tasks on one store, from the word to go.
async fn on_every_task<F>(part: &Part, process: usize, work: impl Fn(Task) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let store = open(&part.directory).await;
    child::ready().await;
    let mut tasks = JoinSet::new();
    for number in 0..TASKS {
        let writer = process as u64 * TASKS + number;
        tasks.spawn(work(Task {
            store: store.clone(),
            process,
            writer,
            // Not the generator that the numbered appends come from.
            prng: Prng::new(!part.seed, writer),
        }));
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("a task does not panic");
    }
    store.close().await;
}

async fn race_for_versions(
    mut task: Task,
    streams: u64,
    versions: u64,
    won: Arc<Journal>,
    conflicts: Arc<Journal>,
) {
    for stream in (0..streams).map(|stream| format!("race-{stream}")) {
        let mut current = 0;
        while current < versions {
            let event = appends::event(&mut task.prng, &[]);
            let id = event.id.uuid();
            let expected = Expected::Exact(Version::new(current));
            let append = appends::to(&stream, expected, vec![event]);
            current = match task.store.append(append).await {
                Ok(appended) => {
                    let version = appended.versions[0].get();
                    assert_eq!(version, current + 1);
                    won.add(&[Won {
                        process: task.process,
                        stream: stream.clone(),
                        version,
                        id,
                    }]);
                    version
                }
                Err(AppendError::Conflict { actual, .. }) => {
                    // Were it too high or too low, then a later attempt would be told so.
                    assert!(actual.get() > current, "{actual} after {current}");
                    conflicts.add(&[Conflicted {
                        expected: current,
                        actual: actual.get(),
                    }]);
                    actual.get()
                }
                Err(error) => panic!("an append failed: {error:?}"),
            };
        }
    }
}

async fn append_all(task: Task, seed: u64, indices: Range<u64>, acks: Arc<Journal>) {
    for index in indices {
        let append = appends::append(seed, task.writer, index);
        let appended = task.store.append(append).await.expect("an append succeeds");
        acks.add(&[Acked {
            writer: task.writer,
            index,
            position: appended.position.get(),
            versions: appended
                .versions
                .iter()
                .map(|version| version.get())
                .collect(),
            repeated: appended.repeated,
        }]);
    }
}

async fn race_for_keys(mut task: Task, keys: u64, journal: Arc<Journal>) {
    for key in 0..keys {
        let tag = Tag::new("key", key).expect("a valid tag");
        let event = appends::event(&mut task.prng, std::slice::from_ref(&tag));
        let id = event.id.uuid();
        let stream = format!("writer-{}", task.writer);
        let taken = Query::from(QueryItem::default().tag(tag.clone()));
        let append =
            appends::to(&stream, Expected::Any, vec![event]).unless(taken, Position::START);
        let (won, position) = match task.store.append(append).await {
            Ok(appended) => (true, appended.position),
            Err(AppendError::ConditionFailed { position }) => (false, position),
            Err(error) => panic!("an append failed: {error:?}"),
        };
        journal.add(&[KeyTaken {
            tag: tag.to_string(),
            id,
            won,
            position: position.get(),
        }]);
    }
}

/// Follows the log page by page, as a projection does, up to where it is told to stop.
async fn follow(store: &SqliteStore, journal: &Journal, mut until: watch::Receiver<u64>) {
    let mut cursor = Position::START;
    loop {
        let page = store.read_log(LogRead::after(cursor, 50)).await;
        let page = page.expect("the log can be read");
        let seen: Vec<_> = page
            .events
            .iter()
            .map(|event| Seen(event.position.get(), event.id.uuid()))
            .collect();
        journal.add(&seen);
        cursor = page.events.last().map_or(cursor, |event| event.position);
        let known = *until.borrow_and_update();
        if known > 0 && cursor.get() >= known {
            return;
        }
        if seen.is_empty() {
            tokio::select! {
                grown = store.wait_beyond(cursor) => { grown.expect("the log can be watched"); }
                told = until.changed() => told.expect("the test goes on talking"),
            }
        }
    }
}
