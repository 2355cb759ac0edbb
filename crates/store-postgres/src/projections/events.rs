//! What projections read of the log within a transaction.

use annals_core::{Position, StoreError, StoredEvent};

use crate::{log, transaction::Session};

/// How many events are read and folded at once, which bounds the memory they take.
pub(crate) const PAGE: usize = 500;

/// The last event's position.
pub(crate) async fn head(session: &mut Session<'_>) -> Result<Position, StoreError> {
    log::head(session).await
}

/// The next events after a position, none beyond `last`.
pub(crate) async fn between(
    session: &mut Session<'_>,
    after: Position,
    last: Position,
) -> Result<Vec<StoredEvent>, StoreError> {
    let missing = last.get().saturating_sub(after.get());
    let limit = usize::try_from(missing).unwrap_or(PAGE).min(PAGE);
    log::after(session, after, limit).await
}
