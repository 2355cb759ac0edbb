//! Where a SQL projection's statements find its tables.

use annals_core::{StoreError, Target};
use sqlx::Row as _;

use super::shadow;
use crate::{error::failed, projections::statements::quoted, transaction::Session};

const DOING: &str = "set the search path of a SQL projection";

/// Puts the schema with the projection's tables in front, and answers the path as it was.
pub(super) async fn enter(
    session: &mut Session<'_>,
    projection: &str,
    target: Target,
) -> Result<String, StoreError> {
    let store = session.sql.schema().name();
    let path = match target {
        Target::Live => quoted(store),
        Target::Rebuild => {
            let shadow = quoted(&shadow::name(store, projection));
            format!("{shadow}, {}", quoted(store))
        }
    };
    session
        .sql
        .query(include_str!("../../../sql/projections/enter_path.sql"))
        .bind(path)
        .fetch_one(&mut *session.conn)
        .await
        .and_then(|row| row.try_get(0))
        .map_err(failed(DOING))
}

/// Puts the path back, for what else happens in the transaction.
pub(super) async fn leave(session: &mut Session<'_>, before: &str) -> Result<(), StoreError> {
    session
        .sql
        .query(include_str!("../../../sql/projections/leave_path.sql"))
        .bind(before)
        .execute(&mut *session.conn)
        .await
        .map_err(failed(DOING))?;
    Ok(())
}
