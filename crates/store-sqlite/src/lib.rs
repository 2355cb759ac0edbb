//! Annals on SQLite: the event log, snapshots, read models and checkpoints in one file.
//!
//! Open a [`SqliteStore`] and hand it to the engines. Several processes may use one file.

mod error;
mod options;
mod projections;
mod writer;

use std::{fmt, sync::Arc};

use annals_core::{InlineProjection, StoreError, StoreErrorKind};
use futures_util::future::BoxFuture;
use sqlx::{SqliteConnection, SqlitePool};

pub use options::{SqliteOptions, Synchronous};
use writer::Queue;

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
}

impl SqliteStore {
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
        projection: Arc<dyn InlineProjection>,
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
        install: Option<Arc<dyn InlineProjection>>,
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
