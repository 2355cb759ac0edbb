//! The append lock: whoever holds it gives out positions.

use annals_core::StoreError;

use crate::{error::failed, sql, transaction::Session};

/// Takes the append lock until the transaction ends; nobody else appends meanwhile.
///
/// It must be a statement of its own, before whatever is decided is read: under READ COMMITTED a
/// statement sees what was committed before it began, and this one begins before the lock is free.
///
/// # Errors
/// When the lock is not free in time ([`StoreErrorKind::Busy`](annals_core::StoreErrorKind::Busy)).
pub(crate) async fn lock_log(session: &mut Session<'_>, doing: &str) -> Result<(), StoreError> {
    session
        .sql
        .query(sql::LOCK_LOG)
        .execute(&mut *session.conn)
        .await
        .map(drop)
        .map_err(failed(doing))
}
