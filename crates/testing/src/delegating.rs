//! A store in front of another, for tests in which some operations fail, lie or take their time.

use std::{any::Any, ops::Deref, sync::Arc, time::Duration};

use annals_core::{
    Append, AppendError, AppendId, Appended, Claim, Commit, CommitError, EventStore, Failure,
    Fence, Fingerprint, FoldError, InlineProjection, LogPage, LogRead, ParkedEvent, Position,
    ProjectionRecord, ProjectionSpec, ProjectionState, ProjectionStore, RebuildError,
    RebuildRecord, RecordedAppend, Row, Snapshot, SnapshotStore, Store, StoreError, StoredEvent,
    StreamName, StreamRead, SwapRequest, Swapped, TableSpec, TagMismatch, Target, Value, Version,
};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;

type Stored<T> = Result<T, StoreError>;

/// What happens to operations on their way to the store; to each nothing, unless it is said.
#[async_trait]
#[allow(missing_docs, reason = "each hook is documented where it leads to")]
pub trait Hooks: std::fmt::Debug + Send + Sync + 'static {
    /// The store that does the work.
    fn store(&self) -> &dyn Store;

    /// Carries out any operation that has no hook of its own, but those that end in another error
    /// than [`StoreError`].
    async fn through<T: Send>(&self, operation: BoxFuture<'_, Stored<T>>) -> Stored<T> {
        operation.await
    }

    async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        self.store().append(append).await
    }

    async fn import(
        &self,
        events: Vec<StoredEvent>,
        appends: Vec<RecordedAppend>,
    ) -> Stored<Position> {
        self.through(self.store().import(events, appends)).await
    }

    async fn read_stream(&self, read: StreamRead) -> Stored<Vec<StoredEvent>> {
        self.through(self.store().read_stream(read)).await
    }

    async fn read_log(&self, read: LogRead) -> Stored<LogPage> {
        self.through(self.store().read_log(read)).await
    }

    async fn wait_beyond(&self, position: Position) -> Stored<Position> {
        self.through(self.store().wait_beyond(position)).await
    }

    async fn claim(&self, name: &str, owner: &str, term: Duration) -> Stored<Claim> {
        self.through(self.store().claim(name, owner, term)).await
    }

    async fn commit(&self, commit: Commit) -> Result<(), CommitError> {
        self.store().commit(commit).await
    }

    async fn install_inline(&self, projection: Arc<dyn InlineProjection>) -> Result<(), FoldError> {
        self.store().install_inline(projection).await
    }

    async fn begin_rebuild(
        &self,
        spec: &ProjectionSpec,
        owner: &str,
        lease: Duration,
        restart: bool,
        now: DateTime<Utc>,
    ) -> Result<RebuildRecord, RebuildError> {
        let store = self.store();
        store.begin_rebuild(spec, owner, lease, restart, now).await
    }

    async fn swap(
        &self,
        request: SwapRequest,
        projection: Arc<dyn InlineProjection>,
    ) -> Result<Swapped, RebuildError> {
        self.store().swap(request, projection).await
    }
}

/// The store that goes by these hooks.
#[derive(Debug)]
pub struct Delegating<H>(pub H);

impl<H> Deref for Delegating<H> {
    type Target = H;

    fn deref(&self) -> &H {
        &self.0
    }
}

#[async_trait]
impl<H: Hooks> EventStore for Delegating<H> {
    async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        self.0.append(append).await
    }

    async fn find_append(&self, id: AppendId) -> Stored<Option<(Appended, Fingerprint)>> {
        self.through(self.store().find_append(id)).await
    }

    async fn appends(&self, after: Option<AppendId>, limit: usize) -> Stored<Vec<RecordedAppend>> {
        self.through(self.store().appends(after, limit)).await
    }

    async fn import(
        &self,
        events: Vec<StoredEvent>,
        appends: Vec<RecordedAppend>,
    ) -> Stored<Position> {
        self.0.import(events, appends).await
    }

    async fn read_stream(&self, read: StreamRead) -> Stored<Vec<StoredEvent>> {
        self.0.read_stream(read).await
    }

    async fn read_log(&self, read: LogRead) -> Stored<LogPage> {
        self.0.read_log(read).await
    }

    async fn head(&self) -> Stored<Position> {
        self.through(self.store().head()).await
    }

    async fn stream_version(&self, stream: &StreamName) -> Stored<Version> {
        self.through(self.store().stream_version(stream)).await
    }

    async fn wait_beyond(&self, position: Position) -> Stored<Position> {
        self.0.wait_beyond(position).await
    }

    async fn close(&self) {
        self.store().close().await;
    }
}

