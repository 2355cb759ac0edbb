//! What an event store does, and how it fails.

use std::{error::Error, fmt};

use async_trait::async_trait;

use crate::{
    append::{Append, AppendError, Appended, Fingerprint},
    event::StoredEvent,
    id::AppendId,
    inspection::{TableSize, TagMismatch},
    name::StreamName,
    order::{Position, Version},
    projection_store::ProjectionStore,
    query::{LogRead, StreamRead},
    snapshot::SnapshotStore,
    transfer::RecordedAppend,
};

/// Part of the log, in the order it was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogPage {
    /// The events.
    pub events: Vec<StoredEvent>,
    /// How far the log was looked through: read on from here. It can lie beyond the last event,
    /// when what followed did not match the query.
    pub scanned_to: Position,
    /// Whether the end of the log (backwards: its beginning) was reached.
    pub at_end: bool,
}

/// A durable, totally ordered log of events, grouped into streams.
///
/// Every implementation passes the conformance suite in `annals-testing`, which defines what is
/// written here:
///
/// - positions are dense and commit-ordered: who has seen position `p` has seen all below it;
/// - a stream's versions are dense, and of conflicting appends exactly one commits;
/// - an append is acknowledged when it is durable, and repeating it appends nothing;
/// - a future may be dropped at any point: the operation then happens wholly or not at all.
#[async_trait]
pub trait EventStore: fmt::Debug + Send + Sync + 'static {
    /// Appends events to one or several streams: all of them or none.
    ///
    /// Appending the same events again (recognised by their ids, or by [`Append::id`]) writes
    /// nothing and answers as the first time, with `repeated` set.
    ///
    /// # Errors
    /// See [`AppendError`]; after any error but [`AppendError::Unknown`] nothing was appended.
    async fn append(&self, append: Append) -> Result<Appended, AppendError>;

    /// What the append with this id brought about, and the fingerprint it had.
    ///
    /// # Errors
    /// When the store can't be read.
    async fn find_append(
        &self,
        id: AppendId,
    ) -> Result<Option<(Appended, Fingerprint)>, StoreError>;

    /// A page of what appends with an id brought about, in the order of their ids, after `after`;
    /// empty when there are no more. For moving a log to another store.
    ///
    /// # Errors
    /// When the store can't be read.
    async fn appends(
        &self,
        after: Option<AppendId>,
        limit: usize,
    ) -> Result<Vec<RecordedAppend>, StoreError>;

    /// Takes in a piece of another store's log as it is: positions, versions, ids, times (to the
    /// microsecond), metadata, tags and payload bytes are kept. All of it or nothing; durable when
    /// answered. Answers the new head.
    ///
    /// The events must follow on the head, and the appends lie at or below the new one. Inline
    /// projections fold what comes in. [`check_piece`](crate::transfer::check_piece) is what every
    /// store checks; one piece carries at most [`MAX_EVENTS`](crate::append::MAX_EVENTS) of each.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`], with nothing written, when the piece does not follow on what
    /// is there, has an id that is there already or exceeds a limit. After any other error look at
    /// the head: a commit may have come through though its answer was lost.
    async fn import(
        &self,
        events: Vec<StoredEvent>,
        appends: Vec<RecordedAppend>,
    ) -> Result<Position, StoreError>;

    /// A page of one stream; empty when there is nothing (more).
    ///
    /// A page of large events may be shorter than was asked for though more follow; not so one
    /// of less than [`WHOLE_PAGE`](crate::query::WHOLE_PAGE) events, whose payloads come to less
    /// than [`MAX_PAYLOAD_BYTES`](crate::append::MAX_PAYLOAD_BYTES).
    ///
    /// # Errors
    /// When the store can't be read.
    async fn read_stream(&self, read: StreamRead) -> Result<Vec<StoredEvent>, StoreError>;

    /// A page of the log.
    ///
    /// # Errors
    /// When the store can't be read, or the log has a hole ([`StoreErrorKind::Corrupt`]).
    async fn read_log(&self, read: LogRead) -> Result<LogPage, StoreError>;

    /// The position of the last event, [`Position::START`] when there is none.
    ///
    /// # Errors
    /// When the store can't be read.
    async fn head(&self) -> Result<Position, StoreError>;

    /// The version of a stream's last event, [`Version::NONE`] when there is none.
    ///
    /// # Errors
    /// When the store can't be read.
    async fn stream_version(&self, stream: &StreamName) -> Result<Version, StoreError>;

    /// Waits until the log reaches beyond `position`, and answers how far it reaches.
    ///
    /// Appends of this process wake the waiter; those of others are noticed by polling.
    ///
    /// # Errors
    /// When the store can't be read or has been closed.
    async fn wait_beyond(&self, position: Position) -> Result<Position, StoreError>;

    /// Finishes what was accepted, refuses what comes after, and lets go of the storage.
    async fn close(&self);
}

