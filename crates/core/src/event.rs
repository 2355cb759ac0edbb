//! Events: facts in the past tense, how they are named on the wire, and how they come back.

use std::{fmt, ops::Deref, sync::Arc};

use chrono::{DateTime, Utc};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    id::EventId,
    metadata::Metadata,
    name::{EventType, InvalidName, StreamName, Tag},
    order::{Position, Version},
    wire,
};

/// What can happen to one kind of aggregate: an enum with a variant per event type.
///
/// Derive it. A variant's wire name is the category, a dot and the variant in snake case
/// (`account.deposited`), or what `#[event(name = "...")]` says; it never depends on where the
/// Rust type lives. The payload is the variant's fields as JSON.
///
/// | attribute | on | meaning |
/// |---|---|---|
/// | `category = "account"` | enum | the category of the streams (required) |
/// | `name = "account.credited"` | variant | the wire name, when it is not the derived one |
/// | `formerly = "account.paid_in"` | variant | an older wire name that still stands in logs |
/// | `version = 2, upcast(add_currency)` | variant | today's schema version, and one function for each step up to it |
/// | `tag` or `tag = "user"` | field | tags the event with `field:value` or `user:value` |
///
/// ```
/// use annals_core::{Event, EventSet};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Event, Serialize, Deserialize, Clone, Debug, PartialEq)]
/// #[event(crate = annals_core, category = "account")]
/// enum AccountEvent {
///     Opened { #[event(tag)] owner: String },
///     #[event(version = 2, upcast(cents_from_euros))]
///     Deposited { cents: i64 },
/// }
///
/// fn cents_from_euros(old: &mut serde_json::Value) -> Result<(), annals_core::UpcastError> {
///     let euros = old["euros"].as_i64().ok_or("no euros")?;
///     *old = serde_json::json!({ "cents": euros * 100 });
///     Ok(())
/// }
///
/// let opened = AccountEvent::Opened { owner: "alice".into() };
/// assert_eq!(opened.schema().name, "account.opened");
/// assert_eq!(opened.tags()?[0].as_str(), "owner:alice");
///
/// let old = AccountEvent::decode("account.deposited", 1, br#"{"euros": 5}"#)?;
/// assert_eq!(old, Some(AccountEvent::Deposited { cents: 500 }));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event",
    note = "write `#[derive(Event, Serialize, Deserialize)] #[event(category = \"...\")] enum {Self} {{ ... }}`"
)]
pub trait Event: EventSet + Serialize + DeserializeOwned {
    /// The category of the streams that hold these events.
    const CATEGORY: &'static str;

    /// One entry per variant, in the order of declaration.
    const SCHEMAS: &'static [EventSchema];

    /// The schema of this event's variant.
    fn schema(&self) -> &'static EventSchema;

    /// The tags that this event's fields are marked for.
    ///
    /// # Errors
    /// When a field's text can't be a tag: empty, too long, or with control characters.
    fn tags(&self) -> Result<Vec<Tag>, InvalidName>;

    /// The payload as it goes into the log.
    ///
    /// # Errors
    /// When a field does not serialise to JSON.
    fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        wire::write::variant_to_vec(self).map_err(|source| EncodeError::Payload {
            event_type: self.schema().name,
            source,
        })
    }
}

