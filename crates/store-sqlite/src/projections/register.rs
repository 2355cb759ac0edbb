//! Making a projection known, with its table.

use annals_core::{ProjectionRecord, ProjectionSpec, StoreError, StoreErrorKind, Target};
use chrono::{DateTime, Utc};
use sqlx::SqliteConnection;

use super::{
    parked,
    record::{self, Stored},
    tables,
};
use crate::error::failed;

/// Registers a projection, and answers its record.
pub(crate) async fn register(
    conn: &mut SqliteConnection,
    spec: &ProjectionSpec,
    now: DateTime<Utc>,
) -> Result<ProjectionRecord, StoreError> {
    match record::one(conn, &spec.name).await? {
        None => insert(conn, spec, now).await?,
        Some(stored) => update(conn, spec, &stored, now).await?,
    }
    let stored = record::one(conn, &spec.name).await?;
    let missing = || StoreError::new(StoreErrorKind::Corrupt, "read a projection just registered");
    stored.map(|stored| stored.record).ok_or_else(missing)
}

async fn insert(
    conn: &mut SqliteConnection,
    spec: &ProjectionSpec,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    if let Some(table) = &spec.table {
        tables::create(conn, &spec.name, table, Target::Live).await?;
    }
    sqlx::query(include_str!("../../sql/projections/insert_record.sql"))
        .bind(&spec.name)
        .bind(spec.inline)
        .bind(spec.table.map(|table| table.name))
        .bind(&spec.fingerprint)
        .bind(record::time(now))
        .execute(conn)
        .await
        .map_err(failed("register a projection"))?;
    Ok(())
}

async fn update(
    conn: &mut SqliteConnection,
    spec: &ProjectionSpec,
    stored: &Stored,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let outdated = spec.fingerprint != stored.record.fingerprint;
    let anew = !outdated && recreate_lost_table(conn, spec).await?;
    let state = stored.record.state_when_registered(spec, anew);
    sqlx::query(include_str!(
        "../../sql/projections/update_registration.sql"
    ))
    .bind(&spec.name)
    .bind(spec.inline)
    .bind(state.as_str())
    .bind(anew)
    .bind(record::time(now))
    .bind(spec.table.map(|table| table.name))
    .execute(conn)
    .await
    .map_err(failed("register a projection"))?;
    Ok(())
}

/// Makes the table again if somebody has dropped it; its rows are then folded anew from the
/// beginning of the log.
async fn recreate_lost_table(
    conn: &mut SqliteConnection,
    spec: &ProjectionSpec,
) -> Result<bool, StoreError> {
    let Some(table) = &spec.table else {
        return Ok(false);
    };
    if tables::exists(conn, table.name).await? {
        return Ok(false);
    }
    tables::create(conn, &spec.name, table, Target::Live).await?;
    parked::clear(conn, &spec.name, Target::Live).await?;
    Ok(true)
}
