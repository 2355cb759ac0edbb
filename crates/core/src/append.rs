//! Appending events: to one or several streams, atomically, under conditions.

use chrono::{DateTime, Utc};

use crate::{
    event::{EncodeError, Event},
    id::{AppendId, EventId},
    metadata::Metadata,
    name::{EventType, StreamName, Tag},
    order::{Expected, Position, Version},
    query::Query,
    store::StoreError,
};

/// The most events that one append may carry.
pub const MAX_EVENTS: usize = 10_000;
/// The largest payload of one event, in bytes.
pub const MAX_PAYLOAD_BYTES: usize = 8 * 1024 * 1024;
/// The largest free-form part of one event's metadata (actor, trace, entries), in bytes.
pub const MAX_METADATA_BYTES: usize = 64 * 1024;
/// The most tags on one event.
pub const MAX_TAGS: usize = 64;

/// An event on its way into the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// Its id, by which a repeated append is recognised.
    pub id: EventId,
    /// Its wire name.
    pub event_type: EventType,
    /// The schema version of the payload; the first is 1.
    pub schema_version: u32,
    /// What happened, usually JSON. It comes back byte for byte.
    pub payload: Vec<u8>,
    /// Its tags.
    pub tags: Vec<Tag>,
    /// Who, why, in which trace.
    pub metadata: Metadata,
}

impl NewEvent {
    /// Encodes a typed event.
    ///
    /// # Errors
    /// When the event does not serialise, or a tagged field's text can't be a tag.
    pub fn encode<E: Event>(
        event: &E,
        id: EventId,
        metadata: Metadata,
    ) -> Result<Self, EncodeError> {
        let schema = event.schema();
        Ok(Self {
            id,
            event_type: EventType::new(schema.name)?,
            schema_version: schema.version,
            payload: event.encode()?,
            tags: event.tags()?,
            metadata,
        })
    }
}

/// What an append writes to one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamWrite {
    /// The stream.
    pub stream: StreamName,
    /// What must hold of it, or nothing at all is appended.
    pub expected: Expected,
    /// The events, in order. May be empty, which checks the expectation only.
    pub events: Vec<NewEvent>,
}

/// "No event matching `query` after `after`": the Dynamic Consistency Boundary.
///
/// A decision made from a query's result up to a position stays valid as long as nothing that
/// matches came since (<https://dcb.events>).
///
/// Tags are indexed. A condition without any looks through every event after `after`, so keep that
/// position recent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// What must not have happened.
    pub query: Query,
    /// Since when: the position up to which the decision has read.
    pub after: Position,
}

/// A digest of what an append id stands for.
pub type Fingerprint = [u8; 16];

/// Events to write, atomically: all of them or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// Given for appends that may be repeated with other event ids, as commands are: the same
    /// id again appends nothing and answers as the first time.
    pub id: Option<AppendId>,
    /// What the id stands for. The same id with another fingerprint is an error.
    pub fingerprint: Fingerprint,
    /// What goes to which stream. No stream may come twice.
    pub writes: Vec<StreamWrite>,
    /// What must not have happened meanwhile.
    pub condition: Option<Condition>,
    /// The time that all the events are recorded with.
    pub recorded_at: DateTime<Utc>,
}

impl Append {
    /// An append to one stream.
    #[must_use]
    pub fn to(
        stream: StreamName,
        expected: Expected,
        events: Vec<NewEvent>,
        recorded_at: DateTime<Utc>,
    ) -> Self {
        Self {
            id: None,
            fingerprint: Fingerprint::default(),
            writes: vec![StreamWrite {
                stream,
                expected,
                events,
            }],
            condition: None,
            recorded_at,
        }
    }

    /// Also writes to another stream.
    #[must_use]
    pub fn and(mut self, stream: StreamName, expected: Expected, events: Vec<NewEvent>) -> Self {
        self.writes.push(StreamWrite {
            stream,
            expected,
            events,
        });
        self
    }

    /// Makes the append conditional: only if nothing matching `query` came after `after`.
    #[must_use]
    pub fn unless(mut self, query: Query, after: Position) -> Self {
        self.condition = Some(Condition { query, after });
        self
    }