#[async_trait]
impl<H: Hooks> ProjectionStore for Delegating<H> {
    async fn register(
        &self,
        spec: &ProjectionSpec,
        now: DateTime<Utc>,
    ) -> Stored<ProjectionRecord> {
        self.through(self.store().register(spec, now)).await
    }

    async fn projection(&self, name: &str) -> Stored<Option<ProjectionRecord>> {
        self.through(self.store().projection(name)).await
    }

    async fn projections(&self) -> Stored<Vec<ProjectionRecord>> {
        self.through(self.store().projections()).await
    }

    async fn set_state(
        &self,
        name: &str,
        state: ProjectionState,
        now: DateTime<Utc>,
    ) -> Stored<Option<ProjectionRecord>> {
        self.through(self.store().set_state(name, state, now)).await
    }

    async fn claim(&self, name: &str, owner: &str, term: Duration) -> Stored<Claim> {
        self.0.claim(name, owner, term).await
    }

    async fn release(&self, name: &str, owner: &str) -> Stored<()> {
        self.through(self.store().release(name, owner)).await
    }

    async fn record_failure(
        &self,
        name: &str,
        fence: Fence,
        state: ProjectionState,
        failure: Failure,
    ) -> Result<(), CommitError> {
        let store = self.store();
        store.record_failure(name, fence, state, failure).await
    }

    async fn parked(&self, name: &str, target: Target) -> Stored<Vec<ParkedEvent>> {
        self.through(self.store().parked(name, target)).await
    }

    async fn retried_parked(&self, name: &str, epoch: u64) -> Stored<()> {
        self.through(self.store().retried_parked(name, epoch)).await
    }

    async fn rows(
        &self,
        table: &TableSpec,
        target: Target,
        keys: &[Vec<Value>],
    ) -> Stored<Vec<Row>> {
        self.through(self.store().rows(table, target, keys)).await
    }

    async fn scan_rows(
        &self,
        table: &TableSpec,
        target: Target,
        after: Option<&[Value]>,
        limit: usize,
    ) -> Stored<Vec<Row>> {
        let rows = self.store().scan_rows(table, target, after, limit);
        self.through(rows).await
    }

    async fn commit(&self, commit: Commit) -> Result<(), CommitError> {
        self.0.commit(commit).await
    }

    async fn install_inline(&self, projection: Arc<dyn InlineProjection>) -> Result<(), FoldError> {
        self.0.install_inline(projection).await
    }

    async fn begin_rebuild(
        &self,
        spec: &ProjectionSpec,
        owner: &str,
        lease: Duration,
        restart: bool,
        now: DateTime<Utc>,
    ) -> Result<RebuildRecord, RebuildError> {
        let hooks = &self.0;
        hooks.begin_rebuild(spec, owner, lease, restart, now).await
    }

    async fn renew_rebuild(
        &self,
        name: &str,
        epoch: u64,
        lease: Duration,
    ) -> Result<(), RebuildError> {
        self.store().renew_rebuild(name, epoch, lease).await
    }

    async fn abandon_rebuild(
        &self,
        name: &str,
        epoch: u64,
        keep: bool,
    ) -> Result<(), RebuildError> {
        self.store().abandon_rebuild(name, epoch, keep).await
    }

    async fn swap(
        &self,
        request: SwapRequest,
        projection: Arc<dyn InlineProjection>,
    ) -> Result<Swapped, RebuildError> {
        self.0.swap(request, projection).await
    }
}

#[async_trait]
impl<H: Hooks> SnapshotStore for Delegating<H> {
    async fn snapshot(&self, stream: &StreamName, schema: &str) -> Stored<Option<Snapshot>> {
        self.through(self.store().snapshot(stream, schema)).await
    }

    async fn save_snapshot(&self, stream: &StreamName, snapshot: Snapshot) -> Stored<()> {
        let saved = self.store().save_snapshot(stream, snapshot);
        self.through(saved).await
    }
}

#[async_trait]
impl<H: Hooks> Store for Delegating<H> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn kind(&self) -> &'static str {
        "delegating"
    }

    async fn tag_mismatches(&self, limit: usize) -> Stored<Vec<TagMismatch>> {
        self.through(self.store().tag_mismatches(limit)).await
    }
}
