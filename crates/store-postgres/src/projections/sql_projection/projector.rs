//! A SQL projection that follows the log, or is rebuilt beside its live tables.

use std::{collections::HashSet, fmt, ops::Range, sync::Arc};

use annals_core::{
    CommitError, FoldError, Page, Projector, RebuildError, Step, StoreError, StoreErrorKind,
    StreamName, SwapRequest, Swapped, Target, waiting::Waiting,
};
use async_trait::async_trait;

use super::{SqlProjection, fold, fold::SqlFold, swap};
use crate::{PostgresStore, projections::commit};

/// Collects events, and applies them in the transaction that moves the checkpoint: between the
/// commits no connection is held.
///
/// An event that can't be read fails in `fold`; one whose statements fail can do so only in
/// `commit` ([`CommitError::Fold`]).
pub(super) struct SqlProjector<P: SqlProjection> {
    store: PostgresStore,
    fold: SqlFold<P>,
    target: Target,
    waiting: Waiting<P::Event>,
}

impl<P: SqlProjection> SqlProjector<P> {
    pub(super) fn new(store: PostgresStore, fold: SqlFold<P>, target: Target) -> Self {
        Self {
            store,
            fold,
            target,
            waiting: Waiting::default(),
        }
    }

    /// So many events make the engine commit: few while others wait for the live tables.
    fn enough(&self) -> usize {
        match self.target {
            Target::Live => 500,
            Target::Rebuild => 5_000,
        }
    }
}

#[async_trait]
impl<P: SqlProjection> Projector for SqlProjector<P> {
    fn decoder(&self) -> fn(&Page) {
        |page| drop(page.decode::<P::Event>())
    }

    async fn fold(
        &mut self,
        page: &Page,
        events: Range<usize>,
        parked: &HashSet<StreamName>,
    ) -> Result<(), FoldError> {
        let waiting = &mut self.waiting;
        waiting.take_in(P::NAME, P::UNKNOWN, page, events, parked)
    }

    fn pending(&self) -> usize {
        let events = self.waiting.len();
        if events >= self.enough() {
            usize::MAX
        } else {
            events
        }
    }

    async fn commit(&mut self, step: Step) -> Result<(), CommitError> {
        let input = (std::mem::take(&mut self.waiting), step);
        let target = self.target;
        self.store
            .transaction(
                "commit a SQL projection",
                input,
                move |session, (waiting, step)| {
                    Box::pin(async move {
                        commit::advance(session, P::NAME, target, step).await?;
                        fold::apply_all::<P>(session, target, waiting).await?;
                        Ok(())
                    })
                },
            )
            .await
    }

    async fn reset(&mut self) {
        self.waiting.clear();
    }

    async fn swap(&mut self, request: SwapRequest) -> Result<Swapped, RebuildError> {
        if self.target == Target::Live {
            let doing = format!("swap the live tables of `{}`", P::NAME);
            let error = StoreError::new(StoreErrorKind::Invalid, doing);
            return Err(error
                .caused_by("only what a rebuild filled is swapped in")
                .into());
        }
        self.reset().await;
        let fold = SqlFold::<P>::new(Arc::clone(&self.fold.spec));
        swap::swap::<P>(&self.store, request, Arc::new(fold)).await
    }
}

impl<P: SqlProjection> fmt::Debug for SqlProjector<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlProjector")
            .field("fold", &self.fold)
            .field("target", &self.target)
            .field("waiting", &self.waiting)
            .finish_non_exhaustive()
    }
}
