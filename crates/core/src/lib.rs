//! The nouns and traits of Annals: aggregates, events, the log, projections and read models.
//!
//! This crate holds no SQL, spawns no task and reads no clock. Stores implement its traits,
//! engines drive them, and applications normally depend on the facade crate `annals`, which
//! re-exports everything here.
//!
//! | to model | read |
//! |---|---|
//! | what decides | [`Aggregate`] |
//! | what happened | [`Event`], [`EventSet`], [`Recorded`] |
//! | what is asked | [`ReadModel`], [`Projection`] |
//! | where it is kept | [`EventStore`], [`ProjectionStore`], [`SnapshotStore`] |

pub mod admission;
pub mod aggregate;
pub mod append;
pub mod clock;
pub mod decode;
mod difference;
pub mod event;
pub mod id;
pub mod inspection;
pub mod memory;
pub mod metadata;
pub mod name;
pub mod order;
pub mod paging;
pub mod projection;
pub mod projection_record;
pub mod projection_store;
pub mod projector;
pub mod query;
pub mod read_model;
pub mod saga;
pub mod snapshot;
pub mod store;
pub mod swap;
pub mod transfer;
pub mod value;
pub mod waiting;
mod wire;

#[doc(hidden)]
pub mod __macro;

pub use aggregate::Aggregate;
pub use annals_macros::{Event, EventSet, Id, ReadModel};
pub use append::{Append, AppendError, Appended, Condition, Fingerprint, NewEvent, StreamWrite};
pub use clock::{Clock, IdSource};
pub use decode::{Decoded, Page};
pub use event::{
    DecodeError, EncodeError, Event, EventHeader, EventSchema, EventSet, Recorded, StoredEvent,
    UpcastError, Upcaster,
};
pub use id::{AppendId, CausationId, CommandId, CorrelationId, EventId, Id, InvalidId};
pub use inspection::{TableSize, TagMismatch};
pub use memory::MemoryStore;
pub use metadata::{Metadata, TraceContext};
pub use name::{Category, EventType, InvalidName, StreamName, Tag};
pub use order::{Direction, Expected, Position, Version};
pub use projection::{FailurePolicy, Projection, ProjectionError, UnknownEvents};
pub use projection_store::{
    Changes, Checkpoint, Claim, Commit, CommitError, Differences, Failure, Fence, ParkedEvent,
    ProjectionRecord, ProjectionSpec, ProjectionState, ProjectionStore, RebuildError,
    RebuildRecord, RowDifference, SwapRequest, Swapped, Target,
};
pub use projector::{FoldError, InlineProjection, Projector, ProjectorFactory, RowAccess, Step};
pub use query::{LogRead, Query, QueryItem, StreamRead};
pub use read_model::{ReadModel, RowError, TableSpec};
pub use snapshot::{Snapshot, SnapshotStore};
pub use store::{EventStore, LogPage, Migrated, Store, StoreError, StoreErrorKind};
pub use transfer::RecordedAppend;
pub use value::{Column, ColumnType, ColumnValue, Row, Value};
