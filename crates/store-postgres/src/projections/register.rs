//! Making a projection known, with its table.

use annals_core::{ProjectionRecord, ProjectionSpec, StoreError, StoreErrorKind, Target};
use chrono::{DateTime, Utc};

use super::{
    parked,
    record::{self, Stored},
    tables,
};
use crate::{error::failed, transaction::Session};

/// Registers a projection, and answers its record.
pub(crate) async fn register(
    session: &mut Session<'_>,
    spec: &ProjectionSpec,
    now: DateTime<Utc>,
) -> Result<ProjectionRecord, StoreError> {
    let known = match record::locked(session, &spec.name).await? {
        None if insert(session, spec, now).await? => None,
        // Somebody else was faster, and has committed by now.
        None => record::locked(session, &spec.name).await?,
        known => known,
    };
    if let Some(stored) = known {
        update(session, spec, &stored, now).await?;
    }
    let stored = record::one(session, &spec.name).await?;
    let missing = || StoreError::new(StoreErrorKind::Corrupt, "read a projection just registered");
    stored.map(|stored| stored.record).ok_or_else(missing)
}

/// Makes a record, and then the table; false when there is a record already.
async fn insert(
    session: &mut Session<'_>,
    spec: &ProjectionSpec,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    if let Some(table) = &spec.table {
        // Before the record is made, or the unique index would refuse it with less to say.
        tables::must_not_be_anothers(session, &spec.name, table.name).await?;
    }
    let inserted = session
        .sql
        .query(include_str!("../../sql/projections/insert_record.sql"))
        .bind(&spec.name)
        .bind(spec.inline)
        .bind(spec.table.map(|table| table.name))
        .bind(&spec.fingerprint)
        .bind(now)
        .execute(&mut *session.conn)
        .await
        .map_err(failed("register a projection"))?;
    if inserted.rows_affected() == 0 {
        return Ok(false);
    }
    if let Some(table) = &spec.table {
        tables::create(session, &spec.name, table, Target::Live).await?;
    }
    Ok(true)
}

async fn update(
    session: &mut Session<'_>,
    spec: &ProjectionSpec,
    stored: &Stored,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let outdated = spec.fingerprint != stored.record.fingerprint;
    let anew = !outdated && recreate_lost_table(session, spec).await?;
    let state = stored.record.state_when_registered(spec, anew);
    session
        .sql
        .query(include_str!(
            "../../sql/projections/update_registration.sql"
        ))
        .bind(&spec.name)
        .bind(spec.inline)
        .bind(state.as_str())
        .bind(anew)
        .bind(now)
        .bind(spec.table.map(|table| table.name))
        .execute(&mut *session.conn)
        .await
        .map_err(failed("register a projection"))?;
    Ok(())
}

/// Makes the table again if somebody has dropped it; its rows are then folded anew from the
/// beginning of the log.
async fn recreate_lost_table(
    session: &mut Session<'_>,
    spec: &ProjectionSpec,
) -> Result<bool, StoreError> {
    let Some(table) = &spec.table else {
        return Ok(false);
    };
    let schema = session.sql.schema().clone();
    if tables::exists(session, schema.name(), table.name).await? {
        return Ok(false);
    }
    tables::create(session, &spec.name, table, Target::Live).await?;
    parked::clear(session, &spec.name, Target::Live).await?;
    Ok(true)
}
