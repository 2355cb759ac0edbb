//! Leases on running projections.
//!
//! As those of rebuilds they are judged by the database's clock alone, at the moment at which it
//! is looked at: the start of a transaction may lie before the end of somebody else's.

use std::time::Duration;

use annals_core::{Claim, StoreError, StoreErrorKind};
use sqlx::Row;

use super::record;
use crate::{error::failed, transaction::Session};

const DOING: &str = "take the lease on a projection";

/// Takes the lease, or renews it, unless somebody else holds it.
pub(crate) async fn claim(
    session: &mut Session<'_>,
    name: &str,
    owner: &str,
    term: Duration,
) -> Result<Claim, StoreError> {
    let claimed = session
        .sql
        .query(include_str!("../../sql/projections/claim.sql"))
        .bind(name)
        .bind(owner)
        .bind(term.as_secs_f64())
        .fetch_optional(&mut *session.conn)
        .await
        .map_err(failed(DOING))?;
    if let Some(row) = claimed {
        let epoch = record::count(row.try_get(0).map_err(failed(DOING))?);
        return Ok(Claim::Held { epoch });
    }
    let Some(stored) = record::one(session, name).await? else {
        let doing = format!("take the lease on projection `{name}`: there is none");
        return Err(StoreError::new(StoreErrorKind::NotFound, doing));
    };
    let owner = stored.record.owner.unwrap_or_default();
    Ok(Claim::HeldBy { owner })
}

/// Ends the lease, if it is this owner's.
pub(crate) async fn release(
    session: &mut Session<'_>,
    name: &str,
    owner: &str,
) -> Result<(), StoreError> {
    session
        .sql
        .query(include_str!("../../sql/projections/release.sql"))
        .bind(name)
        .bind(owner)
        .execute(&mut *session.conn)
        .await
        .map_err(failed("release the lease on a projection"))?;
    Ok(())
}