/// What a reader of events can take in: one aggregate's [`Event`]s, or a union of several.
///
/// Every `Event` is an `EventSet`. Derive it on an enum whose variants each wrap another set:
///
/// ```
/// use annals_core::{Event, EventSet};
/// use serde::{Deserialize, Serialize};
///
/// # #[derive(Event, Serialize, Deserialize, Clone, Debug, PartialEq)]
/// # #[event(crate = annals_core, category = "account")]
/// # enum AccountEvent { Opened }
/// # #[derive(Event, Serialize, Deserialize, Clone, Debug, PartialEq)]
/// # #[event(crate = annals_core, category = "transfer")]
/// # enum TransferEvent { Requested }
/// #[derive(EventSet, Clone, Debug, PartialEq)]
/// #[event_set(crate = annals_core)]
/// enum BankEvent {
///     Account(AccountEvent),
///     Transfer(TransferEvent),
/// }
///
/// let event = BankEvent::decode("transfer.requested", 1, b"{}")?;
/// assert_eq!(event, Some(BankEvent::Transfer(TransferEvent::Requested)));
/// assert_eq!(BankEvent::decode("weather.changed", 1, b"{}")?, None);
/// # Ok::<_, annals_core::DecodeError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a set of events",
    note = "derive `Event` for one aggregate's events, or `EventSet` for an enum that wraps several"
)]
pub trait EventSet: Sized + Send + Sync + 'static {
    /// Every event type of the set.
    fn schemas() -> Vec<&'static EventSchema>;

    /// The categories whose events the set is about.
    fn categories() -> Vec<&'static str>;

    /// Reads an event from its stored form, upcasting it to today's schema.
    ///
    /// `None` means that the set has no such event type.
    ///
    /// # Errors
    /// When the type is known but the payload is not what it should be, or was written by a
    /// newer version of the application.
    fn decode(event_type: &str, version: u32, payload: &[u8]) -> Result<Option<Self>, DecodeError>;
}

/// Turns a payload of one schema version into the next one.
pub type Upcaster = fn(&mut serde_json::Value) -> Result<(), UpcastError>;

/// One event type: its names and schema version.
#[derive(Clone, Copy, Debug)]
pub struct EventSchema {
    /// The wire name, such as `account.deposited`.
    pub name: &'static str,
    /// Older wire names that may still stand in a log.
    pub formerly: &'static [&'static str],
    /// The Rust variant, as serde sees it.
    pub variant: &'static str,
    /// Today's schema version; the first is 1.
    pub version: u32,
    /// `upcasters[i]` turns version `i + 1` into version `i + 2`.
    pub upcasters: &'static [Upcaster],
}

impl EventSchema {
    /// Whether stored events called `name` are of this type.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        self.name == name || self.formerly.contains(&name)
    }

    fn upcast(&self, from: u32, payload: &[u8]) -> Result<Vec<u8>, DecodeError> {
        let unreadable = |source| DecodeError::Payload {
            event_type: self.name,
            version: from,
            source,
        };
        let mut value = serde_json::from_slice(payload).map_err(unreadable)?;
        let done = usize::try_from(from.saturating_sub(1)).unwrap_or(usize::MAX);
        for (step, upcaster) in self.upcasters.iter().enumerate().skip(done) {
            upcaster(&mut value).map_err(|source| DecodeError::Upcast {
                event_type: self.name,
                from: step + 1,
                source,
            })?;
        }
        serde_json::to_vec(&value).map_err(unreadable)
    }
}

/// Reads one of `E`'s variants from its stored form; what `#[derive(Event)]` calls.
///
/// # Errors
/// See [`EventSet::decode`].
pub fn decode_event<E: Event>(
    event_type: &str,
    version: u32,
    payload: &[u8],
) -> Result<Option<E>, DecodeError> {
    let Some(schema) = E::SCHEMAS
        .iter()
        .find(|schema| schema.is_called(event_type))
    else {
        return Ok(None);
    };
    if version > schema.version {
        return Err(DecodeError::NewerSchema {
            event_type: schema.name,
            stored: version,
            known: schema.version,
        });
    }
    let unreadable = |source| DecodeError::Payload {
        event_type: schema.name,
        version,
        source,
    };
    if version == schema.version {
        return wire::read::variant_from_slice(schema.variant, payload)
            .map(Some)
            .map_err(unreadable);
    }
    let payload = schema.upcast(version, payload)?;
    wire::read::variant_from_slice(schema.variant, &payload)
        .map(Some)
        .map_err(unreadable)
}

