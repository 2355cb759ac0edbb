//! Leases on running projections.
//!
//! As those of rebuilds they are judged by the database's clock alone.

use std::time::Duration;

use annals_core::{Claim, StoreError, StoreErrorKind};
use sqlx::SqliteConnection;

use super::record;
use crate::error::failed;

const DOING: &str = "take the lease on a projection";

/// Takes the lease, or renews it, unless somebody else holds it.
pub(crate) async fn claim(
    conn: &mut SqliteConnection,
    name: &str,
    owner: &str,
    term: Duration,
) -> Result<Claim, StoreError> {
    let epoch: Option<i64> = sqlx::query_scalar(include_str!("../../sql/projections/claim.sql"))
        .bind(name)
        .bind(owner)
        .bind(term.as_secs_f64())
        .fetch_optional(&mut *conn)
        .await
        .map_err(failed(DOING))?;
    if let Some(epoch) = epoch {
        let epoch = record::count(epoch);
        return Ok(Claim::Held { epoch });
    }
    let stored = record::one(conn, name).await?;
    let Some(stored) = stored else {
        let doing = format!("take the lease on projection `{name}`: there is none");
        return Err(StoreError::new(StoreErrorKind::NotFound, doing));
    };
    let owner = stored.record.owner.unwrap_or_default();
    Ok(Claim::HeldBy { owner })
}

/// Ends the lease, if it is this owner's.
pub(crate) async fn release(
    conn: &mut SqliteConnection,
    name: &str,
    owner: &str,
) -> Result<(), StoreError> {
    sqlx::query(include_str!("../../sql/projections/release.sql"))
        .bind(name)
        .bind(owner)
        .execute(conn)
        .await
        .map_err(failed("release the lease on a projection"))?;
    Ok(())
}
