//! The file that a rebuild of a SQL projection fills.
//!
//! It keeps its own checkpoint, since a transaction over two files is not atomic when the power
//! fails. The rebuild's record in the store follows it.

use std::path::{Path, PathBuf};

use annals_core::{
    Checkpoint, EventId, ParkedEvent, Position, RebuildRecord, Step, StoreError, StoreErrorKind,
    StreamName,
};
use chrono::{DateTime, Utc};
use sqlx::{
    ConnectOptions, Row, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteRow},
};

use crate::{
    SqliteStore,
    error::failed,
    projections::{record, tables},
};

const DOING: &str = "open the file of a rebuild";

/// Where a shadow file stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) fingerprint: String,
    /// When the rebuild was begun that fills it.
    pub(super) started_at: DateTime<Utc>,
    pub(super) epoch: u64,
    pub(super) checkpoint: Checkpoint,
}

/// The shadow file of a projection: beside the store, with the projection's name made safe.
pub(super) fn path_of(store: &Path, projection: &str) -> PathBuf {
    let safe: String = projection
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => char::from(byte).to_string(),
            other => format!("%{other:02x}"),
        })
        .collect();
    let mut path = store.as_os_str().to_owned();
    path.push(format!("-rebuild-{safe}"));
    PathBuf::from(path)
}

/// Removes the shadow file of a projection, if there is one.
pub(crate) fn remove_of(store: &SqliteStore, projection: &str) -> Result<(), StoreError> {
    remove(&path_of(&file_of(store), projection))
}

