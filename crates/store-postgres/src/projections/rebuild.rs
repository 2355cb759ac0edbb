//! Rebuilds: begun, resumed, leased and given up.
//!
//! Leases are judged by the database's clock alone, so that clocks of nodes may differ.

use std::time::Duration;

use annals_core::{
    ProjectionSpec, RebuildError, RebuildRecord, StoreError, StoreErrorKind, Target,
};
use chrono::{DateTime, Utc};
use sqlx::Row as _;

use super::{
    parked,
    record::{self, Stored},
    sql_projection, tables,
};
use crate::{error::failed, transaction::Session};

/// Who wants to rebuild, and how.
#[derive(Clone, Debug)]
pub(crate) struct Begin {
    pub(crate) spec: ProjectionSpec,
    pub(crate) owner: String,
    pub(crate) lease: Duration,
    pub(crate) restart: bool,
    pub(crate) now: DateTime<Utc>,
}

/// Begins a rebuild, or takes one over that was left behind.
pub(crate) async fn begin(
    session: &mut Session<'_>,
    begin: &Begin,
) -> Result<RebuildRecord, RebuildError> {
    let spec = &begin.spec;
    let stored = locked(session, &spec.name).await?;
    if let Some(other) = &stored.record.rebuild
        && other.leased
    {
        return Err(RebuildError::AlreadyRunning {
            projection: spec.name.clone(),
            owner: other.owner.clone(),
            since: other.started_at,
        });
    }
    if let Some(table) = &stored.rebuild_table {
        // Nobody holds the lease, and the new epoch fences off whoever did.
        tables::end_stalled_writers(session, table).await?;
    }
    let epoch = next_epoch(session, &spec.name).await?;
    if !begin.restart && is_resumable(session, spec, &stored).await? {
        resume(session, begin, epoch).await?;
    } else {
        throw_away(session, &stored).await?;
        start(session, begin, epoch).await?;
    }
    let begun = record::one(session, &spec.name).await?;
    let missing = || StoreError::new(StoreErrorKind::Corrupt, "read a rebuild just begun");
    let begun = begun.and_then(|stored| stored.record.rebuild);
    Ok(begun.ok_or_else(missing)?)
}

/// Prolongs the lease.
pub(crate) async fn renew(
    session: &mut Session<'_>,
    name: &str,
    epoch: u64,
    lease: Duration,
) -> Result<(), RebuildError> {
    let renewed = session
        .sql
        .query(include_str!("../../sql/projections/renew_rebuild.sql"))
        .bind(name)
        .bind(record::number(epoch))
        .bind(lease.as_secs_f64())
        .execute(&mut *session.conn)
        .await
        .map_err(failed("renew the lease of a rebuild"))?;
    or_fenced(renewed.rows_affected(), name)
}

/// Gives a rebuild up; `keep` leaves it to be resumed.
pub(crate) async fn abandon(
    session: &mut Session<'_>,
    name: &str,
    epoch: u64,
    keep: bool,
) -> Result<(), RebuildError> {
    let stored = locked(session, name).await?;
    let released = session
        .sql
        .query(include_str!("../../sql/projections/release_rebuild.sql"))
        .bind(name)
        .bind(record::number(epoch))
        .execute(&mut *session.conn)
        .await
        .map_err(failed("give a rebuild up"))?;
    or_fenced(released.rows_affected(), name)?;
    if !keep {
        throw_away(session, &stored).await?;
    }
    Ok(())
}

/// The stored record of a projection that has to exist, as it is until the transaction ends.
pub(crate) async fn locked(session: &mut Session<'_>, name: &str) -> Result<Stored, RebuildError> {
    let stored = record::locked(session, name).await?;
    stored.ok_or_else(|| RebuildError::NoSuchProjection {
        projection: name.to_owned(),
    })
}

/// Forgets a rebuild that has ended.
pub(crate) async fn forget(session: &mut Session<'_>, name: &str) -> Result<(), StoreError> {
    session
        .sql
        .query(include_str!("../../sql/projections/delete_rebuild.sql"))
        .bind(name)
        .execute(&mut *session.conn)
        .await
        .map_err(failed("end a rebuild"))?;
    Ok(())
}

fn or_fenced(rows: u64, name: &str) -> Result<(), RebuildError> {
    if rows > 0 {
        return Ok(());
    }
    Err(RebuildError::Fenced {
        projection: name.to_owned(),
    })
}

/// Epochs are never used twice, so that whoever was given up can't commit into a later rebuild.
async fn next_epoch(session: &mut Session<'_>, name: &str) -> Result<i64, StoreError> {
    session
        .sql
        .query(include_str!("../../sql/projections/next_rebuild_epoch.sql"))
        .bind(name)
        .fetch_one(&mut *session.conn)
        .await
        .and_then(|row| row.try_get(0))
        .map_err(failed("begin a rebuild"))
}

async fn is_resumable(
    session: &mut Session<'_>,
    spec: &ProjectionSpec,
    stored: &Stored,
) -> Result<bool, StoreError> {
    if stored.rebuild_fingerprint.as_ref() != Some(&spec.fingerprint) {
        return Ok(false);
    }
    let schema = session.sql.schema().clone();
    match &spec.table {
        Some(table) => {
            tables::exists(session, schema.name(), &table.name_of(Target::Rebuild)).await
        }
        None => Ok(true),
    }
}

async fn resume(session: &mut Session<'_>, begin: &Begin, epoch: i64) -> Result<(), StoreError> {
    session
        .sql
        .query(include_str!("../../sql/projections/resume_rebuild.sql"))
        .bind(&begin.spec.name)
        .bind(&begin.owner)
        .bind(epoch)
        .bind(begin.lease.as_secs_f64())
        .execute(&mut *session.conn)
        .await
        .map_err(failed("resume a rebuild"))?;
    Ok(())
}

async fn throw_away(session: &mut Session<'_>, stored: &Stored) -> Result<(), StoreError> {
    match &stored.rebuild_table {
        Some(table) => tables::drop(session, table).await?,
        None if stored.record.rebuild.is_some() => {
            sql_projection::remove_shadow(session, &stored.record.name).await?;
        }
        None => {}
    }
    parked::clear(session, &stored.record.name, Target::Rebuild).await?;
    forget(session, &stored.record.name).await
}

async fn start(session: &mut Session<'_>, begin: &Begin, epoch: i64) -> Result<(), StoreError> {
    let spec = &begin.spec;
    let table = spec.table.as_ref();
    if let Some(table) = table {
        tables::create(session, &spec.name, table, Target::Rebuild).await?;
    }
    session
        .sql
        .query(include_str!("../../sql/projections/insert_rebuild.sql"))
        .bind(&spec.name)
        .bind(&begin.owner)
        .bind(epoch)
        .bind(&spec.fingerprint)
        .bind(begin.now)
        .bind(begin.lease.as_secs_f64())
        .bind(table.map(|table| table.name_of(Target::Rebuild)))
        .execute(&mut *session.conn)
        .await
        .map_err(failed("begin a rebuild"))?;
    Ok(())
}
