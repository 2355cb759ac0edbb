//! What a process does.

use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use annals_core::{
    AppendError, EventStore as _, Expected, Position, Query, QueryItem, Tag, Version,
};
use annals_sqlite::{SqliteOptions, SqliteStore};
use annals_testing::{
    processes::{Acked, Journal, Numbered, event, follow, read, ready, to},
    seed::Seed,
};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use crate::{
    naive,
    outcome::{Conflicted, KeyTaken, Won},
};

/// How many tasks each writing process has.
pub(crate) const TASKS: u64 = 4;

/// What a child is told to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) directory: PathBuf,
    pub(crate) seed: u64,
    pub(crate) process: usize,
    pub(crate) role: Role,
}

/// The parts that a process can play.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Role {
    /// Races for each version of some streams.
    Versions { streams: u64, versions: u64 },
    /// Appends to streams that all share, each task its own number of appends; goes on from
    /// where its journal ends.
    Appends { appends: u64 },
    /// Races for keys, of which each may be used once.
    Keys { keys: u64 },
    /// Follows the log.
    Tail,
    /// Inserts rows as naive event tables do.
    NaiveRows { rows: u64 },
    /// Follows the naive table.
    NaiveTail,
}

/// The appends of [`Role::Appends`].
pub(crate) fn numbered(seed: u64) -> Numbered {
    Numbered {
        seed,
        streams: 6,
        events: 5,
    }
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
    let journal = |name| Arc::new(Journal::open(&part.directory, name, part.process));
    match part.role {
        Role::Versions { streams, versions } => {
            let (won, conflicts) = (journal("won"), journal("conflicts"));
            on_every_task(&part, |task| {
                let (won, conflicts) = (Arc::clone(&won), Arc::clone(&conflicts));
                race_for_versions(task, streams, versions, won, conflicts)
            })
            .await;
        }
        Role::Appends { appends } => {
            let done: Vec<Acked> = read(&part.directory, "acks", part.process);
            let acks = journal("acks");
            on_every_task(&part, |task| {
                let mine = done.iter().filter(|ack| ack.writer == task.writer);
                let rest = mine.count() as u64..appends;
                append_all(task, numbered(part.seed), rest, Arc::clone(&acks))
            })
            .await;
        }
        Role::Keys { keys } => {
            let taken = journal("keys");
            on_every_task(&part, |task| race_for_keys(task, keys, Arc::clone(&taken))).await;
        }
        Role::Tail => {
            let store = open(&part.directory).await;
            follow(&store, &journal("seen"), 50, ready().await).await;
            store.close().await;
        }
        Role::NaiveRows { rows } => naive::insert(&part, rows).await,
        Role::NaiveTail => naive::follow(&part).await,
    }
}

/// One of the tasks of a writing process.
struct Task {
    store: SqliteStore,
    process: usize,
    writer: u64,
    seed: Seed,
}

/// Runs the same in several tasks on one store, from the word to go.
async fn on_every_task<F>(part: &Part, work: impl Fn(Task) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let store = open(&part.directory).await;
    ready().await;
    let mut tasks = JoinSet::new();
    for number in 0..TASKS {
        let writer = part.process as u64 * TASKS + number;
        tasks.spawn(work(Task {
            store: store.clone(),
            process: part.process,
            writer,
            // Not the choices that the numbered appends come from.
            seed: Seed::apart(!part.seed, writer),
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
            let event = event(&mut task.seed, &[]);
            let id = event.id.uuid();
            let expected = Expected::Exact(Version::new(current));
            let append = to(&stream, expected, vec![event]);
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

async fn append_all(task: Task, numbered: Numbered, indices: Range<u64>, acks: Arc<Journal>) {
    for index in indices {
        let append = numbered.append(task.writer, index);
        let appended = task.store.append(append).await.expect("an append succeeds");
        acks.add(&[Acked::new(task.writer, index, &appended)]);
    }
}

async fn race_for_keys(mut task: Task, keys: u64, journal: Arc<Journal>) {
    for key in 0..keys {
        let tag = Tag::new("key", key).expect("a valid tag");
        let event = event(&mut task.seed, std::slice::from_ref(&tag));
        let id = event.id.uuid();
        let stream = format!("writer-{}", task.writer);
        let taken = Query::from(QueryItem::default().tag(tag.clone()));
        let append = to(&stream, Expected::Any, vec![event]).unless(taken, Position::START);
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
