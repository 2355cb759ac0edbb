//! Events that were put aside.

use annals_core::{ParkedEvent, Position, StoreError, StoreErrorKind, StreamName, Target};
use chrono::{DateTime, Utc};
use sqlx::{Row, postgres::PgRow};

use super::record;
use crate::{error::failed, transaction::Session};

pub(crate) async fn put_aside(
    session: &mut Session<'_>,
    projection: &str,
    target: Target,
    events: &[ParkedEvent],
) -> Result<(), StoreError> {
    if events.is_empty() {
        return Ok(());
    }
    let positions: Vec<i64> = numbers(events.iter().map(|event| event.position));
    let streams: Vec<&str> = events.iter().map(|event| event.stream.as_str()).collect();
    let messages: Vec<String> = events.iter().map(|event| shown(&event.message)).collect();
    let since: Vec<DateTime<Utc>> = events.iter().map(|event| event.since).collect();
    session
        .sql
        .query(include_str!("../../sql/projections/insert_parked.sql"))
        .bind(projection)
        .bind(target.as_str())
        .bind(positions)
        .bind(streams)
        .bind(messages)
        .bind(since)
        .execute(&mut *session.conn)
        .await
        .map_err(failed("put events aside"))?;
    Ok(())
}

/// A message without the one character that PostgreSQL's text can't hold.
fn shown(message: &str) -> String {
    message.replace('\0', "\u{2400}")
}

fn numbers(positions: impl Iterator<Item = Position>) -> Vec<i64> {
    positions
        .map(|position| record::number(position.get()))
        .collect()
}

pub(crate) async fn take_back(
    session: &mut Session<'_>,
    projection: &str,
    target: Target,
    positions: &[Position],
) -> Result<(), StoreError> {
    if positions.is_empty() {
        return Ok(());
    }
    session
        .sql
        .query(include_str!("../../sql/projections/delete_parked.sql"))
        .bind(projection)
        .bind(target.as_str())
        .bind(numbers(positions.iter().copied()))
        .execute(&mut *session.conn)
        .await
        .map_err(failed("take back parked events"))?;
    Ok(())
}

pub(crate) async fn clear(
    session: &mut Session<'_>,
    projection: &str,
    target: Target,
) -> Result<(), StoreError> {
    session
        .sql
        .query(include_str!("../../sql/projections/clear_parked.sql"))
        .bind(projection)
        .bind(target.as_str())
        .execute(&mut *session.conn)
        .await
        .map_err(failed("forget parked events"))?;
    Ok(())
}

pub(crate) async fn select(
    session: &mut Session<'_>,
    projection: &str,
    target: Target,
) -> Result<Vec<ParkedEvent>, StoreError> {
    let rows = session
        .sql
        .query(include_str!("../../sql/projections/select_parked.sql"))
        .bind(projection)
        .bind(target.as_str())
        .fetch_all(&mut *session.conn)
        .await
        .map_err(failed("read parked events"))?;
    rows.iter().map(read).collect()
}

fn read(row: &PgRow) -> Result<ParkedEvent, StoreError> {
    let field = || failed("read a parked event");
    let stream: &str = row.try_get("stream").map_err(field())?;
    Ok(ParkedEvent {
        stream: StreamName::parse(stream).map_err(|error| {
            StoreError::new(StoreErrorKind::Corrupt, "read a parked event").caused_by(error)
        })?,
        position: Position::new(record::count(row.try_get("position").map_err(field())?)),
        message: row.try_get("message").map_err(field())?,
        since: row.try_get("since").map_err(field())?,
    })
}

/// What a rebuild put aside is put aside for the live table that it becomes.
pub(crate) async fn adopt(session: &mut Session<'_>, projection: &str) -> Result<(), StoreError> {
    session
        .sql
        .query(include_str!("../../sql/projections/adopt_parked.sql"))
        .bind(projection)
        .execute(&mut *session.conn)
        .await
        .map_err(failed("keep parked events over a swap"))?;
    Ok(())
}
