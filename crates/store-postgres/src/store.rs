//! The store traits, on top of the writer and the pooled connections.

use annals_core::{
    Append, AppendError, AppendId, Appended, EventStore, Fingerprint, LogPage, LogRead, Migrated,
    Position, RecordedAppend, Store, StoreError, StoreErrorKind, StoredEvent, StreamName,
    StreamRead, TableSize, TagMismatch, Version,
};
use async_trait::async_trait;
use tokio::sync::oneshot;

use crate::{
    PostgresStore, append, facts, inspection, log, transfer,
    writer::{self, Job, Request},
};

#[async_trait]
impl EventStore for PostgresStore {
    async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        append::check(&append)?;
        let (reply, answer) = oneshot::channel();
        let job = Job::Append(Request { append, reply });
        self.shared.queue.put(writer::DOING, job).await?;
        answer.await.unwrap_or_else(|_| {
            let error = StoreError::new(StoreErrorKind::Other, writer::DOING);
            Err(AppendError::Unknown(error.caused_by("the writer stopped")))
        })
    }

    async fn find_append(
        &self,
        id: AppendId,
    ) -> Result<Option<(Appended, Fingerprint)>, StoreError> {
        self.read("look up an append", id, |session, id| {
            Box::pin(async move {
                let mut found = facts::find_appends(session, &[*id]).await?;
                Ok(found
                    .remove(id)
                    .map(|(fingerprint, appended)| (appended, fingerprint)))
            })
        })
        .await
    }

    async fn appends(
        &self,
        after: Option<AppendId>,
        limit: usize,
    ) -> Result<Vec<RecordedAppend>, StoreError> {
        self.read(
            "read the appends",
            (after, limit),
            |session, (after, limit)| Box::pin(transfer::appends(session, *after, *limit)),
        )
        .await
    }

    async fn import(
        &self,
        events: Vec<StoredEvent>,
        appends: Vec<RecordedAppend>,
    ) -> Result<Position, StoreError> {
        transfer::import(self, events, appends).await
    }

    async fn read_stream(&self, read: StreamRead) -> Result<Vec<StoredEvent>, StoreError> {
        self.read("read a stream", read, |session, read| {
            Box::pin(log::read_stream(session, read))
        })
        .await
    }

    async fn read_log(&self, read: LogRead) -> Result<LogPage, StoreError> {
        self.read("read the log", read, |session, read| {
            Box::pin(log::read_log(session, read))
        })
        .await
    }

    async fn head(&self) -> Result<Position, StoreError> {
        self.read("read the head of the log", (), |session, ()| {
            Box::pin(log::head(session))
        })
        .await
    }

    async fn stream_version(&self, stream: &StreamName) -> Result<Version, StoreError> {
        let stream = stream.clone();
        self.read("read the version of a stream", stream, |session, stream| {
            Box::pin(log::stream_version(session, stream))
        })
        .await
    }

    async fn wait_beyond(&self, position: Position) -> Result<Position, StoreError> {
        let connections = &self.shared.connections;
        self.shared.tail.wait_beyond(connections, position).await
    }

    async fn close(&self) {
        let (reply, closed) = oneshot::channel();
        let close = Job::Close(reply);
        if self
            .shared
            .queue
            .put("close the store", close)
            .await
            .is_ok()
        {
            // The writer lets go of the sender when it has ended.
            closed.await.ok();
        }
        self.shared.tail.close();
        // Waits for work that was begun.
        self.shared.connections.pool.close().await;
        self.shared.stop_listening();
    }
}

#[async_trait]
impl Store for PostgresStore {
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn kind(&self) -> &'static str {
        "PostgreSQL"
    }

    fn migrated(&self) -> Option<Migrated> {
        Some(self.shared.migrated)
    }

    async fn table_sizes(&self) -> Result<Vec<TableSize>, StoreError> {
        self.read("measure the tables", (), |session, ()| {
            Box::pin(inspection::table_sizes(session))
        })
        .await
    }

    async fn tag_mismatches(&self, limit: usize) -> Result<Vec<TagMismatch>, StoreError> {
        let doing = "compare the index of tags with the events";
        self.read(doing, limit, |session, limit| {
            Box::pin(inspection::tag_mismatches(session, *limit))
        })
        .await
    }
}
