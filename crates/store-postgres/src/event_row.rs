//! Events as rows.
//!
//! A rebuild reads millions of them, so their columns are taken as the bytes that the server
//! sends: sqlx's checks of types, for each value of each row, took as long as all the rest of
//! reading a row. The types are those of `migrations/`; a value that does not have the form of
//! its type is corruption.

use std::sync::Arc;

use annals_core::{
    CausationId, CorrelationId, EventHeader, EventId, EventType, Metadata, Position, StoreError,
    StoreErrorKind, StoredEvent, StreamName, Tag, Version,
};
use chrono::{DateTime, Utc};
use sqlx::{
    Row,
    postgres::{PgRow, PgValueFormat},
};
use uuid::Uuid;

use crate::error::failed;

/// Microseconds from 1970 to 2000, from where PostgreSQL counts.
const EPOCH_MICROS: i64 = 946_684_800_000_000;
/// How many event types a reader remembers; programs seldom have more.
const KNOWN_TYPES: usize = 32;

/// An event from a row.
#[derive(Debug)]
pub(crate) struct Read {
    /// The event; its payload is empty when it was left out.
    pub(crate) event: StoredEvent,
    /// Whether the payload has still to be fetched.
    pub(crate) lacks_payload: bool,
}

/// Reads events, and shares the names that many rows of a page have in common.
#[derive(Debug)]
pub(crate) struct Reader {
    doing: &'static str,
    last_stream: Option<StreamName>,
    types: Vec<EventType>,
}

impl Reader {
    /// `doing` says what it does, as a fragment that fits "failed to ...".
    pub(crate) fn new(doing: &'static str) -> Self {
        Self {
            doing,
            last_stream: None,
            types: Vec::new(),
        }
    }

    /// Reads a row whose columns are those of `sql/page.sql`.
    pub(crate) fn read(&mut self, row: &PgRow) -> Result<Read, StoreError> {
        let doing = self.doing;
        let fields = Fields { row, doing };
        let metadata = Metadata::with_free_form(
            CorrelationId::new(fields.uuid(7)?),
            CausationId::new(fields.uuid(8)?),
            fields.optional_text(9)?,
        )
        .map_err(|error| corrupt(doing, error))?;
        let tags: Vec<Tag> = match fields.optional_text(10)? {
            Some(tags) => serde_json::from_str(tags).map_err(|error| corrupt(doing, error))?,
            None => Vec::new(),
        };
        let schema_version = u32::try_from(fields.count(4)?);
        let payload = fields.optional(11)?;
        let header = EventHeader {
            position: Position::new(fields.count(0)?),
            stream: self.stream(fields.text(1)?)?,
            version: Version::new(fields.count(2)?),
            event_type: self.event_type(fields.text(3)?)?,
            schema_version: schema_version.map_err(|error| corrupt(doing, error))?,
            id: EventId::new(fields.uuid(5)?),
            recorded_at: fields.time(6)?,
            tags,
            metadata,
        };
        Ok(Read {
            lacks_payload: payload.is_none(),
            event: StoredEvent {
                header: Arc::new(header),
                payload: payload.unwrap_or_default().to_vec(),
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
        if let Some(known) = self.types.iter().find(|known| known.as_str() == name) {
            return Ok(known.clone());
        }
        let event_type = EventType::new(name).map_err(|error| corrupt(self.doing, error))?;
        if self.types.len() < KNOWN_TYPES {
            self.types.push(event_type.clone());
        }
        Ok(event_type)
    }
}

/// The values of a row as the server sends them:
/// <https://www.postgresql.org/docs/current/protocol-overview.html#PROTOCOL-FORMAT-CODES>.
#[derive(Clone, Copy)]
struct Fields<'r> {
    row: &'r PgRow,
    doing: &'static str,
}

impl<'r> Fields<'r> {
    /// The bytes of a column; none where it is NULL.
    fn optional(self, index: usize) -> Result<Option<&'r [u8]>, StoreError> {
        let value = self.row.try_get_raw(index).map_err(failed(self.doing))?;
        if value.format() != PgValueFormat::Binary {
            return Err(self.malformed(index, "binary"));
        }
        // NULL is the only error there is.
        Ok(value.as_bytes().ok())
    }

    fn bytes(self, index: usize) -> Result<&'r [u8], StoreError> {
        let bytes = self.optional(index)?;
        bytes.ok_or_else(|| self.malformed(index, "a value"))
    }

    fn number(self, index: usize) -> Result<i64, StoreError> {
        let bytes = <[u8; 8]>::try_from(self.bytes(index)?);
        let bytes = bytes.map_err(|_| self.malformed(index, "a bigint"))?;
        Ok(i64::from_be_bytes(bytes))
    }

    fn count(self, index: usize) -> Result<u64, StoreError> {
        count(self.number(index)?, self.doing)
    }

    fn time(self, index: usize) -> Result<DateTime<Utc>, StoreError> {
        let since_epoch = self.number(index)?.checked_add(EPOCH_MICROS);
        since_epoch
            .and_then(DateTime::from_timestamp_micros)
            .ok_or_else(|| self.malformed(index, "a time"))
    }

    fn uuid(self, index: usize) -> Result<Uuid, StoreError> {
        Uuid::from_slice(self.bytes(index)?).map_err(|_| self.malformed(index, "a uuid"))
    }

    fn optional_text(self, index: usize) -> Result<Option<&'r str>, StoreError> {
        let text = self.optional(index)?.map(std::str::from_utf8).transpose();
        text.map_err(|_| self.malformed(index, "text"))
    }

    fn text(self, index: usize) -> Result<&'r str, StoreError> {
        let text = std::str::from_utf8(self.bytes(index)?);
        text.map_err(|_| self.malformed(index, "text"))
    }

    fn malformed(self, index: usize, expected: &str) -> StoreError {
        corrupt(
            self.doing,
            format!("column {index} of an event is not {expected}"),
        )
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
    count(column(row, index, doing)?, doing)
}

fn count(number: i64, doing: &str) -> Result<u64, StoreError> {
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
