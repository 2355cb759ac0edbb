//! The memory store as an event store.

use async_trait::async_trait;

use super::{MemoryStore, admission::Admission, closed, inline::refusal};
use crate::{
    append::{Append, AppendError, Appended, Fingerprint},
    event::StoredEvent,
    id::AppendId,
    name::StreamName,
    order::{Position, Version},
    query::{LogRead, StreamRead},
    store::{EventStore, LogPage, StoreError},
    transfer::{RecordedAppend, not_folded},
};

#[async_trait]
impl EventStore for MemoryStore {
    async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        let mut state = self.state("append events").await?;
        append.validate()?;
        let batch = match state.log.admit(append)? {
            Admission::Repeated(appended) => return Ok(appended),
            Admission::New(batch) => batch,
        };
        let folded = state.fold_inline(&batch.events).await.map_err(refusal)?;
        // Nothing awaits from here on, so a dropped future has written everything or nothing.
        state.write_inline(folded);
        let appended = state.log.write(batch);
        self.head.set(Some(state.log.head()));
        Ok(appended)
    }

    async fn find_append(
        &self,
        id: AppendId,
    ) -> Result<Option<(Appended, Fingerprint)>, StoreError> {
        let state = self.state("find an append").await?;
        Ok(state.log.find_append(id).cloned())
    }

    async fn appends(
        &self,
        after: Option<AppendId>,
        limit: usize,
    ) -> Result<Vec<RecordedAppend>, StoreError> {
        let state = self.state("read the appends").await?;
        Ok(state.log.appends(after, limit))
    }

    async fn import(
        &self,
        events: Vec<StoredEvent>,
        appends: Vec<RecordedAppend>,
    ) -> Result<Position, StoreError> {
        let mut state = self.state("import a piece of a log").await?;
        let head = state.log.check_import(&events, &appends)?;
        let folded = state.fold_inline(&events).await.map_err(not_folded)?;
        // Nothing awaits from here on, so a dropped future has written everything or nothing.
        state.write_inline(folded);
        state.log.import(events, appends);
        self.head.set(Some(head));
        Ok(head)
    }

    async fn read_stream(&self, read: StreamRead) -> Result<Vec<StoredEvent>, StoreError> {
        let state = self.state("read a stream").await?;
        Ok(state.log.read_stream(&read))
    }

    async fn read_log(&self, read: LogRead) -> Result<LogPage, StoreError> {
        let state = self.state("read the log").await?;
        Ok(state.log.read(&read))
    }

    async fn head(&self) -> Result<Position, StoreError> {
        Ok(self.state("read the head of the log").await?.log.head())
    }

    async fn stream_version(&self, stream: &StreamName) -> Result<Version, StoreError> {
        let state = self.state("read a stream's version").await?;
        Ok(state.log.version(stream))
    }

    async fn wait_beyond(&self, position: Position) -> Result<Position, StoreError> {
        let head = self.head.beyond(position).await;
        head.ok_or_else(|| closed("wait for events"))
    }

    async fn close(&self) {
        let mut state = self.state.lock().await;
        *state = None;
        self.head.set(None);
    }
}
