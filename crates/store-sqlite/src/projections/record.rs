//! The stored record of a projection: read, and changed by operators.

use annals_core::{
    Checkpoint, CommitError, EventId, Failure, Fence, Position, ProjectionRecord, ProjectionState,
    RebuildRecord, StoreError, StoreErrorKind,
};
use chrono::{DateTime, SecondsFormat, Utc};
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

use crate::error::failed;

/// A record with what only this store needs to know of it.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) record: ProjectionRecord,
    /// The table that it fills.
    pub(crate) read_model: Option<String>,
    /// The fingerprint of the rebuild under way.
    pub(crate) rebuild_fingerprint: Option<String>,
    /// The table that it fills.
    pub(crate) rebuild_table: Option<String>,
}

/// All records, by name.
pub(crate) async fn all(conn: &mut SqliteConnection) -> Result<Vec<Stored>, StoreError> {
    select(conn, None).await
}

/// One record.
pub(crate) async fn one(
    conn: &mut SqliteConnection,
    name: &str,
) -> Result<Option<Stored>, StoreError> {
    Ok(select(conn, Some(name)).await?.pop())
}

async fn select(
    conn: &mut SqliteConnection,
    name: Option<&str>,
) -> Result<Vec<Stored>, StoreError> {
    let rows = sqlx::query(include_str!("../../sql/projections/select_records.sql"))
        .bind(name)
        .fetch_all(conn)
        .await
        .map_err(failed("read projections"))?;
    rows.iter().map(read).collect()
}

/// Sets a projection's state; false when there is no such projection.
pub(crate) async fn set_state(
    conn: &mut SqliteConnection,
    name: &str,
    state: ProjectionState,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let changed = sqlx::query(include_str!("../../sql/projections/update_state.sql"))
        .bind(name)
        .bind(state.as_str())
        .bind(time(now))
        .execute(conn)
        .await
        .map_err(failed("set the state of a projection"))?;
    Ok(changed.rows_affected() > 0)
}

/// Stops a projection for a failure, unless somebody has moved it on.
pub(crate) async fn fail(
    conn: &mut SqliteConnection,
    name: &str,
    fence: Fence,
    state: ProjectionState,
    failure: &Failure,
) -> Result<(), CommitError> {
    if stop(conn, name, fence, state, failure).await? {
        return Ok(());
    }
    Err(CommitError::Fenced {
        projection: name.to_owned(),
    })
}

/// Stops a projection for a failure; false when somebody has moved it on.
pub(crate) async fn stop(
    conn: &mut SqliteConnection,
    name: &str,
    fence: Fence,
    state: ProjectionState,
    failure: &Failure,
) -> Result<bool, StoreError> {
    let changed = sqlx::query(include_str!("../../sql/projections/update_failure.sql"))
        .bind(name)
        .bind(number(fence.epoch))
        .bind(number(fence.checkpoint.get()))
        .bind(state.as_str())
        .bind(failure.to_json()?)
        .bind(time(failure.since))
        .execute(conn)
        .await
        .map_err(failed("record a failure"))?;
    Ok(changed.rows_affected() > 0)
}

/// The parked events have been tried again.
pub(crate) async fn retried(
    conn: &mut SqliteConnection,
    name: &str,
    epoch: u64,
) -> Result<(), StoreError> {
    sqlx::query(include_str!("../../sql/projections/update_retried.sql"))
        .bind(name)
        .bind(number(epoch))
        .execute(conn)
        .await
        .map_err(failed("note that parked events were tried again"))?;
    Ok(())
}

fn read(row: &SqliteRow) -> Result<Stored, StoreError> {
    let field = || failed("read a projection");
    let state: String = row.try_get("state").map_err(field())?;
    let updated_at: String = row.try_get("updated_at").map_err(field())?;
    let failure: Option<String> = row.try_get("failure").map_err(field())?;
    let record = ProjectionRecord {
        name: row.try_get("name").map_err(field())?,
        state: ProjectionState::parse(&state)?,
        inline: row.try_get("inline").map_err(field())?,
        checkpoint: checkpoint(row, "position", "event_id")?,
        epoch: count(row.try_get("epoch").map_err(field())?),
        fingerprint: row.try_get("fingerprint").map_err(field())?,
        owner: row.try_get("owner").map_err(field())?,
        leased: row.try_get("leased").map_err(field())?,
        updated_at: parse_time(&updated_at)?,
        failure: failure.as_deref().map(Failure::from_json).transpose()?,
        parked: count(row.try_get("parked").map_err(field())?),
        retry_parked: row.try_get("retry_parked").map_err(field())?,
        rebuild: read_rebuild(row)?,
    };
    Ok(Stored {
        record,
        read_model: row.try_get("read_model").map_err(field())?,
        rebuild_fingerprint: row.try_get("rebuild_fingerprint").map_err(field())?,
        rebuild_table: row.try_get("rebuild_table").map_err(field())?,
    })
}

fn read_rebuild(row: &SqliteRow) -> Result<Option<RebuildRecord>, StoreError> {
    let field = || failed("read a rebuild");
    let Some(owner) = row.try_get("rebuild_owner").map_err(field())? else {
        return Ok(None);
    };
    let started_at: String = row.try_get("rebuild_started_at").map_err(field())?;
    Ok(Some(RebuildRecord {
        owner,
        epoch: count(row.try_get("rebuild_epoch").map_err(field())?),
        checkpoint: checkpoint(row, "rebuild_position", "rebuild_event_id")?,
        started_at: parse_time(&started_at)?,
        leased: row.try_get("rebuild_leased").map_err(field())?,
        resumed: row.try_get("rebuild_resumed").map_err(field())?,
    }))
}

fn checkpoint(row: &SqliteRow, position: &str, event_id: &str) -> Result<Checkpoint, StoreError> {
    let field = || failed("read a checkpoint");
    let id: Option<String> = row.try_get(event_id).map_err(field())?;
    let id: Option<EventId> = id.map(|id| id.parse().map_err(corrupt)).transpose()?;
    Ok(Checkpoint {
        position: Position::new(count(row.try_get(position).map_err(field())?)),
        event_id: id,
    })
}

fn corrupt(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, "read a projection's record").caused_by(cause)
}

/// A counter as SQLite keeps it.
pub(crate) fn number(counter: u64) -> i64 {
    i64::try_from(counter).unwrap_or(i64::MAX)
}

/// A counter as SQLite kept it; its columns are never negative.
pub(crate) fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

/// A time as it is stored: RFC 3339 in UTC, which sorts by time.
pub(crate) fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// The time by this database's clock.
pub(crate) async fn now(conn: &mut SqliteConnection) -> Result<DateTime<Utc>, StoreError> {
    let now: String = sqlx::query_scalar(include_str!("../../sql/projections/now.sql"))
        .fetch_one(conn)
        .await
        .map_err(failed("read the database's clock"))?;
    parse_time(&now)
}

/// A time as it was stored.
pub(crate) fn parse_time(text: &str) -> Result<DateTime<Utc>, StoreError> {
    let time = DateTime::parse_from_rfc3339(text).map_err(corrupt)?;
    Ok(time.with_timezone(&Utc))
}
