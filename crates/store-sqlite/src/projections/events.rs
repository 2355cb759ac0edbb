//! What projections read of the log within a transaction.

use annals_core::{EventId, Position, StoreError, StoreErrorKind, StoredEvent};
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::record;
use crate::{error::failed, log, sql};

/// How many events are read and folded at once, which bounds the memory they take.
pub(crate) const PAGE: usize = 500;

/// The last event's position.
pub(crate) async fn head(conn: &mut SqliteConnection) -> Result<Position, StoreError> {
    log::head(conn).await
}

/// The id of the event at a position, if there is one.
pub(crate) async fn id_at(
    conn: &mut SqliteConnection,
    position: Position,
) -> Result<Option<EventId>, StoreError> {
    const DOING: &str = "read the event at a checkpoint";
    let id: Option<Vec<u8>> = sqlx::query_scalar(sql::EVENT_ID)
        .bind(record::number(position.get()))
        .fetch_optional(conn)
        .await
        .map_err(failed(DOING))?;
    let id = id.map(|id| Uuid::from_slice(&id)).transpose();
    let id =
        id.map_err(|error| StoreError::new(StoreErrorKind::Corrupt, DOING).caused_by(error))?;
    Ok(id.map(EventId::new))
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
