//! A store in memory: for tests, examples and trying things out.

mod admission;
mod events;
mod head;
mod inline;
mod key;
mod lease;
mod log;
mod projection;
mod projections;
mod rebuild;
mod side;
mod snapshots;
mod table;
mod transfer;

use std::{
    any::Any,
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
};

use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard};

use self::{head::Head, log::Log, projection::Entry};
use crate::{
    name::StreamName,
    projector::InlineProjection,
    snapshot::Snapshot,
    store::{Store, StoreError, StoreErrorKind},
};

/// A store that keeps everything in this process's memory, and forgets it when it is closed.
///
/// It keeps every promise of [`EventStore`](crate::EventStore),
/// [`ProjectionStore`](crate::ProjectionStore) and [`SnapshotStore`](crate::SnapshotStore) but
/// durability: it passes the same conformance suite as the stores on disk. An inline projection
/// must not call the store it is folded in, which waits for it.
///
/// ```
/// use annals_core::{Append, Category, EventId, EventStore, EventType, Expected, LogRead};
/// use annals_core::{MemoryStore, Metadata, NewEvent, Position, StreamName};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = MemoryStore::new();
/// let stream = StreamName::parse("account-alice")?;
/// let id = EventId::new(uuid::Uuid::from_u128(1));
/// let opened = NewEvent {
///     id,
///     event_type: EventType::new("account.opened")?,
///     schema_version: 1,
///     payload: b"{}".to_vec(),
///     tags: vec![],
///     metadata: Metadata::caused_by(id.into(), id.uuid().into()),
/// };
/// let append = Append::to(stream, Expected::NoStream, vec![opened], chrono::Utc::now());
///
/// assert_eq!(store.append(append.clone()).await?.position, Position::new(1));
/// assert!(store.append(append).await?.repeated);
/// assert_eq!(store.read_log(LogRead::after(Position::START, 100)).await?.events.len(), 1);
/// # Ok(())
/// # }
/// ```
pub struct MemoryStore {
    /// `None` once the store is closed. One lock around everything makes every operation atomic;
    /// what must wait while it holds the lock (folding) works on a copy of what it changes, so
    /// that dropping it there leaves nothing behind.
    state: Mutex<Option<State>>,
    /// The head for those who wait for it.
    head: Head,
}

/// Everything the store knows.
#[derive(Debug, Default)]
struct State {
    log: Log,
    projections: BTreeMap<String, Entry>,
    inline: BTreeMap<String, Arc<dyn InlineProjection>>,
    snapshots: HashMap<StreamName, Snapshot>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: Mutex::new(Some(State::default())),
            head: Head::default(),
        }
    }

    /// Locks the state; `doing` is what the caller is about to do, for the error.
    async fn state(&self, doing: &str) -> Result<MappedMutexGuard<'_, State>, StoreError> {
        let state = self.state.lock().await;
        MutexGuard::try_map(state, Option::as_mut).map_err(|_| closed(doing))
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("head", &self.head.get())
            .finish_non_exhaustive()
    }
}

impl Store for MemoryStore {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn kind(&self) -> &'static str {
        "memory"
    }
}

fn closed(doing: &str) -> StoreError {
    StoreError::new(
        StoreErrorKind::Closed,
        format!("{doing}: the store has been closed"),
    )
}

fn invalid(doing: impl Into<String>) -> StoreError {
    StoreError::new(StoreErrorKind::Invalid, doing)
}
