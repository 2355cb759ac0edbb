//! What the projection engine drives, whatever kind of projection it is.

use std::{any::Any, collections::HashSet, fmt, ops::Range, sync::Arc};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::{
    decode::{Decoded, Page},
    event::{EventHeader, Recorded, StoredEvent},
    name::StreamName,
    order::Position,
    projection::{FailurePolicy, UnknownEvents},
    projection_store::{
        Changes, Checkpoint, CommitError, Failure, Fence, ParkedEvent, ProjectionSpec,
        RebuildError, SwapRequest, Swapped, Target,
    },
    store::{Store, StoreError},
    value::{Row, Value},
};

/// Makes the [`Projector`]s of one projection.
#[async_trait]
pub trait ProjectorFactory: fmt::Debug + Send + Sync + 'static {
    /// What the projection is.
    fn spec(&self) -> &ProjectionSpec;

    /// What happens when an event can't be folded.
    fn on_failure(&self) -> FailurePolicy;

    /// Opens one of the projection's tables for folding; the projection is registered by then.
    ///
    /// # Errors
    /// When the projection is written for another kind of store, or the store fails.
    async fn open(
        &self,
        store: &Arc<dyn Store>,
        target: Target,
    ) -> Result<Box<dyn Projector>, StoreError>;

    /// Makes the projection part of every append from now on.
    ///
    /// # Errors
    /// When the projection can't be inline, its missed events can't be folded, or the store fails.
    async fn install_inline(&self, store: &Arc<dyn Store>) -> Result<(), FoldError>;
}

/// Folds pages of the log into one table, and commits rows and checkpoint together.
///
/// The engine calls `fold` some times and then `commit`. After an error from either it calls
/// `reset`, after which everything since the last commit is as if it had never been.
#[async_trait]
pub trait Projector: fmt::Debug + Send {
    /// Decodes a page as this projection needs it, so that `fold` finds the work done. It may
    /// run on other threads, ahead of `fold`.
    fn decoder(&self) -> fn(&Page);

    /// Folds some of a page's events, in order, leaving out those of parked streams.
    ///
    /// # Errors
    /// Names the first event that could not be folded.
    async fn fold(
        &mut self,
        page: &Page,
        events: Range<usize>,
        parked: &HashSet<StreamName>,
    ) -> Result<(), FoldError>;

    /// How many rows wait for the commit.
    fn pending(&self) -> usize;

    /// Commits what was folded since the last commit, with the checkpoint.
    ///
    /// # Errors
    /// [`CommitError::Fenced`] when somebody else was there first.
    async fn commit(&mut self, step: Step) -> Result<(), CommitError>;

    /// Forgets everything since the last commit.
    async fn reset(&mut self);

    /// Puts this table, filled by a rebuild, in the live one's place.
    ///
    /// # Errors
    /// See [`RebuildError`].
    async fn swap(&mut self, request: SwapRequest) -> Result<Swapped, RebuildError>;
}

/// What is committed besides the rows.
#[derive(Clone, Debug)]
pub struct Step {
    /// What must hold, or nothing is written.
    pub fence: Fence,
    /// The new checkpoint.
    pub checkpoint: Checkpoint,
    /// Events put aside.
    pub park: Vec<ParkedEvent>,
    /// Positions of parked events that are dealt with.
    pub unpark: Vec<Position>,
    /// When.
    pub now: DateTime<Utc>,
}

/// Folds events in a transaction that somebody else commits.
#[async_trait]
pub trait InlineProjection: fmt::Debug + Send + Sync + 'static {
    /// What the projection is.
    fn spec(&self) -> &ProjectionSpec;

    /// Folds these events, in order, into the transaction's rows.
    ///
    /// # Errors
    /// Names the first event that could not be folded.
    async fn fold(&self, events: &[StoredEvent], rows: &mut dyn RowAccess)
    -> Result<(), FoldError>;
}

/// The rows of one table, in an open transaction.
#[async_trait]
pub trait RowAccess: Send {
    /// The rows with these keys that exist, in any order.
    ///
    /// # Errors
    /// When the store can't be read.
    async fn load(&mut self, keys: &[Vec<Value>]) -> Result<Vec<Row>, StoreError>;

    /// Writes rows.
    ///
    /// # Errors
    /// When the store can't be written.
    async fn write(&mut self, changes: Changes) -> Result<(), StoreError>;
}

/// Why events were not folded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FoldError {
    /// One event can't be folded.
    #[error(
        "projection `{projection}` can't fold `{event_type}` at position {position} (stream `{stream}`): {message}"
    )]
    Event {
        /// The projection.
        projection: String,
        /// The event's place in the log.
        position: Position,
        /// The event's stream.
        stream: StreamName,
        /// The event's wire name.
        event_type: String,
        /// Why.
        message: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl FoldError {
    /// The event at `header` can't be folded into `projection`.
    #[must_use]
    pub fn event(projection: &str, header: &EventHeader, message: impl Into<String>) -> Self {
        Self::Event {
            projection: projection.to_owned(),
            position: header.position,
            stream: header.stream.clone(),
            event_type: header.event_type.as_str().to_owned(),
            message: message.into(),
        }
    }

    /// What is recorded of a projection that stops because of it, since when.
    ///
    /// # Errors
    /// When it was the store that failed, which stops no projection.
    pub fn into_failure(self, since: DateTime<Utc>) -> Result<Failure, StoreError> {
        match self {
            Self::Event {
                position,
                stream,
                event_type,
                message,
                ..
            } => Ok(Failure {
                position,
                event_type,
                stream: stream.to_string(),
                message,
                since,
            }),
            Self::Store(error) => Err(error),
        }
    }
}

/// What a projection called `projection` makes of a decoded event: take it in, leave it, or fail.
///
/// Every kind of projection decides this here, live and in a rebuild.
///
/// # Errors
/// When the event is unreadable, or unknown to a projection that must know all of its categories.
pub fn relevant<'a, E>(
    projection: &str,
    stored: &StoredEvent,
    decoded: &'a Decoded<E>,
    unknown: UnknownEvents,
) -> Result<Option<&'a Recorded<E>>, FoldError> {
    match decoded {
        Decoded::Event(recorded) => Ok(Some(recorded)),
        Decoded::Foreign => Ok(None),
        Decoded::Unknown if unknown == UnknownEvents::Ignore => Ok(None),
        Decoded::Unknown => Err(FoldError::event(
            projection,
            stored,
            "the projection does not know this event type; add it to the events it takes in, \
             or let it ignore unknown ones (`UNKNOWN = UnknownEvents::Ignore`)",
        )),
        Decoded::Unreadable(error) => {
            let mut message = error.to_string();
            let mut source = std::error::Error::source(error);
            while let Some(cause) = source {
                message = format!("{message}: {cause}");
                source = cause.source();
            }
            Err(FoldError::event(projection, stored, message))
        }
    }
}

/// A store seen as its own type, for what is written for one kind of store.
///
/// # Errors
/// When it is another kind of store; `what` needs `needed`.
pub fn store_as<'a, S: Any>(
    store: &'a dyn Store,
    what: &str,
    needed: &str,
) -> Result<&'a S, StoreError> {
    store.as_any().downcast_ref().ok_or_else(|| {
        let kind = store.kind();
        StoreError::new(
            crate::store::StoreErrorKind::Invalid,
            format!("run {what}: it is written for {needed}, but the store is {kind}"),
        )
    })
}