    /// Makes the append repeatable under `id`, which stands for `fingerprint`.
    #[must_use]
    pub fn once(mut self, id: AppendId, fingerprint: Fingerprint) -> Self {
        self.id = Some(id);
        self.fingerprint = fingerprint;
        self
    }

    /// How many events it carries.
    #[must_use]
    pub fn event_count(&self) -> usize {
        self.writes.iter().map(|write| write.events.len()).sum()
    }

    /// Checks what no store accepts: too much of anything, no stream, or one stream twice.
    ///
    /// # Errors
    /// [`AppendError::Invalid`], saying what to change.
    pub fn validate(&self) -> Result<(), AppendError> {
        let invalid = |problem: String| Err(AppendError::Invalid { problem });
        let count = self.event_count();
        if self.writes.is_empty() || (count == 0 && self.id.is_none()) {
            return invalid("it has no events".to_owned());
        }
        if count > MAX_EVENTS {
            return invalid(format!("it has {count} events; {MAX_EVENTS} are allowed"));
        }
        for (index, write) in self.writes.iter().enumerate() {
            if self
                .writes
                .iter()
                .take(index)
                .any(|earlier| earlier.stream == write.stream)
            {
                return invalid(format!("it names stream `{}` twice", write.stream));
            }
        }
        let mut ids = std::collections::HashSet::with_capacity(count);
        for event in self.writes.iter().flat_map(|write| &write.events) {
            if !ids.insert(event.id) {
                return invalid(format!("it has the event id {} twice", event.id));
            }
            check_event(
                &event.event_type,
                &event.payload,
                &event.metadata,
                &event.tags,
            )
            .or_else(invalid)?;
        }
        Ok(())
    }
}

/// Checks what no store accepts of a single event; says what is too much.
pub(crate) fn check_event(
    event_type: &EventType,
    payload: &[u8],
    metadata: &Metadata,
    tags: &[Tag],
) -> Result<(), String> {
    let bytes = payload.len();
    if bytes > MAX_PAYLOAD_BYTES {
        return Err(format!(
            "the payload of `{event_type}` has {bytes} bytes; {MAX_PAYLOAD_BYTES} are allowed"
        ));
    }
    let bytes = metadata.free_bytes();
    if bytes > MAX_METADATA_BYTES {
        return Err(format!(
            "the metadata of `{event_type}` has {bytes} bytes; {MAX_METADATA_BYTES} are allowed"
        ));
    }
    let tags = tags.len();
    if tags > MAX_TAGS {
        return Err(format!(
            "`{event_type}` has {tags} tags; {MAX_TAGS} are allowed"
        ));
    }
    Ok(())
}

/// What an append brought about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The position of the append's last event; the head of the log as the append saw it when
    /// it had no events.
    pub position: Position,
    /// The version that each stream reached with this append, in the order of its writes.
    pub versions: Vec<Version>,
    /// Whether this repeats an earlier append, so that nothing was written now.
    pub repeated: bool,
}

/// Why nothing was appended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// A stream is not at the expected version: somebody else appended first.
    #[error("stream `{stream}` is at version {actual}, not at {expected}")]
    Conflict {
        /// The stream.
        stream: StreamName,
        /// What the append expected.
        expected: Expected,
        /// Where the stream is.
        actual: Version,
    },
    /// An event that must not have happened has happened.
    #[error("the append's condition failed: a matching event stands at position {position}")]
    ConditionFailed {
        /// The first such event.
        position: Position,
    },
    /// The append id or one of the event ids was used before, for something else.
    #[error("{kind} id {id} was used before for something else")]
    IdReused {
        /// `append` or `event`.
        kind: &'static str,
        /// The id.
        id: uuid::Uuid,
    },
    /// The append is not well-formed.
    #[error("the append is not valid: {problem}")]
    Invalid {
        /// What to change.
        problem: String,
    },
    /// An inline projection refused one of the events.
    #[error("inline projection `{projection}` refused the events: {message}")]
    InlineProjection {
        /// Its name.
        projection: String,
        /// What it said.
        message: String,
    },
    /// It is not known whether the append was committed. Repeat it as it is, with the same event
    /// ids: it is then committed once, and answered as the first time.
    #[error("the append's outcome is unknown; repeat it with the same event ids to settle it")]
    Unknown(#[source] StoreError),
    /// The store failed; nothing was appended.
    #[error(transparent)]
    Store(#[from] StoreError),
}
