//! A SQL projection that follows the log.

use std::{collections::HashSet, fmt, ops::Range, sync::Arc};

use annals_core::{
    CommitError, Decoded, EventSet, FoldError, Page, Projector, RebuildError, Step, StoreError,
    StoreErrorKind, StreamName, SwapRequest, Swapped, Target, projector::relevant,
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

/// The events of a page that are to be applied.
struct Waiting<E> {
    decoded: Arc<[Decoded<E>]>,
    indexes: Vec<usize>,
}

/// Collects events, and applies them in the transaction that moves the checkpoint.
///
/// An event that can't be read fails in `fold`; one whose statements fail can do so only in
/// `commit` ([`CommitError::Fold`]).
pub(super) struct LiveProjector<P: SqlProjection> {
    store: SqliteStore,
    fold: SqlFold<P>,
    waiting: Vec<Waiting<P::Event>>,
}

impl<P: SqlProjection> LiveProjector<P> {
    pub(super) async fn open(store: SqliteStore, fold: SqlFold<P>) -> Result<Self, StoreError> {
        make_tables::<P>(&store).await?;
        Ok(Self {
            store,
            fold,
            waiting: Vec::new(),
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
        let decoded = page.decode::<P::Event>();
        let mut indexes = Vec::new();
        let both = page.events().iter().zip(decoded.iter()).enumerate();
        for (index, (stored, decoded)) in both.take(events.end).skip(events.start) {
            if parked.contains(&stored.stream) {
                continue;
            }
            if relevant(P::NAME, stored, decoded, P::UNKNOWN)?.is_some() {
                indexes.push(index);
            }
        }
        self.waiting.push(Waiting { decoded, indexes });
        Ok(())
    }

    fn pending(&self) -> usize {
        let events: usize = self.waiting.iter().map(|page| page.indexes.len()).sum();
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
                    apply_all::<P>(&waiting, conn).await?;
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

async fn apply_all<P: SqlProjection>(
    waiting: &[Waiting<P::Event>],
    conn: &mut SqliteConnection,
) -> Result<(), FoldError> {
    for page in waiting {
        for index in &page.indexes {
            if let Some(Decoded::Event(event)) = page.decoded.get(*index) {
                fold::apply::<P>(event, conn).await?;
            }
        }
    }
    Ok(())
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

impl<E: EventSet> fmt::Debug for Waiting<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Waiting").field(&self.indexes.len()).finish()
    }
}

impl<P: SqlProjection> fmt::Debug for LiveProjector<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveProjector")
            .field("fold", &self.fold)
            .field("waiting", &self.waiting)
            .finish_non_exhaustive()
    }
}
