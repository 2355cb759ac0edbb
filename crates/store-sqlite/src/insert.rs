//! Writes rows, many with one statement.

use annals_core::{
    EventHeader, EventId, EventType, Metadata, NewEvent, Position, RecordedAppend, StoredEvent,
    StreamName, Tag,
};
use chrono::{DateTime, SubsecRound, Utc};
use sqlx::{Sqlite, SqliteConnection, query::Query, sqlite::SqliteArguments};
use std::sync::Arc;

use crate::{frame, log::clamped, sql};

/// How many rows one statement writes at most; measured: more gains nothing.
const MAX_ROWS: usize = 64;

/// An event that has its place but is not yet written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placed<'a> {
    pub(crate) position: i64,
    pub(crate) version: i64,
    pub(crate) stream: &'a StreamName,
    pub(crate) event: &'a NewEvent,
    pub(crate) recorded_at: DateTime<Utc>,
}

impl Placed<'_> {
    /// The event as a reader will see it.
    pub(crate) fn stored(&self) -> StoredEvent {
        let count = |place: i64| u64::try_from(place).unwrap_or_default();
        let header = EventHeader {
            position: Position::new(count(self.position)),
            stream: self.stream.clone(),
            version: annals_core::Version::new(count(self.version)),
            id: self.event.id,
            event_type: self.event.event_type.clone(),
            schema_version: self.event.schema_version,
            // The log keeps microseconds.
            recorded_at: self.recorded_at.trunc_subsecs(6),
            tags: self.event.tags.clone(),
            metadata: self.event.metadata.clone(),
        };
        StoredEvent {
            header: Arc::new(header),
            payload: self.event.payload.clone(),
        }
    }
}

/// What the table `events` holds of an event.
pub(crate) struct EventRow<'a> {
    position: i64,
    stream: &'a StreamName,
    version: i64,
    event_type: &'a EventType,
    schema_version: u32,
    id: EventId,
    recorded_at: DateTime<Utc>,
    metadata: &'a Metadata,
    tags: &'a [Tag],
    payload: &'a [u8],
}

impl<'a> From<&Placed<'a>> for EventRow<'a> {
    fn from(placed: &Placed<'a>) -> Self {
        let event = placed.event;
        Self {
            position: placed.position,
            stream: placed.stream,
            version: placed.version,
            event_type: &event.event_type,
            schema_version: event.schema_version,
            id: event.id,
            recorded_at: placed.recorded_at,
            metadata: &event.metadata,
            tags: &event.tags,
            payload: &event.payload,
        }
    }
}

impl<'a> From<&'a StoredEvent> for EventRow<'a> {
    fn from(event: &'a StoredEvent) -> Self {
        Self {
            position: clamped(event.position.get()),
            stream: &event.stream,
            version: clamped(event.version.get()),
            event_type: &event.event_type,
            schema_version: event.schema_version,
            id: event.id,
            recorded_at: event.recorded_at,
            metadata: &event.metadata,
            tags: &event.tags,
            payload: &event.payload,
        }
    }
}

/// Writes events and their tags; `before` is the position before the first of them.
pub(crate) async fn events<'a, T>(
    conn: &mut SqliteConnection,
    before: i64,
    events: &'a [T],
) -> Result<(), sqlx::Error>
where
    EventRow<'a>: From<&'a T>,
{
    let mut tagged = false;
    for rows in chunks(events) {
        let statement = sql::rows_of(sql::INSERT_EVENTS, 12, rows.len());
        let mut query = sqlx::query(sqlx::AssertSqlSafe(statement));
        for row in rows {
            let row = EventRow::from(row);
            tagged |= !row.tags.is_empty();
            query = bind_event(query, &row)?;
        }
        query.execute(&mut *conn).await?;
    }
    if tagged {
        sqlx::query(sql::INSERT_TAGS)
            .bind(before)
            .execute(conn)
            .await?;
    }
    Ok(())
}

fn bind_event<'q>(
    query: Query<'q, Sqlite, SqliteArguments>,
    row: &EventRow<'q>,
) -> Result<Query<'q, Sqlite, SqliteArguments>, sqlx::Error> {
    let encode = |error: serde_json::Error| sqlx::Error::Encode(error.into());
    Ok(query
        .bind(row.position)
        .bind(row.stream.as_str())
        .bind(row.version)
        .bind(row.event_type.as_str())
        .bind(i64::from(row.schema_version))
        .bind(&row.id.uuid().as_bytes()[..])
        .bind(row.recorded_at.timestamp_micros())
        .bind(&row.metadata.correlation_id.uuid().as_bytes()[..])
        .bind(&row.metadata.causation_id.uuid().as_bytes()[..])
        .bind(frame::metadata_text(row.metadata).map_err(encode)?)
        .bind(frame::tags_text(row.tags).map_err(encode)?)
        .bind(row.payload))
}

/// Records what appends with an id brought about.
pub(crate) async fn appends(
    conn: &mut SqliteConnection,
    done: &[RecordedAppend],
) -> Result<(), sqlx::Error> {
    for rows in chunks(done) {
        let statement = sql::rows_of(sql::INSERT_APPENDS, 4, rows.len());
        let mut query = sqlx::query(sqlx::AssertSqlSafe(statement));
        for append in rows {
            let versions = serde_json::to_string(&append.versions)
                .map_err(|error| sqlx::Error::Encode(error.into()))?;
            query = query
                .bind(&append.id.uuid().as_bytes()[..])
                .bind(&append.fingerprint[..])
                .bind(clamped(append.position.get()))
                .bind(versions);
        }
        query.execute(&mut *conn).await?;
    }
    Ok(())
}

/// Chunks whose sizes are powers of two, largest first: few statements to execute, each of them a
/// trip to the connection's thread, and few to prepare and cache, whatever the number of rows.
fn chunks<T>(rows: &[T]) -> impl Iterator<Item = &[T]> {
    let mut rest = rows;
    std::iter::from_fn(move || {
        let size = rest.len().checked_ilog2().map(|power| 1 << power)?;
        let (chunk, after) = rest.split_at(MAX_ROWS.min(size));
        rest = after;
        Some(chunk)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_take_every_row_once_in_few_sizes() {
        for (count, sizes) in [(0, vec![]), (1, vec![1]), (63, vec![32, 16, 8, 4, 2, 1])] {
            let rows: Vec<_> = (0..count).collect();
            assert_eq!(chunks(&rows).map(<[_]>::len).collect::<Vec<_>>(), sizes);
            assert_eq!(chunks(&rows).collect::<Vec<_>>().concat(), rows);
        }
        let rows = [0; 150];
        let sizes: Vec<_> = chunks(&rows).map(<[_]>::len).collect();
        assert_eq!(sizes, [64, 64, 16, 4, 2]);
    }
}
