//! Where projections keep their rows and checkpoints, committed together.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    id::EventId,
    name::StreamName,
    order::Position,
    projector::{FoldError, InlineProjection},
    read_model::TableSpec,
    store::StoreError,
    value::{Row, Value},
};

/// What a projection is, as far as a store needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectionSpec {
    /// Its name, by which operators call it; unique within an application.
    pub name: String,
    /// Stands for the projection's code and columns. Rows written under another fingerprint are
    /// outdated.
    pub fingerprint: String,
    /// The read model's table; none when the projection looks after its own tables.
    pub table: Option<TableSpec>,
    /// Whether it commits in the append's own transaction.
    pub inline: bool,
}

/// Up to where a consumer has durably finished.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Checkpoint {
    /// The last event that counts.
    pub position: Position,
    /// Its id, to recognise a log that was swapped for another.
    pub event_id: Option<EventId>,
}

/// What a write must find, or another writer was there first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The epoch in which the writer read its state.
    pub epoch: u64,
    /// The checkpoint it continues from.
    pub checkpoint: Position,
}

/// Which of a projection's two tables: what queries read, or what a rebuild fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// The table that queries read.
    Live,
    /// The table beside it that a rebuild fills.
    Rebuild,
}

/// How a projection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProjectionState {
    /// It follows the log.
    Running,
    /// An operator stopped it.
    Paused,
    /// It stopped before an event that it can't fold.
    Failed,
    /// Its rows were written by other code; it needs a rebuild.
    Outdated,
    /// The log no longer has the event at its checkpoint: the log was swapped for another one.
    Diverged,
}

/// What went wrong with an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The event's position.
    pub position: Position,
    /// The event's wire name.
    pub event_type: String,
    /// The event's stream.
    pub stream: String,
    /// Why it could not be folded.
    pub message: String,
    /// Since when.
    pub since: DateTime<Utc>,
}

/// An event that was put aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ParkedEvent {
    /// Its stream.
    pub stream: StreamName,
    /// Its position.
    pub position: Position,
    /// Why: its own failure, or that of an earlier event of its stream.
    pub message: String,
    /// Since when.
    pub since: DateTime<Utc>,
}

/// A projection as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProjectionRecord {
    /// Its name.
    pub name: String,
    /// How it is doing.
    pub state: ProjectionState,
    /// Whether it commits in the append's own transaction.
    pub inline: bool,
    /// Up to where its rows reach.
    pub checkpoint: Checkpoint,
    /// Rises when another process takes the projection over, when an operator sets its state, and
    /// when its table is swapped.
    pub epoch: u64,
    /// The code and columns its rows were written with.
    pub fingerprint: String,
    /// Who runs it, or ran it last: the holder of its lease. None for an inline projection, which
    /// is everybody's.
    pub owner: Option<String>,
    /// Whether its owner is still within its lease.
    pub leased: bool,
    /// When its checkpoint was last written.
    pub updated_at: DateTime<Utc>,
    /// Why it stopped, if it did.
    pub failure: Option<Failure>,
    /// How many events are put aside.
    pub parked: u64,
    /// Whether an operator asked for the parked events to be tried again.
    pub retry_parked: bool,
    /// The rebuild under way, if there is one.
    pub rebuild: Option<RebuildRecord>,
}

/// A rebuild as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RebuildRecord {
    /// Who is at it.
    pub owner: String,
    /// Rises with each one who takes the rebuild over.
    pub epoch: u64,
    /// Up to where the new table reaches.
    pub checkpoint: Checkpoint,
    /// When it was begun.
    pub started_at: DateTime<Utc>,
    /// Whether its owner is still within its lease.
    pub leased: bool,
    /// Whether it goes on from where an earlier owner stopped.
    pub resumed: bool,
}

/// Rows to write and rows to delete.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// Whole rows, by the order of the table's columns; a row with the same key is replaced.
    pub upserts: Vec<Row>,
    /// Keys of rows that go.
    pub deletes: Vec<Vec<Value>>,
}

/// One step of a projection: rows and checkpoint, committed together.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The projection.
    pub projection: String,
    /// Which of its tables.
    pub target: Target,
    /// What must hold, or nothing is written.
    pub fence: Fence,
    /// The rows, and the table they go to.
    pub rows: Option<(TableSpec, Changes)>,
    /// The new checkpoint.
    pub checkpoint: Checkpoint,
    /// Events put aside in this step.
    pub park: Vec<ParkedEvent>,
    /// Positions of parked events that are dealt with.
    pub unpark: Vec<Position>,
    /// When.
    pub now: DateTime<Utc>,
}

/// What came of asking for the lease on running a projection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "only who holds the lease runs the projection"]
pub enum Claim {
    /// It is the caller's, for the term from now on.
    Held {
        /// The projection's epoch; what the caller commits must name it.
        epoch: u64,
    },
    /// It is somebody else's.
    HeldBy {
        /// Whose.
        owner: String,
    },
}

