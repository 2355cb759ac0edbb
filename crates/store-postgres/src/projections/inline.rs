//! Folds inline projections within the append's own transaction.

use std::{fmt, sync::Arc};

use annals_core::{FoldError, Position, ProjectionSpec, StoredEvent, Target};
use async_trait::async_trait;

use crate::transaction::Session;

/// Folds events in a transaction of this store, whatever kind of projection it is.
#[async_trait]
pub(crate) trait Fold: fmt::Debug + Send + Sync + 'static {
    /// What the projection is.
    fn spec(&self) -> &ProjectionSpec;

    /// Folds these events, in order, into one of the projection's tables.
    async fn fold(
        &self,
        events: &[StoredEvent],
        target: Target,
        session: &mut Session<'_>,
    ) -> Result<(), FoldError>;
}

/// A projection that is part of every append.
pub(crate) type Installed = Arc<dyn Fold>;

/// Folds a batch's events into every installed inline projection, before the batch commits.
///
/// `from` is the position before the first event. After an error the caller undoes the batch.
///
/// # Errors
/// When a projection refuses an event, or the store fails.
pub(crate) async fn fold_inline(
    session: &mut Session<'_>,
    installed: &[Installed],
    from: Position,
    events: &[StoredEvent],
) -> Result<(), FoldError> {
    let _ = from;
    for projection in installed {
        projection.fold(events, Target::Live, session).await?;
    }
    Ok(())
}
