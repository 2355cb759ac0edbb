//! A store whose commits fail now and then, also after they were done, and whose pages differ in
//! size.

use std::{
    any::Any,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use annals_core::{
    Append, AppendError, AppendId, Appended, Claim, Commit, CommitError, EventStore, Failure,
    Fence, Fingerprint, FoldError, InlineProjection, LogPage, LogRead, MemoryStore, ParkedEvent,
    Position, ProjectionRecord, ProjectionSpec, ProjectionState, ProjectionStore, RebuildError,
    RebuildRecord, RecordedAppend, Row, Snapshot, SnapshotStore, Store, StoreError, StoreErrorKind,
    StoredEvent, StreamName, StreamRead, SwapRequest, Swapped, TableSpec, Target, Value, Version,
};
use annals_runtime::{App, Builder, RebuildOptions};
use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::bank::{self, Balance, SOON};

/// Every third commit fails: by turns before and after it is done.
#[derive(Debug)]
struct Unsteady {
    store: Arc<MemoryStore>,
    commits: AtomicU64,
    reads: AtomicU64,
}

fn unreachable_now() -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, "reach the store")
}

type Stored<T> = Result<T, StoreError>;

#[async_trait]
impl EventStore for Unsteady {
    async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        self.store.append(append).await
    }

    async fn find_append(&self, id: AppendId) -> Stored<Option<(Appended, Fingerprint)>> {
        self.store.find_append(id).await
    }

    async fn appends(&self, after: Option<AppendId>, limit: usize) -> Stored<Vec<RecordedAppend>> {
        self.store.appends(after, limit).await
    }

    async fn import(
        &self,
        events: Vec<StoredEvent>,
        appends: Vec<RecordedAppend>,
    ) -> Stored<Position> {
        self.store.import(events, appends).await
    }

    async fn read_stream(&self, read: StreamRead) -> Stored<Vec<StoredEvent>> {
        self.store.read_stream(read).await
    }

    async fn read_log(&self, read: LogRead) -> Stored<LogPage> {
        match self.reads.fetch_add(1, Ordering::Relaxed) % 5 {
            4 => Err(unreachable_now()),
            // As a store answers whose events are large.
            1 | 2 => {
                let limit = read.limit.min(3);
                self.store.read_log(LogRead { limit, ..read }).await
            }
            _ => self.store.read_log(read).await,
        }
    }

    async fn head(&self) -> Stored<Position> {
        self.store.head().await
    }

    async fn stream_version(&self, stream: &StreamName) -> Stored<Version> {
        self.store.stream_version(stream).await
    }

    async fn wait_beyond(&self, position: Position) -> Stored<Position> {
        self.store.wait_beyond(position).await
    }

    async fn close(&self) {
        self.store.close().await;
    }
}

#[async_trait]
impl ProjectionStore for Unsteady {
    async fn register(
        &self,
        spec: &ProjectionSpec,
        now: DateTime<Utc>,
    ) -> Stored<ProjectionRecord> {
        self.store.register(spec, now).await
    }

    async fn projection(&self, name: &str) -> Stored<Option<ProjectionRecord>> {
        self.store.projection(name).await
    }

    async fn projections(&self) -> Stored<Vec<ProjectionRecord>> {
        self.store.projections().await
    }

    async fn set_state(
        &self,
        name: &str,
        state: ProjectionState,
        now: DateTime<Utc>,
    ) -> Stored<Option<ProjectionRecord>> {
        self.store.set_state(name, state, now).await
    }

    async fn claim(&self, name: &str, owner: &str, term: Duration) -> Stored<Claim> {
        self.store.claim(name, owner, term).await
    }

    async fn release(&self, name: &str, owner: &str) -> Stored<()> {
        self.store.release(name, owner).await
    }

    async fn record_failure(
        &self,
        name: &str,
        fence: Fence,
        state: ProjectionState,
        failure: Failure,
    ) -> Result<(), CommitError> {
        self.store.record_failure(name, fence, state, failure).await
    }

    async fn parked(&self, name: &str, target: Target) -> Stored<Vec<ParkedEvent>> {
        self.store.parked(name, target).await
    }

    async fn retried_parked(&self, name: &str) -> Stored<()> {
        self.store.retried_parked(name).await
    }