/// Why a step was not committed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// Somebody else has moved the checkpoint, paused the projection or swapped its table: read
    /// its record and start from there.
    #[error("projection `{projection}` was moved on by somebody else")]
    Fenced {
        /// The projection.
        projection: String,
    },
    /// An event could not be folded after all; nothing was written. For projections whose own
    /// statements fail only when their transaction ends.
    #[error(transparent)]
    Fold(FoldError),
    /// The store failed; nothing was written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<FoldError> for CommitError {
    fn from(error: FoldError) -> Self {
        match error {
            FoldError::Store(error) => Self::Store(error),
            event @ FoldError::Event { .. } => Self::Fold(event),
        }
    }
}

/// The request to put a rebuilt table in the live one's place.
#[derive(Clone, Debug)]
pub struct SwapRequest {
    /// The projection.
    pub spec: ProjectionSpec,
    /// The rebuild's fence.
    pub fence: Fence,
    /// Compares both tables first, and reports up to this many differing rows.
    pub verify: Option<usize>,
    /// When.
    pub now: DateTime<Utc>,
}

/// What a swap brought about.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Swapped {
    /// The new table's checkpoint.
    pub checkpoint: Checkpoint,
    /// How many rows it has.
    pub rows: u64,
    /// What the comparison found, where one was asked for and possible.
    pub differences: Option<Differences>,
}

/// How a rebuilt table differs from the live one at the same position.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Differences {
    /// How many rows differ.
    pub count: u64,
    /// The first few of them.
    pub samples: Vec<RowDifference>,
}

/// A row that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RowDifference {
    /// Its key, readable.
    pub key: String,
    /// The live row, readable, if there is one.
    pub live: Option<String>,
    /// The rebuilt row, readable, if there is one.
    pub rebuilt: Option<String>,
}

/// Why a rebuild can't begin, go on or end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RebuildError {
    /// There is no such projection in the store.
    #[error("there is no projection `{projection}`")]
    NoSuchProjection {
        /// The name.
        projection: String,
    },
    /// Somebody else is rebuilding it.
    #[error(
        "projection `{projection}` is being rebuilt by {owner} since {}; wait for it to end, or stop it first",
        since.format("%Y-%m-%d %H:%M:%S UTC")
    )]
    AlreadyRunning {
        /// The projection.
        projection: String,
        /// Who.
        owner: String,
        /// Since when.
        since: DateTime<Utc>,
    },
    /// The rebuild lost its lease to somebody else.
    #[error("the rebuild of `{projection}` was taken over by somebody else")]
    Fenced {
        /// The projection.
        projection: String,
    },
    /// The log no longer has the event up to which the new table reaches: it was restored or
    /// replaced.
    #[error(
        "the rebuilt table of `{projection}` reaches position {checkpoint}, but the log has not the event there that it had; the log was restored or replaced: begin the rebuild anew"
    )]
    Diverged {
        /// The projection.
        projection: String,
        /// Up to where the new table reaches.
        checkpoint: Position,
    },
    /// The new table is too far behind to be swapped in; fold up to `target` first.
    #[error("the rebuilt table reaches position {checkpoint}, and {target} is needed")]
    Behind {
        /// Up to where the new table reaches.
        checkpoint: Position,
        /// Up to where it must reach.
        target: Position,
    },
    /// The rebuild was asked to stop, and can be resumed.
    #[error(
        "the rebuild of `{projection}` was interrupted at position {checkpoint}; run it again to go on from there"
    )]
    Interrupted {
        /// The projection.
        projection: String,
        /// Up to where the new table reaches.
        checkpoint: Position,
    },
    /// An event could not be folded.
    #[error(transparent)]
    Fold(FoldError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<FoldError> for RebuildError {
    fn from(error: FoldError) -> Self {
        match error {
            FoldError::Store(error) => Self::Store(error),
            event @ FoldError::Event { .. } => Self::Fold(event),
        }
    }
}

impl From<CommitError> for RebuildError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Fenced { projection } => Self::Fenced { projection },
            CommitError::Fold(error) => Self::Fold(error),
            CommitError::Store(error) => Self::Store(error),
        }
    }
}