/// Removes a shadow file, if there is one.
pub(super) fn remove(path: &Path) -> Result<(), StoreError> {
    let mut journal = path.as_os_str().to_owned();
    journal.push("-journal");
    for file in [path, Path::new(&journal)] {
        match std::fs::remove_file(file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                let doing = format!("remove {}", file.display());
                return Err(StoreError::new(StoreErrorKind::Other, doing).caused_by(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// How a connection of its own writes to the store.
pub(super) fn writable(store: &SqliteStore) -> SqliteConnectOptions {
    let reading = store.readers().connect_options();
    reading.as_ref().clone().read_only(false)
}

/// The store's own file.
pub(super) fn file_of(store: &SqliteStore) -> PathBuf {
    store.readers().connect_options().get_filename().to_owned()
}

/// Connects to a shadow file, making it if it is not there.
pub(super) async fn connect(
    store: &SqliteStore,
    path: &Path,
) -> Result<SqliteConnection, StoreError> {
    writable(store)
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Delete)
        .connect()
        .await
        .map_err(failed(DOING))
}

/// Makes the file's own tables.
pub(super) async fn initialise(
    conn: &mut SqliteConnection,
    fingerprint: &str,
    rebuild: &RebuildRecord,
) -> Result<(), StoreError> {
    sqlx::raw_sql(include_str!("../../../sql/projections/create_shadow.sql"))
        .execute(&mut *conn)
        .await
        .map_err(failed(DOING))?;
    sqlx::query(include_str!("../../../sql/projections/insert_shadow.sql"))
        .bind(fingerprint)
        .bind(record::time(rebuild.started_at))
        .bind(record::number(rebuild.epoch))
        .execute(conn)
        .await
        .map_err(failed(DOING))?;
    Ok(())
}

/// Where the file stands; `None` when it is new, or does not say which rebuild it belongs to, as
/// those of older releases.
pub(super) async fn standing(conn: &mut SqliteConnection) -> Result<Option<Standing>, StoreError> {
    let columns = tables::columns(conn, "annals_shadow").await?;
    if !columns.iter().any(|column| column == "started_at") {
        return Ok(None);
    }
    let row = sqlx::query(include_str!("../../../sql/projections/select_shadow.sql"))
        .fetch_optional(conn)
        .await
        .map_err(failed(DOING))?;
    row.as_ref().map(read_standing).transpose()
}

fn read_standing(row: &SqliteRow) -> Result<Standing, StoreError> {
    let event_id: Option<String> = row.try_get("event_id").map_err(failed(DOING))?;
    let event_id: Option<EventId> = event_id.map(|id| id.parse().map_err(corrupt)).transpose()?;
    let started_at: String = row.try_get("started_at").map_err(failed(DOING))?;
    let position = record::count(row.try_get("position").map_err(failed(DOING))?);
    Ok(Standing {
        fingerprint: row.try_get("fingerprint").map_err(failed(DOING))?,
        started_at: record::parse_time(&started_at)?,
        epoch: record::count(row.try_get("epoch").map_err(failed(DOING))?),
        checkpoint: Checkpoint {
            position: Position::new(position),
            event_id,
        },
    })
}

/// Takes the file over for an epoch; false when a later one has it.
pub(super) async fn take(conn: &mut SqliteConnection, epoch: u64) -> Result<bool, StoreError> {
    let taken = sqlx::query(include_str!("../../../sql/projections/take_shadow.sql"))
        .bind(record::number(epoch))
        .execute(conn)
        .await
        .map_err(failed(DOING))?;
    Ok(taken.rows_affected() > 0)
}

/// Moves the file's checkpoint and parked events; false when the fence does not hold.
pub(super) async fn advance(conn: &mut SqliteConnection, step: &Step) -> Result<bool, StoreError> {
    const DOING: &str = "commit to the file of a rebuild";
    let moved = sqlx::query(include_str!("../../../sql/projections/move_shadow.sql"))
        .bind(record::number(step.fence.epoch))
        .bind(record::number(step.fence.checkpoint.get()))
        .bind(record::number(step.checkpoint.position.get()))
        .bind(step.checkpoint.event_id.map(|id| id.to_string()))
        .execute(&mut *conn)
        .await
        .map_err(failed(DOING))?;
    for position in &step.unpark {
        sqlx::query(include_str!(
            "../../../sql/projections/delete_shadow_parked.sql"
        ))
        .bind(record::number(position.get()))
        .execute(&mut *conn)
        .await
        .map_err(failed(DOING))?;
    }
    for event in &step.park {
        sqlx::query(include_str!(
            "../../../sql/projections/insert_shadow_parked.sql"
        ))
        .bind(record::number(event.position.get()))
        .bind(event.stream.as_str())
        .bind(&event.message)
        .bind(record::time(event.since))
        .execute(&mut *conn)
        .await
        .map_err(failed(DOING))?;
    }
    Ok(moved.rows_affected() > 0)
}

/// The events that were put aside so far.
pub(super) async fn parked(conn: &mut SqliteConnection) -> Result<Vec<ParkedEvent>, StoreError> {
    let rows = sqlx::query(include_str!(
        "../../../sql/projections/select_shadow_parked.sql"
    ))
    .fetch_all(conn)
    .await
    .map_err(failed(DOING))?;
    rows.iter().map(read_parked).collect()
}

fn read_parked(row: &SqliteRow) -> Result<ParkedEvent, StoreError> {
    let stream: String = row.try_get("stream").map_err(failed(DOING))?;
    let since: String = row.try_get("since").map_err(failed(DOING))?;
    let position = record::count(row.try_get("position").map_err(failed(DOING))?);
    Ok(ParkedEvent {
        stream: StreamName::parse(&stream).map_err(corrupt)?,
        position: Position::new(position),
        message: row.try_get("message").map_err(failed(DOING))?,
        since: record::parse_time(&since)?,
    })
}

/// Attaches another file under a name.
pub(super) async fn attach(
    conn: &mut SqliteConnection,
    file: &str,
    name: &str,
) -> Result<(), StoreError> {
    sqlx::query(include_str!("../../../sql/projections/attach.sql"))
        .bind(file)
        .bind(name)
        .execute(conn)
        .await
        .map_err(failed(DOING))?;
    Ok(())
}

/// A file as a URI that opens it for reading only.
pub(super) fn read_only(path: &Path) -> Result<String, StoreError> {
    Ok(format!("{}?mode=ro", uri(path)?))
}

/// A file as a URI, in which no character of its path means anything else.
pub(super) fn uri(path: &Path) -> Result<String, StoreError> {
    let absolute = std::path::absolute(path)
        .map_err(|error| StoreError::new(StoreErrorKind::NotFound, DOING).caused_by(error))?;
    let text = absolute.to_str().ok_or_else(|| {
        StoreError::new(StoreErrorKind::Invalid, DOING).caused_by("its path is not UTF-8")
    })?;
    let escaped: String = text
        .bytes()
        .map(|byte| match byte {
            b'/' | b'.' | b'_' | b'-' => char::from(byte).to_string(),
            byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect();
    Ok(format!("file:{escaped}"))
}

/// Runs a statement that controls the transaction.
pub(super) async fn control(
    conn: &mut SqliteConnection,
    statement: &'static str,
) -> Result<(), StoreError> {
    sqlx::raw_sql(statement)
        .execute(conn)
        .await
        .map_err(failed("control the transaction of a rebuild"))?;
    Ok(())
}

fn corrupt(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, DOING).caused_by(cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_strange_characters_makes_a_plain_file_name() {
        let path = path_of(Path::new("data/bank.db"), "a/b c");
        assert_eq!(path, Path::new("data/bank.db-rebuild-a%2fb%20c"));
    }

    #[test]
    fn a_path_with_strange_characters_is_escaped() {
        let uri = uri(Path::new("/a b/50%?.db")).unwrap();
        assert_eq!(uri, "file:/a%20b/50%25%3F.db");
    }
}
