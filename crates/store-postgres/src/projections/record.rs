//! The stored record of a projection: read, locked, and changed by operators.

use annals_core::{
    Checkpoint, CommitError, EventId, Failure, Fence, Position, ProjectionRecord, ProjectionState,
    RebuildRecord, StoreError,
};
use chrono::{DateTime, Utc};
use sqlx::{Row, postgres::PgRow};
use uuid::Uuid;

use crate::{error::failed, transaction::Session};

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
pub(crate) async fn all(session: &mut Session<'_>) -> Result<Vec<Stored>, StoreError> {
    select(session, None).await
}

/// One record.
pub(crate) async fn one(
    session: &mut Session<'_>,
    name: &str,
) -> Result<Option<Stored>, StoreError> {
    Ok(select(session, Some(name)).await?.pop())
}

/// One record with its rebuild, as it is until the transaction ends.
///
/// Whoever changes more of a projection than one row begins here, so that nobody else does so at
/// the same time: first the record, then the rebuild's, then tables. Only a rebuild's own step has
/// locked its table before; where it meets whoever takes the rebuild over, the server ends one of
/// the two, which is tried again.
pub(crate) async fn locked(
    session: &mut Session<'_>,
    name: &str,
) -> Result<Option<Stored>, StoreError> {
    for lock in [
        include_str!("../../sql/projections/lock_record.sql"),
        include_str!("../../sql/projections/lock_rebuild.sql"),
    ] {
        session
            .sql
            .query(lock)
            .bind(name)
            .execute(&mut *session.conn)
            .await
            .map_err(failed("lock a projection's record"))?;
    }
    one(session, name).await
}

async fn select(session: &mut Session<'_>, name: Option<&str>) -> Result<Vec<Stored>, StoreError> {
    let rows = session
        .sql
        .query(include_str!("../../sql/projections/select_records.sql"))
        .bind(name)
        .fetch_all(&mut *session.conn)
        .await
        .map_err(failed("read projections"))?;
    rows.iter().map(read).collect()
}

/// Sets a projection's state, if there is such a projection.
pub(crate) async fn set_state(
    session: &mut Session<'_>,
    name: &str,
    state: ProjectionState,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    session
        .sql
        .query(include_str!("../../sql/projections/update_state.sql"))
        .bind(name)
        .bind(state.as_str())
        .bind(now)
        .execute(&mut *session.conn)
        .await
        .map_err(failed("set the state of a projection"))?;
    Ok(())
}

/// Stops a projection for a failure, unless somebody has moved it on.
pub(crate) async fn fail(
    session: &mut Session<'_>,
    name: &str,
    fence: Fence,
    state: ProjectionState,
    failure: &Failure,
) -> Result<(), CommitError> {
    if stop(session, name, fence, state, failure).await? {
        return Ok(());
    }
    Err(CommitError::Fenced {
        projection: name.to_owned(),
    })
}

/// Stops a projection for a failure; false when somebody has moved it on.
pub(crate) async fn stop(
    session: &mut Session<'_>,
    name: &str,
    fence: Fence,
    state: ProjectionState,
    failure: &Failure,
) -> Result<bool, StoreError> {
    let changed = session
        .sql
        .query(include_str!("../../sql/projections/update_failure.sql"))
        .bind(name)
        .bind(number(fence.epoch))
        .bind(number(fence.checkpoint.get()))
        .bind(state.as_str())
        .bind(failure.to_json()?)
        .bind(failure.since)
        .execute(&mut *session.conn)
        .await
        .map_err(failed("record a failure"))?;
    Ok(changed.rows_affected() > 0)
}

/// What this database's clock shows.
pub(crate) async fn now(session: &mut Session<'_>) -> Result<DateTime<Utc>, StoreError> {
    let doing = || failed("read the database's clock");
    let row = session
        .sql
        .query(include_str!("../../sql/projections/now.sql"))
        .fetch_one(&mut *session.conn)
        .await
        .map_err(doing())?;
    row.try_get("now").map_err(doing())
}

/// The parked events have been tried again.
pub(crate) async fn retried(
    session: &mut Session<'_>,
    name: &str,
    epoch: u64,
) -> Result<(), StoreError> {
    session
        .sql
        .query(include_str!("../../sql/projections/update_retried.sql"))
        .bind(name)
        .bind(number(epoch))
        .execute(&mut *session.conn)
        .await
        .map_err(failed("note that parked events were tried again"))?;
    Ok(())
}

fn read(row: &PgRow) -> Result<Stored, StoreError> {
    let field = || failed("read a projection");
    let state: &str = row.try_get("state").map_err(field())?;
    let failure: Option<&str> = row.try_get("failure").map_err(field())?;
    let record = ProjectionRecord {
        name: row.try_get("name").map_err(field())?,
        state: ProjectionState::parse(state)?,
        inline: row.try_get("inline").map_err(field())?,
        checkpoint: checkpoint(row, "position", "event_id")?,
        epoch: count(row.try_get("epoch").map_err(field())?),
        fingerprint: row.try_get("fingerprint").map_err(field())?,
        owner: row.try_get("owner").map_err(field())?,
        leased: row.try_get("leased").map_err(field())?,
        updated_at: row.try_get("updated_at").map_err(field())?,
        failure: failure.map(Failure::from_json).transpose()?,
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

fn read_rebuild(row: &PgRow) -> Result<Option<RebuildRecord>, StoreError> {
    let field = || failed("read a rebuild");
    let Some(owner) = row.try_get("rebuild_owner").map_err(field())? else {
        return Ok(None);
    };
    Ok(Some(RebuildRecord {
        owner,
        epoch: count(row.try_get("rebuild_epoch").map_err(field())?),
        checkpoint: checkpoint(row, "rebuild_position", "rebuild_event_id")?,
        started_at: row.try_get("rebuild_started_at").map_err(field())?,
        leased: row.try_get("rebuild_leased").map_err(field())?,
        resumed: row.try_get("rebuild_resumed").map_err(field())?,
    }))
}

fn checkpoint(row: &PgRow, position: &str, event_id: &str) -> Result<Checkpoint, StoreError> {
    let field = || failed("read a checkpoint");
    let id: Option<Uuid> = row.try_get(event_id).map_err(field())?;
    Ok(Checkpoint {
        position: Position::new(count(row.try_get(position).map_err(field())?)),
        event_id: id.map(EventId::new),
    })
}

/// A counter as PostgreSQL keeps it.
pub(crate) fn number(counter: u64) -> i64 {
    i64::try_from(counter).unwrap_or(i64::MAX)
}

/// A counter as PostgreSQL kept it; its columns are never negative.
pub(crate) fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}
