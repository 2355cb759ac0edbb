//! Events as rows.

use std::sync::Arc;

use annals_core::{
    CausationId, CorrelationId, EventHeader, EventId, EventType, Metadata, Position, StoreError,
    StoreErrorKind, StoredEvent, StreamName, Tag, Version,
};
use chrono::{DateTime, Utc};
use sqlx::{Row, postgres::PgRow};
use uuid::Uuid;

use crate::error::failed;

/// An event from a row.
#[derive(Debug)]
pub(crate) struct Read {
    /// The event; its payload is empty when it was left out.
    pub(crate) event: StoredEvent,
    /// How many bytes the payload has.
    pub(crate) payload_bytes: usize,
    /// Whether the payload has still to be fetched.
    pub(crate) lacks_payload: bool,
}

/// Reads events, and shares the names that most rows of a page have in common.
#[derive(Debug)]
pub(crate) struct Reader {
    doing: &'static str,
    last_stream: Option<StreamName>,
    last_type: Option<EventType>,
}

impl Reader {
    /// `doing` says what it does, as a fragment that fits "failed to ...".
    pub(crate) fn new(doing: &'static str) -> Self {
        Self {
            doing,
            last_stream: None,
            last_type: None,
        }
    }

    /// Reads a row whose columns are those of `sql/page.sql`.
    pub(crate) fn read(&mut self, row: &PgRow) -> Result<Read, StoreError> {
        let doing = self.doing;
        let metadata: Option<&str> = column(row, 9, doing)?;
        let tags: Option<&str> = column(row, 10, doing)?;
        let payload: Option<Vec<u8>> = column(row, 12, doing)?;
        let correlation: Uuid = column(row, 7, doing)?;
        let causation: Uuid = column(row, 8, doing)?;
        let metadata = Metadata::with_free_form(
            CorrelationId::new(correlation),
            CausationId::new(causation),
            metadata,
        )
        .map_err(|error| corrupt(doing, error))?;
        let tags: Vec<Tag> = match tags {
            Some(tags) => serde_json::from_str(tags).map_err(|error| corrupt(doing, error))?,
            None => Vec::new(),
        };
        let schema_version = u32::try_from(number(row, 4, doing)?);
        let recorded_at: DateTime<Utc> = column(row, 6, doing)?;
        let header = EventHeader {
            position: Position::new(number(row, 0, doing)?),
            stream: self.stream(column(row, 1, doing)?)?,
            version: Version::new(number(row, 2, doing)?),
            event_type: self.event_type(column(row, 3, doing)?)?,
            schema_version: schema_version.map_err(|error| corrupt(doing, error))?,
            id: EventId::new(column(row, 5, doing)?),
            recorded_at,
            tags,
            metadata,
        };
        let payload_bytes = usize::try_from(number(row, 11, doing)?).unwrap_or(usize::MAX);
        Ok(Read {
            payload_bytes,
            lacks_payload: payload.is_none(),
            event: StoredEvent {
                header: Arc::new(header),
                payload: payload.unwrap_or_default(),
            },
        })
    }

    fn stream(&mut self, name: &str) -> Result<StreamName, StoreError> {
        if let Some(stream) = self.last_stream.as_ref().filter(|s| s.as_str() == name) {
            return Ok(stream.clone());
        }
        let stream = StreamName::parse(name).map_err(|error| corrupt(self.doing, error))?;
        Ok(self.last_stream.insert(stream).clone())
    }

    fn event_type(&mut self, name: &str) -> Result<EventType, StoreError> {
        if let Some(known) = self.last_type.as_ref().filter(|t| t.as_str() == name) {
            return Ok(known.clone());
        }
        let event_type = EventType::new(name).map_err(|error| corrupt(self.doing, error))?;
        Ok(self.last_type.insert(event_type).clone())
    }
}

/// A column of a row.
pub(crate) fn column<'r, T>(row: &'r PgRow, index: usize, doing: &str) -> Result<T, StoreError>
where
    T: sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    row.try_get(index).map_err(failed(doing))
}

/// A column that holds a count.
pub(crate) fn number(row: &PgRow, index: usize, doing: &str) -> Result<u64, StoreError> {
    let number: i64 = column(row, index, doing)?;
    u64::try_from(number)
        .map_err(|_| corrupt(doing, format!("{number} stands where a count should")))
}

/// A place as PostgreSQL counts; none that exists comes near the largest.
pub(crate) fn clamped(place: u64) -> i64 {
    i64::try_from(place).unwrap_or(i64::MAX)
}

/// What is stored is not what a store writes.
pub(crate) fn corrupt(
    doing: &str,
    problem: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, doing).caused_by(problem)
}
