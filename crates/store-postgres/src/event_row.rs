//! Events as rows, one by one: for the few that are compared with an append. Pages of events come
//! packed (`frame.rs`).

use std::sync::Arc;

use annals_core::{
    CausationId, CorrelationId, EventHeader, EventId, EventType, Metadata, Position, StoreError,
    StoreErrorKind, StoredEvent, StreamName, Tag, Version,
};
use sqlx::{Row, postgres::PgRow};

use crate::{error::failed, frame::Unpacked};

/// The event of a row whose columns are those of `sql/find_events.sql`.
///
/// `doing` says what is being done, as a fragment that fits "failed to ...".
pub(crate) fn event(row: &PgRow, doing: &str) -> Result<Unpacked, StoreError> {
    let text = |index| column::<&str>(row, index, doing);
    let metadata = Metadata::with_free_form(
        CorrelationId::new(column(row, 7, doing)?),
        CausationId::new(column(row, 8, doing)?),
        column(row, 9, doing)?,
    );
    let tags: Vec<Tag> = match column::<Option<&str>>(row, 10, doing)? {
        Some(tags) => serde_json::from_str(tags).map_err(|error| corrupt(doing, error))?,
        None => Vec::new(),
    };
    let schema_version = u32::try_from(number(row, 4, doing)?);
    let payload: Option<Vec<u8>> = column(row, 11, doing)?;
    let header = EventHeader {
        position: Position::new(number(row, 0, doing)?),
        stream: StreamName::parse(text(1)?).map_err(|error| corrupt(doing, error))?,
        version: Version::new(number(row, 2, doing)?),
        event_type: EventType::new(text(3)?).map_err(|error| corrupt(doing, error))?,
        schema_version: schema_version.map_err(|error| corrupt(doing, error))?,
        id: EventId::new(column(row, 5, doing)?),
        recorded_at: column(row, 6, doing)?,
        tags,
        metadata: metadata.map_err(|error| corrupt(doing, error))?,
    };
    Ok(Unpacked {
        lacks_payload: payload.is_none(),
        event: StoredEvent {
            header: Arc::new(header),
            payload: payload.unwrap_or_default(),
        },
    })
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
