//! A node's connection to the store, which fails, delays, lies about outcomes, and breaks for good.

use std::{
    any::Any,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use annals_core::{
    Append, AppendError, AppendId, Appended, Claim, Commit, CommitError, EventStore, Failure,
    Fence, Fingerprint, FoldError, InlineProjection, LogPage, LogRead, MemoryStore, ParkedEvent,
    Position, ProjectionRecord, ProjectionSpec, ProjectionState, ProjectionStore, RebuildError,
    RebuildRecord, RecordedAppend, Row, Snapshot, SnapshotStore, Store, StoreError, StoreErrorKind,
    StoredEvent, StreamName, StreamRead, SwapRequest, Swapped, TableSpec, Target, Value, Version,
};
use annals_testing::seed::Seed;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::sync::Notify;

/// What is broken on purpose, to see that the checks notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Planted {
    Nothing,
    /// The store forgets command ids, so that a command that is sent twice is carried out twice.
    ForgottenCommandIds,
    /// A command's rejection is recorded under no id, so that the command may still be carried out.
    UnconsumedRejections,
}

/// How a node's operations fail, in percent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Faults {
    pub(crate) refused: usize,
    pub(crate) unknown: usize,
    /// The operation at which the node dies, and whether it is carried out before.
    pub(crate) death: Option<(u64, bool)>,
    pub(crate) planted: Planted,
}

/// The store as one node sees it.
#[derive(Debug)]
pub(crate) struct Node {
    store: Arc<MemoryStore>,
    state: Mutex<State>,
    dead: Notify,
}

#[derive(Debug)]
struct State {
    seed: Seed,
    faults: Faults,
    operations: u64,
    is_dead: bool,
}

/// What becomes of an operation.
enum Fate {
    Done,
    Refused,
    /// Done, but the answer is lost.
    Unknown,
    DeadBefore,
    DeadAfter,
}

type Stored<T> = Result<T, StoreError>;

fn unreachable_now() -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, "reach the store")
}

impl Node {
    pub(crate) fn new(store: Arc<MemoryStore>, seed: u64, faults: Faults) -> Arc<Self> {
        let state = State {
            seed: Seed::new(seed),
            faults,
            operations: 0,
            is_dead: false,
        };
        Arc::new(Self {
            store,
            state: Mutex::new(state),
            dead: Notify::new(),
        })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on nothing gets through.
    pub(crate) fn kill(&self) {
        self.state().is_dead = true;
        self.dead.notify_one();
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.state().is_dead
    }

    /// Returns when the node has died.
    pub(crate) async fn died(&self) {
        while !self.is_dead() {
            self.dead.notified().await;
        }
    }

    pub(crate) fn operations(&self) -> u64 {
        self.state().operations
    }

    fn fate(&self) -> (Fate, usize) {
        let mut state = self.state();
        if state.is_dead {
            return (Fate::DeadBefore, 0);
        }
        state.operations += 1;
        let delay = state.seed.below(4);
        let dice = state.seed.below(100);
        let Faults {
            refused,
            unknown,
            death,
            ..
        } = state.faults;
        let fate = match death {
            Some((at, after)) if at == state.operations => match after {
                true => Fate::DeadAfter,
                false => Fate::DeadBefore,
            },
            _ if dice < refused => Fate::Refused,
            _ if dice < refused + unknown => Fate::Unknown,
            _ => Fate::Done,
        };
        (fate, delay)
    }

    /// Carries an operation out, or not, as fate has it.
    async fn through<T, E>(
        &self,
        operation: impl Future<Output = Result<T, E>>,
        refused: impl Fn(StoreError) -> E,
        unknown: impl Fn(StoreError) -> E,
    ) -> Result<T, E> {
        let (fate, delay) = self.fate();
        for _ in 0..delay {
            tokio::task::yield_now().await;
        }
        let killed_meanwhile = self.is_dead() && !matches!(fate, Fate::DeadAfter);
        match fate {
            _ if killed_meanwhile => self.die().await,
            Fate::Done => operation.await,
            Fate::Refused => Err(refused(unreachable_now())),
            Fate::Unknown => {
                operation.await?;
                Err(unknown(unreachable_now()))
            }
            Fate::DeadBefore => self.die().await,
            Fate::DeadAfter => {
                let done = operation.await;
                drop(done);
                self.die().await
            }
        }
    }

    async fn die<T>(&self) -> T {
        self.kill();
        std::future::pending().await
    }

    async fn stored<T>(&self, operation: impl Future<Output = Stored<T>>) -> Stored<T> {
        self.through(operation, |error| error, |error| error).await
    }

    fn plant(&self, mut append: Append) -> Append {
        let to_saga = append
            .writes
            .iter()
            .any(|write| write.stream.category() == "saga");
        match self.state().faults.planted {
            Planted::ForgottenCommandIds if !to_saga => append.id = None,
            Planted::UnconsumedRejections if to_saga => append.id = None,
            _ => {}
        }
        append
    }
}

#[async_trait]
impl EventStore for Node {
    async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        let append = self.store.append(self.plant(append));
        self.through(append, AppendError::Store, AppendError::Unknown)
            .await
    }