    async fn rows(
        &self,
        table: &TableSpec,
        target: Target,
        keys: &[Vec<Value>],
    ) -> Stored<Vec<Row>> {
        self.store.rows(table, target, keys).await
    }

    async fn scan_rows(
        &self,
        table: &TableSpec,
        target: Target,
        after: Option<&[Value]>,
        limit: usize,
    ) -> Stored<Vec<Row>> {
        self.store.scan_rows(table, target, after, limit).await
    }

    async fn commit(&self, commit: Commit) -> Result<(), CommitError> {
        match self.commits.fetch_add(1, Ordering::Relaxed) % 6 {
            2 => Err(unreachable_now().into()),
            5 => {
                self.store.commit(commit).await?;
                Err(unreachable_now().into())
            }
            _ => self.store.commit(commit).await,
        }
    }

    async fn install_inline(&self, projection: Arc<dyn InlineProjection>) -> Result<(), FoldError> {
        self.store.install_inline(projection).await
    }

    async fn begin_rebuild(
        &self,
        spec: &ProjectionSpec,
        owner: &str,
        lease: Duration,
        restart: bool,
        now: DateTime<Utc>,
    ) -> Result<RebuildRecord, RebuildError> {
        let begun = self.store.begin_rebuild(spec, owner, lease, restart, now);
        begun.await
    }

    async fn renew_rebuild(
        &self,
        name: &str,
        epoch: u64,
        lease: Duration,
    ) -> Result<(), RebuildError> {
        self.store.renew_rebuild(name, epoch, lease).await
    }

    async fn abandon_rebuild(
        &self,
        name: &str,
        epoch: u64,
        keep: bool,
    ) -> Result<(), RebuildError> {
        self.store.abandon_rebuild(name, epoch, keep).await
    }

    async fn swap(
        &self,
        request: SwapRequest,
        projection: Arc<dyn InlineProjection>,
    ) -> Result<Swapped, RebuildError> {
        self.store.swap(request, projection).await
    }
}

#[async_trait]
impl SnapshotStore for Unsteady {
    async fn snapshot(&self, stream: &StreamName, schema: &str) -> Stored<Option<Snapshot>> {
        self.store.snapshot(stream, schema).await
    }

    async fn save_snapshot(&self, stream: &StreamName, snapshot: Snapshot) -> Stored<()> {
        self.store.save_snapshot(stream, snapshot).await
    }
}

#[async_trait]
impl Store for Unsteady {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn kind(&self) -> &'static str {
        "unsteady"
    }

    async fn tag_mismatches(&self, limit: usize) -> Stored<Vec<annals_core::TagMismatch>> {
        self.store.tag_mismatches(limit).await
    }
}

async fn running(store: &Arc<MemoryStore>) -> App {
    let unsteady = Unsteady {
        store: Arc::clone(store),
        commits: AtomicU64::new(0),
        reads: AtomicU64::new(0),
    };
    let builder = Builder::new(Arc::new(unsteady)).projection::<Balance>();
    builder.start().await.unwrap()
}

#[tokio::test]
async fn a_projection_on_an_unsteady_store_counts_each_event_once() {
    let store = bank::store();
    let app = running(&store).await;
    for _ in 0..30 {
        let position = bank::deposit(&store, "alice", 1).await;
        let caught_up = app.caught_up_within::<Balance>(position, SOON);
        caught_up.await.unwrap();
    }
    assert_eq!(bank::balances(&app).await["alice"], (30, 30));
}

#[tokio::test]
async fn a_rebuild_on_an_unsteady_store_counts_each_event_once() {
    let store = bank::store();
    let app = running(&store).await;
    let entries: Vec<_> = (0..200).map(|_| ("alice", Some(1))).collect();
    let head = bank::append(&store, &entries).await;
    let caught_up = app.caught_up_within::<Balance>(head, SOON);
    caught_up.await.unwrap();
    let options = RebuildOptions {
        page_size: 10,
        flush_events: 10,
        parallel: 2,
        ..RebuildOptions::default()
    };
    let mut unseen = |_| {};
    let rebuild = app.projections().rebuild("balance", options, &mut unseen);
    assert_eq!(rebuild.await.unwrap().checkpoint, head);
    assert_eq!(bank::balances(&app).await["alice"], (200, 200));
}
