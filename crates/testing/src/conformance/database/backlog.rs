//! What an inline projection has missed.

use std::sync::{Arc, Mutex, PoisonError};

use annals_core::{
    FoldError, InlineProjection, Position, ProjectionSpec, ProjectionState, RowAccess, Store,
    StoredEvent,
};
use async_trait::async_trait;

use super::{Bank, Database};
use crate::conformance::{
    sample::{any, now, position},
    table::record,
    tally::Tally,
};

/// A tally that looks from elsewhere, each time it folds, up to where it is committed.
#[derive(Debug)]
struct Watched {
    tally: Tally,
    elsewhere: Arc<dyn Store>,
    seen: Mutex<Vec<Position>>,
}

#[async_trait]
impl InlineProjection for Watched {
    fn spec(&self) -> &ProjectionSpec {
        self.tally.spec()
    }

    async fn fold(
        &self,
        events: &[StoredEvent],
        rows: &mut dyn RowAccess,
    ) -> Result<(), FoldError> {
        let committed = record(&*self.elsewhere, "counts").await.checkpoint.position;
        let seen = self.seen.lock();
        seen.unwrap_or_else(PoisonError::into_inner).push(committed);
        self.tally.fold(events, rows).await
    }
}

/// While it is folded in one piece, nobody else can append.
pub async fn a_long_backlog_is_folded_in_pieces_before_the_next_append<D: Database>(bank: Bank<D>) {
    let store = &*bank.store;
    let watched = Arc::new(Watched {
        tally: Tally::inline(),
        elsewhere: bank.database.open().await,
        seen: Mutex::default(),
    });
    store.register(watched.spec(), now()).await.unwrap();
    let projection = Arc::clone(&watched);
    store.install_inline(projection).await.unwrap();
    let set = |state| store.set_state("counts", state, now());
    set(ProjectionState::Paused).await.unwrap();
    store.append(any("thing-1", 2_600)).await.unwrap();
    set(ProjectionState::Running).await.unwrap();

    store.append(any("thing-2", 1)).await.unwrap();
    let checkpoint = record(store, "counts").await.checkpoint;
    assert_eq!(checkpoint.position, position(2_601));
    let seen = watched.seen.lock();
    let seen = seen.unwrap_or_else(PoisonError::into_inner);
    let between = |at: &&Position| (position(1)..position(2_600)).contains(*at);
    assert!(
        seen.iter().filter(between).count() > 1,
        "committed in one piece: {seen:?}"
    );
}