/// Everything the engines need of a store.
#[async_trait]
pub trait Store: EventStore + ProjectionStore + SnapshotStore {
    /// The store as itself, for projections that are written for one kind of store.
    fn as_any(&self) -> &dyn std::any::Any;

    /// What kind of store it is, for messages: `SQLite`, `memory`.
    fn kind(&self) -> &'static str;

    /// What opening it made of its tables; `None` for a store that has none.
    fn migrated(&self) -> Option<Migrated> {
        None
    }

    /// What each of the store's tables takes on disk, the largest first; empty where that can't be
    /// told by table.
    ///
    /// # Errors
    /// When the store can't be read.
    async fn table_sizes(&self) -> Result<Vec<TableSize>, StoreError> {
        Ok(Vec::new())
    }

    /// The first tags, by position, on which events and the store's index of tags disagree: none
    /// in a sound store, or in one without such an index.
    ///
    /// # Errors
    /// When the store can't be read.
    async fn tag_mismatches(&self, _limit: usize) -> Result<Vec<TagMismatch>, StoreError> {
        Ok(Vec::new())
    }
}

/// Which migration a store's tables were at, and are at now: opening a store brings them up to
/// date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// The newest migration that had run before; 0 when there were no tables.
    pub from: u32,
    /// The newest one that has run by now.
    pub to: u32,
}

/// What went wrong in a store, as far as a caller can act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The store is locked by others for longer than the time-out.
    Busy,
    /// The store can't be reached.
    Unavailable,
    /// The disk or quota is full.
    StorageFull,
    /// The storage can be read but not written.
    ReadOnly,
    /// There is no store at the given place, or it can't be opened.
    NotFound,
    /// What is stored is not what was written, or is no store at all.
    Corrupt,
    /// The store was written by a newer release.
    NewerSchema,
    /// The store has been closed.
    Closed,
    /// What was asked makes no sense to this store.
    Invalid,
    /// Anything else.
    Other,
}

/// A failure of the store, with what was being done and why it failed.
///
/// `Display` says what was being done; the cause is in [`Error::source`].
pub struct StoreError {
    kind: StoreErrorKind,
    doing: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl StoreError {
    /// An error of a kind; `doing` is a fragment that fits "failed to ...".
    #[must_use]
    pub fn new(kind: StoreErrorKind, doing: impl Into<String>) -> Self {
        Self {
            kind,
            doing: doing.into(),
            source: None,
        }
    }

    /// Adds the cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What went wrong, as far as a caller can act on it.
    #[must_use]
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later without anybody changing it: once others are done,
    /// the server is back, there is space again, or a standby has been promoted.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self.kind,
            StoreErrorKind::Busy
                | StoreErrorKind::Unavailable
                | StoreErrorKind::StorageFull
                | StoreErrorKind::ReadOnly
        )
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed to {}", self.doing)
    }
}

impl fmt::Debug for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: failed to {}", self.kind, self.doing)?;
        self.source
            .iter()
            .try_for_each(|source| write!(f, ": {source}"))
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
