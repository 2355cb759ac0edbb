//! Rebuilds: begun, resumed, leased and given up.
//!
//! Leases are judged by the database's clock alone, so that clocks of nodes may differ.

use std::time::Duration;

use annals_core::{
    ProjectionSpec, RebuildError, RebuildRecord, StoreError, StoreErrorKind, Target,
};
use chrono::{DateTime, Utc};
use sqlx::SqliteConnection;

use super::{
    parked,
    record::{self, Stored},
    tables,
};
use crate::error::failed;

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
    conn: &mut SqliteConnection,
    begin: &Begin,
) -> Result<RebuildRecord, RebuildError> {
    let spec = &begin.spec;
    let stored = lookup(conn, &spec.name).await?;
    if let Some(other) = &stored.record.rebuild
        && other.leased
    {
        return Err(RebuildError::AlreadyRunning {
            projection: spec.name.clone(),
            owner: other.owner.clone(),
            since: other.started_at,
        });
    }
    let epoch = next_epoch(conn, &spec.name).await?;
    if !begin.restart && is_resumable(conn, spec, &stored).await? {
        resume(conn, begin, epoch).await?;
    } else {
        throw_away(conn, &stored).await?;
        start(conn, begin, epoch).await?;
    }
    let begun = lookup(conn, &spec.name).await?.record.rebuild;
    let missing = || StoreError::new(StoreErrorKind::Corrupt, "read a rebuild just begun");
    Ok(begun.ok_or_else(missing)?)
}

/// Prolongs the lease.
pub(crate) async fn renew(
    conn: &mut SqliteConnection,
    name: &str,
    epoch: u64,
    lease: Duration,
) -> Result<(), RebuildError> {
    let renewed = sqlx::query(include_str!("../../sql/projections/renew_rebuild.sql"))
        .bind(name)
        .bind(record::number(epoch))
        .bind(lease.as_secs_f64())
        .execute(conn)
        .await
        .map_err(failed("renew the lease of a rebuild"))?;
    or_fenced(renewed.rows_affected(), name)
}

/// Gives a rebuild up; `keep` leaves it to be resumed.
pub(crate) async fn abandon(
    conn: &mut SqliteConnection,
    name: &str,
    epoch: u64,
    keep: bool,
) -> Result<(), RebuildError> {
    let released = sqlx::query(include_str!("../../sql/projections/release_rebuild.sql"))
        .bind(name)
        .bind(record::number(epoch))
        .execute(&mut *conn)
        .await
        .map_err(failed("give a rebuild up"))?;
    or_fenced(released.rows_affected(), name)?;
    if !keep {
        let stored = lookup(conn, name).await?;
        throw_away(conn, &stored).await?;
    }
    Ok(())
}

/// The stored record of a projection that has to exist.
pub(crate) async fn lookup(
    conn: &mut SqliteConnection,
    name: &str,
) -> Result<Stored, RebuildError> {
    let stored = record::one(conn, name).await?;
    stored.ok_or_else(|| RebuildError::NoSuchProjection {
        projection: name.to_owned(),
    })
}

/// Forgets a rebuild that has ended.
pub(crate) async fn forget(conn: &mut SqliteConnection, name: &str) -> Result<(), StoreError> {
    sqlx::query(include_str!("../../sql/projections/delete_rebuild.sql"))
        .bind(name)
        .execute(conn)
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
async fn next_epoch(conn: &mut SqliteConnection, name: &str) -> Result<i64, StoreError> {
    sqlx::query_scalar(include_str!("../../sql/projections/next_rebuild_epoch.sql"))
        .bind(name)
        .fetch_one(conn)
        .await
        .map_err(failed("begin a rebuild"))
}

async fn is_resumable(
    conn: &mut SqliteConnection,
    spec: &ProjectionSpec,
    stored: &Stored,
) -> Result<bool, StoreError> {
    if stored.rebuild_fingerprint.as_ref() != Some(&spec.fingerprint) {
        return Ok(false);
    }
    match &spec.table {
        Some(table) => tables::exists(conn, &table.name_of(Target::Rebuild)).await,
        None => Ok(true),
    }
}

async fn resume(conn: &mut SqliteConnection, begin: &Begin, epoch: i64) -> Result<(), StoreError> {
    sqlx::query(include_str!("../../sql/projections/resume_rebuild.sql"))
        .bind(&begin.spec.name)
        .bind(&begin.owner)
        .bind(epoch)
        .bind(begin.lease.as_secs_f64())
        .execute(conn)
        .await
        .map_err(failed("resume a rebuild"))?;
    Ok(())
}

async fn throw_away(conn: &mut SqliteConnection, stored: &Stored) -> Result<(), StoreError> {
    if let Some(table) = &stored.rebuild_table {
        tables::drop(conn, table).await?;
    }
    parked::clear(conn, &stored.record.name, Target::Rebuild).await?;
    forget(conn, &stored.record.name).await
}

async fn start(conn: &mut SqliteConnection, begin: &Begin, epoch: i64) -> Result<(), StoreError> {
    let spec = &begin.spec;
    let table = spec.table.as_ref();
    if let Some(table) = table {
        tables::create(conn, &spec.name, table, Target::Rebuild).await?;
    }
    sqlx::query(include_str!("../../sql/projections/insert_rebuild.sql"))
        .bind(&spec.name)
        .bind(&begin.owner)
        .bind(epoch)
        .bind(&spec.fingerprint)
        .bind(record::time(begin.now))
        .bind(begin.lease.as_secs_f64())
        .bind(table.map(|table| table.name_of(Target::Rebuild)))
        .execute(conn)
        .await
        .map_err(failed("begin a rebuild"))?;
    Ok(())
}
