//! A SQL projection that follows the log.

use std::{collections::HashSet, fmt, ops::Range};

use annals_core::{
    CommitError, FoldError, Page, Projector, RebuildError, Step, StoreError, StoreErrorKind,
    StreamName, SwapRequest, Swapped, Target, waiting::Waiting,
};
use async_trait::async_trait;
use sqlx::SqliteConnection;

use super::{SqlProjection, fold, fold::SqlFold};
use crate::{
    SqliteStore,
    error::failed,
    projections::{commit, record, tables},
};

/// So many events make the engine commit, since the statements hold up every append.
const EVENTS_PER_COMMIT: usize = 500;

/// Collects events, and applies them in the transaction that moves the checkpoint.
///
/// An event that can't be read fails in `fold`; one whose statements fail can do so only in
/// `commit` ([`CommitError::Fold`]).
pub(super) struct LiveProjector<P: SqlProjection> {
    store: SqliteStore,
    fold: SqlFold<P>,
    waiting: Waiting<P::Event>,
}

impl<P: SqlProjection> LiveProjector<P> {
    pub(super) async fn open(store: SqliteStore, fold: SqlFold<P>) -> Result<Self, StoreError> {
        make_tables::<P>(&store).await?;
        Ok(Self {
            store,
            fold,
            waiting: Waiting::default(),
        })
    }
}

#[async_trait]
impl<P: SqlProjection> Projector for LiveProjector<P> {
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
        if events >= EVENTS_PER_COMMIT {
            usize::MAX
        } else {
            events
        }
    }

    async fn commit(&mut self, step: Step) -> Result<(), CommitError> {
        let waiting = std::mem::take(&mut self.waiting);
        self.store
            .transaction("commit a SQL projection", move |conn| {
                Box::pin(async move {
                    commit::advance(conn, P::NAME, Target::Live, &step).await?;
                    for event in waiting.events() {
                        fold::apply::<P>(event, conn).await?;
                    }
                    Ok(())
                })
            })
            .await
    }

    async fn reset(&mut self) {
        self.waiting.clear();
    }

    async fn swap(&mut self, _: SwapRequest) -> Result<Swapped, RebuildError> {
        let doing = format!("swap the live tables of `{}`", self.fold.spec.name);
        let error = StoreError::new(StoreErrorKind::Invalid, doing);
        Err(error
            .caused_by("only what a rebuild filled is swapped in")
            .into())
    }
}

/// Makes the projection's tables when it runs for the first time.
pub(super) async fn make_tables<P: SqlProjection>(store: &SqliteStore) -> Result<(), StoreError> {
    store
        .transaction("create the tables of a SQL projection", |conn| {
            Box::pin(async move {
                let stored = record::one(conn, P::NAME).await?;
                if stored.is_some_and(|stored| stored.read_model.is_some()) {
                    return Ok(());
                }
                for table in P::TABLES {
                    tables::must_be_free(conn, P::NAME, table).await?;
                }
                run_schema::<P>(conn).await?;
                sqlx::query(include_str!("../../../sql/projections/own_tables.sql"))
                    .bind(P::NAME)
                    .bind(P::TABLES.join(", "))
                    .execute(conn)
                    .await
                    .map_err(failed("note the tables of a SQL projection"))?;
                Ok(())
            })
        })
        .await
}

/// Runs the projection's schema and checks that it makes what it says.
pub(super) async fn run_schema<P: SqlProjection>(
    conn: &mut SqliteConnection,
) -> Result<(), StoreError> {
    let doing = || format!("create the tables of projection `{}`", P::NAME);
    sqlx::raw_sql(P::SCHEMA)
        .execute(&mut *conn)
        .await
        .map_err(failed(doing()))?;
    for table in P::TABLES {
        if !tables::exists(conn, table).await? {
            let problem = format!("its SCHEMA makes no table `{table}`, which TABLES names");
            return Err(StoreError::new(StoreErrorKind::Invalid, doing()).caused_by(problem));
        }
    }
    Ok(())
}

impl<P: SqlProjection> fmt::Debug for LiveProjector<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveProjector")
            .field("fold", &self.fold)
            .field("waiting", &self.waiting)
            .finish_non_exhaustive()
    }
}
