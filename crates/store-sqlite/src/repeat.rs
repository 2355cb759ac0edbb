//! Recognises appends that were there before.

use std::collections::HashMap;

use annals_core::{
    Append, AppendError, AppendId, Appended, EventId, Fingerprint, NewEvent, Position,
    RecordedAppend, StoreError, StoreErrorKind, StreamName, Version,
};
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};
use uuid::Uuid;

use crate::{
    append::DOING,
    error::failed_on_own,
    frame::tags_text,
    log::{clamped, number},
    sql::{self, hex_array},
};

/// What appends with these ids brought about, as far as there were any.
pub(crate) async fn find_appends(
    conn: &mut SqliteConnection,
    ids: &[AppendId],
) -> Result<HashMap<AppendId, (Fingerprint, Appended)>, StoreError> {
    const DOING: &str = "look up an append";
    let uuids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    let rows = sqlx::query(sql::FIND_APPENDS)
        .bind(hex_array(&uuids))
        .fetch_all(conn)
        .await
        .map_err(failed_on_own(DOING))?;
    let mut found = HashMap::with_capacity(rows.len());
    for row in &rows {
        let append = recorded(row, DOING)?;
        found.insert(append.id, (append.fingerprint, append.appended()));
    }
    Ok(found)
}

/// A row of the table `appends`.
pub(crate) fn recorded(row: &SqliteRow, doing: &str) -> Result<RecordedAppend, StoreError> {
    let fingerprint: &[u8] = row.try_get(1).map_err(failed_on_own(doing))?;
    let versions: &str = row.try_get(3).map_err(failed_on_own(doing))?;
    Ok(RecordedAppend {
        id: AppendId::new(uuid(row, 0)?),
        fingerprint: fingerprint
            .try_into()
            .map_err(|error| corrupt(error, doing))?,
        position: Position::new(number(row, 2, doing)?),
        versions: serde_json::from_str(versions).map_err(|error| corrupt(error, doing))?,
    })
}

/// An event that has the id of one to be appended.
struct Earlier {
    position: u64,
    version: u64,
    same: bool,
}

/// What the append came to before, when its events are there already; an error when some of them
/// are there but differ.
pub(crate) async fn find(
    conn: &mut SqliteConnection,
    append: &Append,
) -> Result<Option<Result<Appended, AppendError>>, StoreError> {
    let earlier = find_events(conn, append).await?;
    let events = append.writes.iter().flat_map(|write| &write.events);
    let Some(position) = earlier.values().map(|event| event.position).max() else {
        return Ok(None);
    };
    if !events
        .into_iter()
        .all(|event| earlier.get(&event.id).is_some_and(|event| event.same))
    {
        return Ok(Some(Err(reused(append, &earlier))));
    }
    let mut versions = Vec::with_capacity(append.writes.len());
    for write in &append.writes {
        let last = write.events.last().and_then(|event| earlier.get(&event.id));
        versions.push(match last {
            Some(event) => Version::new(event.version),
            None => version_at(conn, &write.stream, position).await?,
        });
    }
    Ok(Some(Ok(Appended {
        position: Position::new(position),
        versions,
        repeated: true,
    })))
}

/// The version that a stream had when the log reached a position.
async fn version_at(
    conn: &mut SqliteConnection,
    stream: &StreamName,
    position: u64,
) -> Result<Version, StoreError> {
    let row = sqlx::query(sql::VERSION_AT)
        .bind(stream.as_str())
        .bind(clamped(position))
        .fetch_optional(conn)
        .await
        .map_err(failed_on_own(DOING))?;
    row.map_or(Ok(Version::NONE), |row| {
        Ok(Version::new(number(&row, 0, DOING)?))
    })
}

/// Names the first id of the append that was used before for something else, or at all.
fn reused(append: &Append, earlier: &HashMap<EventId, Earlier>) -> AppendError {
    let ids = || {
        append
            .writes
            .iter()
            .flat_map(|write| &write.events)
            .map(|event| event.id)
    };
    let differs = ids().find(|id| earlier.get(id).is_some_and(|event| !event.same));
    let id = differs.or_else(|| ids().find(|id| earlier.contains_key(id)));
    AppendError::IdReused {
        kind: "event",
        id: id.map_or_else(Uuid::nil, EventId::uuid),
    }
}

async fn find_events(
    conn: &mut SqliteConnection,
    append: &Append,
) -> Result<HashMap<EventId, Earlier>, StoreError> {
    let wanted: HashMap<EventId, (&StreamName, &NewEvent)> = append
        .writes
        .iter()
        .flat_map(|write| {
            write
                .events
                .iter()
                .map(|event| (event.id, (&write.stream, event)))
        })
        .collect();
    let ids_and_lengths: Vec<String> = wanted
        .iter()
        .map(|(id, (_, event))| format!("{}{}", id.uuid().simple(), event.payload.len()))
        .collect();
    let ids_and_lengths = serde_json::to_string(&ids_and_lengths);
    let rows = sqlx::query(sql::FIND_EVENTS)
        .bind(ids_and_lengths.map_err(|error| corrupt(error, DOING))?)
        .fetch_all(conn)
        .await
        .map_err(failed_on_own(DOING))?;
    let mut found = HashMap::with_capacity(rows.len());
    for row in &rows {
        let id = EventId::new(uuid(row, 0)?);
        let same = match wanted.get(&id) {
            Some((stream, event)) => is_same(row, stream, event)?,
            None => false,
        };
        let earlier = Earlier {
            position: number(row, 1, DOING)?,
            version: number(row, 3, DOING)?,
            same,
        };
        found.insert(id, earlier);
    }
    Ok(found)
}

fn is_same(row: &SqliteRow, stream: &StreamName, event: &NewEvent) -> Result<bool, StoreError> {
    let text = |column| row.try_get::<&str, _>(column).map_err(failed_on_own(DOING));
    let tags: Option<&str> = row.try_get(6).map_err(failed_on_own(DOING))?;
    // None when it is longer or shorter.
    let payload: Option<&[u8]> = row.try_get(7).map_err(failed_on_own(DOING))?;
    let new_tags = tags_text(&event.tags).map_err(|error| corrupt(error, DOING))?;
    Ok(text(2)? == stream.as_str()
        && text(4)? == event.event_type.as_str()
        && number(row, 5, DOING)? == u64::from(event.schema_version)
        && tags == new_tags.as_deref()
        && payload == Some(event.payload.as_slice()))
}

fn uuid(row: &SqliteRow, column: usize) -> Result<Uuid, StoreError> {
    let bytes: &[u8] = row.try_get(column).map_err(failed_on_own(DOING))?;
    Uuid::from_slice(bytes).map_err(|error| corrupt(error, DOING))
}

fn corrupt(error: impl std::error::Error + Send + Sync + 'static, doing: &str) -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, doing).caused_by(error)
}