    async fn find_append(&self, id: AppendId) -> Stored<Option<(Appended, Fingerprint)>> {
        self.stored(self.store.find_append(id)).await
    }

    async fn appends(&self, after: Option<AppendId>, limit: usize) -> Stored<Vec<RecordedAppend>> {
        self.stored(self.store.appends(after, limit)).await
    }

    async fn import(
        &self,
        events: Vec<StoredEvent>,
        appends: Vec<RecordedAppend>,
    ) -> Stored<Position> {
        self.stored(self.store.import(events, appends)).await
    }

    async fn read_stream(&self, read: StreamRead) -> Stored<Vec<StoredEvent>> {
        self.stored(self.store.read_stream(read)).await
    }

    async fn read_log(&self, read: LogRead) -> Stored<LogPage> {
        self.stored(self.store.read_log(read)).await
    }

    async fn head(&self) -> Stored<Position> {
        self.stored(self.store.head()).await
    }

    async fn stream_version(&self, stream: &StreamName) -> Stored<Version> {
        self.stored(self.store.stream_version(stream)).await
    }

    async fn wait_beyond(&self, position: Position) -> Stored<Position> {
        self.stored(self.store.wait_beyond(position)).await
    }

    async fn close(&self) {
        self.store.close().await;
    }
}

#[async_trait]
impl ProjectionStore for Node {
    async fn register(
        &self,
        spec: &ProjectionSpec,
        now: DateTime<Utc>,
    ) -> Stored<ProjectionRecord> {
        self.stored(self.store.register(spec, now)).await
    }

    async fn projection(&self, name: &str) -> Stored<Option<ProjectionRecord>> {
        self.stored(self.store.projection(name)).await
    }

    async fn projections(&self) -> Stored<Vec<ProjectionRecord>> {
        self.stored(self.store.projections()).await
    }

    async fn set_state(
        &self,
        name: &str,
        state: ProjectionState,
        now: DateTime<Utc>,
    ) -> Stored<Option<ProjectionRecord>> {
        self.stored(self.store.set_state(name, state, now)).await
    }

    async fn claim(&self, name: &str, owner: &str, term: Duration) -> Stored<Claim> {
        self.stored(self.store.claim(name, owner, term)).await
    }

    async fn release(&self, name: &str, owner: &str) -> Stored<()> {
        self.stored(self.store.release(name, owner)).await
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
        self.stored(self.store.parked(name, target)).await
    }

    async fn retried_parked(&self, name: &str) -> Stored<()> {
        self.stored(self.store.retried_parked(name)).await
    }

    async fn rows(
        &self,
        table: &TableSpec,
        target: Target,
        keys: &[Vec<Value>],
    ) -> Stored<Vec<Row>> {
        self.stored(self.store.rows(table, target, keys)).await
    }

    async fn scan_rows(
        &self,
        table: &TableSpec,
        target: Target,
        after: Option<&[Value]>,
        limit: usize,
    ) -> Stored<Vec<Row>> {
        self.stored(self.store.scan_rows(table, target, after, limit))
            .await
    }

    async fn commit(&self, commit: Commit) -> Result<(), CommitError> {
        let committed = self.store.commit(commit);
        self.through(committed, CommitError::Store, CommitError::Store)
            .await
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
impl SnapshotStore for Node {
    async fn snapshot(&self, stream: &StreamName, schema: &str) -> Stored<Option<Snapshot>> {
        self.stored(self.store.snapshot(stream, schema)).await
    }

    async fn save_snapshot(&self, stream: &StreamName, snapshot: Snapshot) -> Stored<()> {
        self.stored(self.store.save_snapshot(stream, snapshot))
            .await
    }
}

#[async_trait]
impl Store for Node {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn kind(&self) -> &'static str {
        "a node of the simulation"
    }

    async fn tag_mismatches(&self, limit: usize) -> Stored<Vec<annals_core::TagMismatch>> {
        self.stored(self.store.tag_mismatches(limit)).await
    }
}
