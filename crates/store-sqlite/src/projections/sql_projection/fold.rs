//! Running a SQL projection's statements for events.

use std::{fmt, marker::PhantomData, sync::Arc};

use annals_core::{
    FoldError, Page, ProjectionError, ProjectionSpec, Recorded, StoreError, StoreErrorKind,
    StoredEvent, Target, projector::relevant,
};
use async_trait::async_trait;
use sqlx::SqliteConnection;

use super::SqlProjection;
use crate::{error::kind_of, projections::inline::Fold};

/// Runs a SQL projection's statements, whichever tables they meet.
pub(super) struct SqlFold<P> {
    pub(super) spec: Arc<ProjectionSpec>,
    projection: PhantomData<fn() -> P>,
}

impl<P: SqlProjection> SqlFold<P> {
    pub(super) fn new(spec: Arc<ProjectionSpec>) -> Self {
        Self {
            spec,
            projection: PhantomData,
        }
    }
}

impl<P> fmt::Debug for SqlFold<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SqlFold").field(&self.spec).finish()
    }
}

#[async_trait]
impl<P: SqlProjection> Fold for SqlFold<P> {
    fn spec(&self) -> &ProjectionSpec {
        &self.spec
    }

    async fn fold(
        &self,
        events: &[StoredEvent],
        _: Target,
        conn: &mut SqliteConnection,
    ) -> Result<(), FoldError> {
        let page = Page::new(events.to_vec());
        let decoded = page.decode::<P::Event>();
        for (stored, decoded) in events.iter().zip(decoded.iter()) {
            if let Some(event) = relevant(P::NAME, stored, decoded, P::UNKNOWN)? {
                apply::<P>(event, conn).await?;
            }
        }
        Ok(())
    }
}

/// Applies one event; an error names it.
pub(super) async fn apply<P: SqlProjection>(
    event: &Recorded<P::Event>,
    conn: &mut SqliteConnection,
) -> Result<(), FoldError> {
    let applied = P::apply(event, conn).await;
    applied.map_err(|error| match store_failure(&error) {
        Some(failure) => FoldError::Store(failure),
        None => FoldError::event(P::NAME, &event.header, error.message()),
    })
}

/// A failure that passes without anybody changing the event or the projection, such as a full
/// disk: it is the store's.
fn store_failure(error: &ProjectionError) -> Option<StoreError> {
    let kind = kind_of(error.downcast_ref::<sqlx::Error>()?);
    let failure = StoreError::new(kind, "apply an event to a SQL projection");
    // A rebuild can't write to other tables than its own, now or later.
    let passes = failure.is_transient() && kind != StoreErrorKind::ReadOnly;
    passes.then(|| failure.caused_by(error.message()))
}