/// Keeps projections: their rows, checkpoints, failures and rebuilds.
///
/// The conformance suite in `annals-testing` defines what is written here.
#[async_trait]
pub trait ProjectionStore: Send + Sync + 'static {
    /// Makes a projection known, with its table, and answers its record.
    ///
    /// A new projection is `Running` at [`Position::START`]. One whose rows were written under
    /// another fingerprint becomes `Outdated`; its table is left alone. One that was `Outdated`
    /// and has its old fingerprint back is `Running` again.
    ///
    /// # Errors
    /// When the store fails, or a table of that name exists and is not this projection's.
    async fn register(
        &self,
        spec: &ProjectionSpec,
        now: DateTime<Utc>,
    ) -> Result<ProjectionRecord, StoreError>;

    /// One projection's record.
    ///
    /// # Errors
    /// When the store can't be read.
    async fn projection(&self, name: &str) -> Result<Option<ProjectionRecord>, StoreError>;

    /// All projections' records, by name.
    ///
    /// # Errors
    /// When the store can't be read.
    async fn projections(&self) -> Result<Vec<ProjectionRecord>, StoreError>;

    /// Pauses, resumes or retries: sets the state of a projection, and answers its record.
    ///
    /// `Running` clears the failure and asks for parked events to be tried again. The epoch
    /// rises, so that whoever is at work notices. `None` when there is no such projection.
    ///
    /// # Errors
    /// When the store can't be written.
    async fn set_state(
        &self,
        name: &str,
        state: ProjectionState,
        now: DateTime<Utc>,
    ) -> Result<Option<ProjectionRecord>, StoreError>;

    /// Takes the lease on running a projection, or renews it; judged by the store's own clock.
    ///
    /// While another owner holds it the answer is who. Otherwise it is `owner`'s for `term` from
    /// now. When that is another owner than before the epoch rises, so that whoever ran the
    /// projection until now can't commit any more. An owner that comes back keeps its epoch, even
    /// late, as long as nobody took its place.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`](crate::StoreErrorKind::NotFound) when there is no such
    /// projection, and when the store can't be written.
    async fn claim(&self, name: &str, owner: &str, term: Duration) -> Result<Claim, StoreError>;

    /// Gives the lease on running a projection up, so that another can have it at once. Nothing
    /// happens when it is somebody else's.
    ///
    /// # Errors
    /// When the store can't be written.
    async fn release(&self, name: &str, owner: &str) -> Result<(), StoreError>;

    /// Records that a projection stopped, unless somebody moved it on meanwhile.
    ///
    /// # Errors
    /// When the fence does not hold or the store can't be written.
    async fn record_failure(
        &self,
        name: &str,
        fence: Fence,
        state: ProjectionState,
        failure: Failure,
    ) -> Result<(), CommitError>;

    /// The events put aside for one of a projection's tables, by position.
    ///
    /// # Errors
    /// When the store can't be read.
    async fn parked(&self, name: &str, target: Target) -> Result<Vec<ParkedEvent>, StoreError>;

    /// Marks an operator's wish to try parked events again as fulfilled, if the projection is
    /// still in the epoch in which they were: each wish begins a new one, so that one who comes
    /// late does not take a later wish for theirs.
    ///
    /// # Errors
    /// When the store can't be written.
    async fn retried_parked(&self, name: &str, epoch: u64) -> Result<(), StoreError>;

    /// The rows with these keys that exist, in any order.
    ///
    /// # Errors
    /// When the store can't be read.
    async fn rows(
        &self,
        table: &TableSpec,
        target: Target,
        keys: &[Vec<Value>],
    ) -> Result<Vec<Row>, StoreError>;

    /// Up to `limit` rows in the order of the key, after a key.
    ///
    /// # Errors
    /// When the store can't be read.
    async fn scan_rows(
        &self,
        table: &TableSpec,
        target: Target,
        after: Option<&[Value]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError>;

    /// Commits a step: rows, parked events and checkpoint, or nothing.
    ///
    /// A step on the live table also needs the projection to be `Running`.
    ///
    /// # Errors
    /// [`CommitError::Fenced`] when somebody else was there first.
    async fn commit(&self, commit: Commit) -> Result<(), CommitError>;

    /// Commits this projection's rows within every append from now on.
    ///
    /// What it has missed is folded first. A store that fails to do so answers the error.
    ///
    /// # Errors
    /// When the missed events can't be folded, or the store fails.
    async fn install_inline(
        &self,
        projection: std::sync::Arc<dyn InlineProjection>,
    ) -> Result<(), FoldError>;

    /// Begins a rebuild or resumes one that was left behind, and takes a lease on it.
    ///
    /// A left-behind rebuild of another fingerprint, or any when `restart` is set, is thrown away.
    ///
    /// # Errors
    /// [`RebuildError::AlreadyRunning`] while somebody else holds the lease.
    async fn begin_rebuild(
        &self,
        spec: &ProjectionSpec,
        owner: &str,
        lease: Duration,
        restart: bool,
        now: DateTime<Utc>,
    ) -> Result<RebuildRecord, RebuildError>;

    /// Renews the lease of a rebuild.
    ///
    /// # Errors
    /// [`RebuildError::Fenced`] when somebody else has taken it over.
    async fn renew_rebuild(
        &self,
        name: &str,
        epoch: u64,
        lease: Duration,
    ) -> Result<(), RebuildError>;

    /// Gives a rebuild up. `keep` leaves the new table for a later rebuild to go on with.
    ///
    /// # Errors
    /// [`RebuildError::Fenced`] when somebody else has taken it over.
    async fn abandon_rebuild(&self, name: &str, epoch: u64, keep: bool)
    -> Result<(), RebuildError>;

    /// Puts the rebuilt table in the live one's place, in one transaction with its checkpoint.
    ///
    /// The new table must reach at least as far as the live one (an inline projection's: the
    /// head); what little is missing is folded by `projection` in the same transaction. The
    /// live projection is then `Running`, without failure, in a new epoch.
    ///
    /// # Errors
    /// [`RebuildError::Behind`] when too much is missing.
    async fn swap(
        &self,
        request: SwapRequest,
        projection: std::sync::Arc<dyn InlineProjection>,
    ) -> Result<Swapped, RebuildError>;
}