/// Everything about a stored event but what happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventHeader {
    /// Its place in the log.
    pub position: Position,
    /// The stream it belongs to.
    pub stream: StreamName,
    /// Its place in the stream.
    pub version: Version,
    /// Its id.
    pub id: EventId,
    /// Its wire name.
    pub event_type: EventType,
    /// The schema version it was written with.
    pub schema_version: u32,
    /// When it was recorded.
    pub recorded_at: DateTime<Utc>,
    /// Its tags.
    pub tags: Vec<Tag>,
    /// Who, why, in which trace.
    pub metadata: Metadata,
}

/// An event as it stands in the log: payload bytes exactly as they were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    /// Everything but the payload.
    pub header: Arc<EventHeader>,
    /// What happened, usually JSON.
    pub payload: Vec<u8>,
}

impl StoredEvent {
    /// Reads the event as one of `E`; `None` when `E` has no such event type.
    ///
    /// # Errors
    /// See [`EventSet::decode`].
    pub fn decode<E: EventSet>(&self) -> Result<Option<Recorded<E>>, DecodeError> {
        let event = E::decode(self.event_type.as_str(), self.schema_version, &self.payload)?;
        Ok(event.map(|event| Recorded {
            header: Arc::clone(&self.header),
            event,
        }))
    }
}

/// An event that has been recorded: what happened, with its place in the log, time and metadata.
///
/// The header's fields can be read directly: `recorded.position`, `recorded.stream`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded<E> {
    /// Everything but the event itself.
    pub header: Arc<EventHeader>,
    /// What happened.
    pub event: E,
}

impl<E> Deref for Recorded<E> {
    type Target = EventHeader;
    fn deref(&self) -> &EventHeader {
        &self.header
    }
}

impl Deref for StoredEvent {
    type Target = EventHeader;
    fn deref(&self) -> &EventHeader {
        &self.header
    }
}

/// An event that can't be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A field does not serialise to JSON.
    #[error("event `{event_type}` does not serialise to JSON")]
    Payload {
        /// The event's wire name.
        event_type: &'static str,
        /// What serde says.
        source: serde_json::Error,
    },
    /// The wire name, category or a tag is not allowed.
    #[error(transparent)]
    Name(#[from] InvalidName),
}

/// A stored event that can't be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The payload is not what this schema version should look like.
    #[error(
        "the payload of `{event_type}` (schema version {version}) does not have the expected fields"
    )]
    Payload {
        /// The event's wire name.
        event_type: &'static str,
        /// The schema version it was written with.
        version: u32,
        /// What serde says.
        source: serde_json::Error,
    },
    /// The event was written by a newer version of the application.
    #[error(
        "`{event_type}` has schema version {stored}, but this program knows versions up to {known}: \
         it was written by a newer release, so run that one"
    )]
    NewerSchema {
        /// The event's wire name.
        event_type: &'static str,
        /// The version in the log.
        stored: u32,
        /// The newest version this program knows.
        known: u32,
    },
    /// An upcaster refused the old payload.
    #[error("the upcaster of `{event_type}` from schema version {from} refused the payload")]
    Upcast {
        /// The event's wire name.
        event_type: &'static str,
        /// The version that the upcaster takes.
        from: usize,
        /// What it says.
        source: UpcastError,
    },
    /// The event's type is not one the reader knows, and the reader needs to know all.
    #[error("`{event_type}` in stream `{stream}` is not an event type that this program knows")]
    UnknownType {
        /// The event's wire name.
        event_type: String,
        /// The stream it is in.
        stream: StreamName,
    },
}

/// Why an upcaster refused a payload; made from a text or any error.
#[derive(Debug)]
pub struct UpcastError(String);

impl fmt::Display for UpcastError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UpcastError {}

impl From<&str> for UpcastError {
    fn from(message: &str) -> Self {
        Self(message.to_owned())
    }
}

impl From<String> for UpcastError {
    fn from(message: String) -> Self {
        Self(message)
    }
}

impl From<serde_json::Error> for UpcastError {
    fn from(error: serde_json::Error) -> Self {
        Self(error.to_string())
    }
}
