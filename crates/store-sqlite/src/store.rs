//! The store traits, on top of the writer and the readers.

use annals_core::{
    Append, AppendError, AppendId, Appended, EventStore, Fingerprint, LogPage, LogRead, Migrated,
    Position, RecordedAppend, Store, StoreError, StoreErrorKind, StoredEvent, StreamName,
    StreamRead, TagMismatch, Version,
};
use async_trait::async_trait;
use tokio::sync::oneshot;

use crate::{
    SqliteStore, append,
    error::failed,
    inspection, log, repeat, transfer,
    writer::{Import, Job, Request},
};

#[async_trait]
impl EventStore for SqliteStore {
    async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        append.validate()?;
        let (reply, answer) = oneshot::channel();
        let job = Job::Append(Request { append, reply });
        self.shared.queue.put(append::DOING, job).await?;
        answer.await.unwrap_or_else(|_| {
            let error = StoreError::new(StoreErrorKind::Other, append::DOING);
            Err(AppendError::Unknown(error.caused_by("the writer stopped")))
        })
    }

    async fn find_append(
        &self,
        id: AppendId,
    ) -> Result<Option<(Appended, Fingerprint)>, StoreError> {
        let mut conn = self.reading("look up an append").await?;
        let mut found = repeat::find_appends(&mut conn, &[id]).await?;
        Ok(found
            .remove(&id)
            .map(|(fingerprint, appended)| (appended, fingerprint)))
    }

    async fn appends(
        &self,
        after: Option<AppendId>,
        limit: usize,
    ) -> Result<Vec<RecordedAppend>, StoreError> {
        let mut conn = self.reading("read the appends").await?;
        transfer::appends(&mut conn, after, limit).await
    }

    async fn import(
        &self,
        events: Vec<StoredEvent>,
        appends: Vec<RecordedAppend>,
    ) -> Result<Position, StoreError> {
        let (reply, answer) = oneshot::channel();
        let import = Import {
            events,
            appends,
            reply,
        };
        let queue = &self.shared.queue;
        queue.put(transfer::DOING, Job::Import(import)).await?;
        answer.await.unwrap_or_else(|_| {
            let error = StoreError::new(StoreErrorKind::Other, transfer::DOING);
            Err(error.caused_by("the writer stopped"))
        })
    }

    async fn read_stream(&self, read: StreamRead) -> Result<Vec<StoredEvent>, StoreError> {
        let mut conn = self.reading("read a stream").await?;
        log::read_stream(&mut conn, &read).await
    }

    async fn read_log(&self, read: LogRead) -> Result<LogPage, StoreError> {
        let mut conn = self.reading("read the log").await?;
        log::read_log(&mut conn, &read).await
    }

    async fn head(&self) -> Result<Position, StoreError> {
        let mut conn = self.reading("read the head of the log").await?;
        log::head(&mut conn).await
    }

    async fn stream_version(&self, stream: &StreamName) -> Result<Version, StoreError> {
        let mut conn = self.reading("read the version of a stream").await?;
        log::stream_version(&mut conn, stream).await
    }

    async fn wait_beyond(&self, position: Position) -> Result<Position, StoreError> {
        self.shared.tail.wait_beyond(self.readers(), position).await
    }

    async fn close(&self) {
        let (reply, closed) = oneshot::channel();
        let queued = self
            .shared
            .queue
            .put("close the store", Job::Close(reply))
            .await;
        if queued.is_ok() {
            // The writer lets go of the sender when it has ended.
            closed.await.ok();
        }
        self.shared.tail.closed().await;
    }
}

impl SqliteStore {
    async fn reading(
        &self,
        doing: &str,
    ) -> Result<sqlx::pool::PoolConnection<sqlx::Sqlite>, StoreError> {
        self.readers().acquire().await.map_err(failed(doing))
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn kind(&self) -> &'static str {
        "SQLite"
    }

    fn migrated(&self) -> Option<Migrated> {
        Some(self.shared.migrated)
    }

    async fn tag_mismatches(&self, limit: usize) -> Result<Vec<TagMismatch>, StoreError> {
        let doing = "compare the index of tags with the events";
        let mut conn = self.reading(doing).await?;
        inspection::tag_mismatches(&mut conn, limit).await
    }
}
