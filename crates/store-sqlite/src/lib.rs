//! Annals on SQLite: the event log, snapshots, read models and checkpoints in one file.
//!
//! Open a [`SqliteStore`] and hand it to the engines. Several processes may use one file.

mod append;
mod error;
mod frame;
mod insert;
mod inspection;
mod location;
mod log;
mod matching;
mod migrate;
mod open;
mod options;
mod projections;
mod repeat;
mod snapshot;
mod sql;
mod store;
mod tail;
mod transaction;
mod transfer;
mod writer;

use std::{fmt, sync::Arc};

use annals_core::{Migrated, StoreError, StoreErrorKind};
use futures_util::future::BoxFuture;
use sqlx::{SqliteConnection, SqlitePool};

pub use options::{SqliteOptions, Synchronous};
use projections::inline::Installed;
pub use projections::sql_projection::{SqlProjection, inline_sql_projection, sql_projection};
use tail::Tail;
use tokio::sync::mpsc;
use writer::{Queue, Writer};

/// An event store, read models and snapshots in one SQLite file.
///
/// Cheap to clone: clones are the same store.
#[derive(Clone)]
pub struct SqliteStore {
    shared: Arc<Shared>,
}

struct Shared {
    readers: SqlitePool,
    queue: Queue,
    tail: Arc<Tail>,
    migrated: Migrated,
}

impl SqliteStore {
    /// Opens the store in a file, named by a URL (`sqlite://PATH`) or a plain path; creates the
    /// file and brings its tables up to date as needed.
    ///
    /// # Errors
    /// When there is no such file or directory, it can't be written, is no store or a damaged one,
    /// was written by a newer release, or is locked for longer than the time-out.
    pub async fn open(location: &str, options: SqliteOptions) -> Result<Self, StoreError> {
        let file = location::file_of(location)?;
        let opened = open::open(&file, &options).await?;
        let tail = Arc::new(Tail::new(options.poll_interval));
        let (sender, jobs) = mpsc::channel(options.queue.max(1));
        let writer = Writer::new(
            opened.connector,
            opened.conn,
            opened.readers.clone(),
            Arc::clone(&tail),
        );
        tokio::spawn(writer.run(jobs));
        let shared = Shared {
            readers: opened.readers,
            queue: Queue(sender),
            tail,
            migrated: opened.migrated,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// The connections that only read.
    pub(crate) fn readers(&self) -> &SqlitePool {
        &self.shared.readers
    }

    /// Runs `work` in a write transaction of its own: committed when it succeeds, rolled back
    /// when it fails. Once accepted it runs to its end, even if the caller goes away.
    ///
    /// `doing` says what it does, as a fragment that fits "failed to ...".
    ///
    /// # Errors
    /// What `work` answers, or the store's error when it can't begin or commit.
    pub(crate) async fn transaction<T, E>(
        &self,
        doing: &'static str,
        work: impl for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, E>>
        + Send
        + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.work(doing, None, work).await
    }

    /// Like [`transaction`](Self::transaction), and when the work has committed, `projection` is
    /// folded within every later append; no append comes between.
    pub(crate) async fn install<E>(
        &self,
        doing: &'static str,
        projection: Installed,
        work: impl for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<(), E>>
        + Send
        + 'static,
    ) -> Result<(), E>
    where
        E: From<StoreError> + Send + 'static,
    {
        self.work(doing, Some(projection), work).await
    }

    async fn work<T, E>(
        &self,
        doing: &'static str,
        install: Option<Installed>,
        work: impl for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, E>>
        + Send
        + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (job, answer) = writer::erase(doing, install, work);
        self.shared.queue.put(doing, job).await?;
        answer.await.unwrap_or_else(|_| {
            Err(StoreError::new(StoreErrorKind::Other, doing)
                .caused_by("the work panicked; its transaction was rolled back")
                .into())
        })
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").finish_non_exhaustive()
    }
}
