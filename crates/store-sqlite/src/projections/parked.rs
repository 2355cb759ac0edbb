//! Events that were put aside.

use annals_core::{ParkedEvent, Position, StoreError, StoreErrorKind, StreamName, Target};
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

use super::record;
use crate::error::failed;

pub(crate) async fn put_aside(
    conn: &mut SqliteConnection,
    projection: &str,
    target: Target,
    event: &ParkedEvent,
) -> Result<(), StoreError> {
    sqlx::query(include_str!("../../sql/projections/insert_parked.sql"))
        .bind(projection)
        .bind(target.as_str())
        .bind(record::number(event.position.get()))
        .bind(event.stream.as_str())
        .bind(&event.message)
        .bind(record::time(event.since))
        .execute(conn)
        .await
        .map_err(failed("put an event aside"))?;
    Ok(())
}

pub(crate) async fn take_back(
    conn: &mut SqliteConnection,
    projection: &str,
    target: Target,
    position: Position,
) -> Result<(), StoreError> {
    sqlx::query(include_str!("../../sql/projections/delete_parked.sql"))
        .bind(projection)
        .bind(target.as_str())
        .bind(record::number(position.get()))
        .execute(conn)
        .await
        .map_err(failed("take back a parked event"))?;
    Ok(())
}

pub(crate) async fn clear(
    conn: &mut SqliteConnection,
    projection: &str,
    target: Target,
) -> Result<(), StoreError> {
    sqlx::query(include_str!("../../sql/projections/clear_parked.sql"))
        .bind(projection)
        .bind(target.as_str())
        .execute(conn)
        .await
        .map_err(failed("forget parked events"))?;
    Ok(())
}

pub(crate) async fn select(
    conn: &mut SqliteConnection,
    projection: &str,
    target: Target,
) -> Result<Vec<ParkedEvent>, StoreError> {
    let rows = sqlx::query(include_str!("../../sql/projections/select_parked.sql"))
        .bind(projection)
        .bind(target.as_str())
        .fetch_all(conn)
        .await
        .map_err(failed("read parked events"))?;
    rows.iter().map(read).collect()
}

fn read(row: &SqliteRow) -> Result<ParkedEvent, StoreError> {
    let field = || failed("read a parked event");
    let stream: String = row.try_get("stream").map_err(field())?;
    let since: String = row.try_get("since").map_err(field())?;
    Ok(ParkedEvent {
        stream: StreamName::parse(&stream).map_err(|error| {
            StoreError::new(StoreErrorKind::Corrupt, "read a parked event").caused_by(error)
        })?,
        position: Position::new(record::count(row.try_get("position").map_err(field())?)),
        message: row.try_get("message").map_err(field())?,
        since: record::parse_time(&since)?,
    })
}

/// What a rebuild put aside is put aside for the live table that it becomes.
pub(crate) async fn adopt(conn: &mut SqliteConnection, projection: &str) -> Result<(), StoreError> {
    sqlx::query(include_str!("../../sql/projections/adopt_parked.sql"))
        .bind(projection)
        .execute(conn)
        .await
        .map_err(failed("keep parked events over a swap"))?;
    Ok(())
}
