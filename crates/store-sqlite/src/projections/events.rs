//! What projections read of the log within a transaction.

use annals_core::{Position, StoreError, StoredEvent};
use sqlx::SqliteConnection;

use crate::log;

/// How many events are read and folded at once, which bounds the memory they take.
const PAGE: usize = 500;

/// The last event's position.
pub(crate) async fn head(conn: &mut SqliteConnection) -> Result<Position, StoreError> {
    log::head(conn).await
}

/// The next events after a position, none beyond `last`.
pub(crate) async fn between(
    conn: &mut SqliteConnection,
    after: Position,
    last: Position,
) -> Result<Vec<StoredEvent>, StoreError> {
    let missing = last.get().saturating_sub(after.get());
    let limit = usize::try_from(missing).unwrap_or(PAGE).min(PAGE);
    log::after(conn, after, limit).await
}
