//! A SQL projection that is rebuilt into a file of its own.

use std::{collections::HashSet, fmt, ops::Range, path::PathBuf, sync::Arc};

use annals_core::{
    CommitError, FoldError, Page, Projector, RebuildError, RebuildRecord, Step, StoreError,
    StoreErrorKind, StreamName, SwapRequest, Swapped, Target, projector::relevant,
};
use async_trait::async_trait;
use sqlx::SqliteConnection;

use super::{
    SqlProjection, fold,
    fold::SqlFold,
    live::run_schema,
    shadow::{self, Standing},
    swap,
};
use crate::{
    SqliteStore,
    error::failed,
    projections::{commit, parked, record},
};

/// How the store is called on a connection to the shadow file.
const STORE: &str = "annals_store";

/// Applies events to the shadow file's tables as they come, in a transaction that `commit` ends.
pub(super) struct RebuildProjector<P: SqlProjection> {
    store: SqliteStore,
    fold: SqlFold<P>,
    path: PathBuf,
    conn: SqliteConnection,
    /// How many events were applied in the open transaction; `None` when none is open.
    applied: Option<usize>,
}

impl<P: SqlProjection> RebuildProjector<P> {
    /// Opens the file for the rebuild that holds the lease.
    ///
    /// When a crash left the file and the rebuild's record apart, the record is put right and
    /// the answer is a transient error: whoever asked reads the record again.
    pub(super) async fn open(store: SqliteStore, fold: SqlFold<P>) -> Result<Self, StoreError> {
        let rebuild = current::<P>(&store).await?;
        let path = shadow::path_of(&shadow::file_of(&store), P::NAME);
        let mut conn = shadow::connect(&store, &path).await?;
        let mut standing = shadow::standing(&mut conn).await?;
        if !standing
            .as_ref()
            .is_some_and(|file| goes_on(file, &rebuild, &fold))
        {
            drop(conn);
            shadow::remove(&path)?;
            conn = shadow::connect(&store, &path).await?;
            begin_anew::<P>(&mut conn, &fold, &rebuild).await?;
            standing = shadow::standing(&mut conn).await?;
        }
        if !shadow::take(&mut conn, rebuild.epoch).await? {
            return Err(taken_over());
        }
        if let Some(file) = standing
            && file.checkpoint != rebuild.checkpoint
        {
            let parked = shadow::parked(&mut conn).await?;
            return Err(settle::<P>(&store, rebuild.epoch, file, parked).await?);
        }
        shadow::attach(
            &mut conn,
            &shadow::read_only(&shadow::file_of(&store))?,
            STORE,
        )
        .await?;
        Ok(Self {
            store,
            fold,
            path,
            conn,
            applied: None,
        })
    }

    async fn begin(&mut self) -> Result<(), StoreError> {
        if self.applied.is_none() {
            // Deferred: an immediate one would lock the store as well.
            shadow::control(&mut self.conn, "BEGIN").await?;
            self.applied = Some(0);
        }
        Ok(())
    }

    async fn commit_file(&mut self, step: &Step) -> Result<(), CommitError> {
        self.begin().await?;
        if !shadow::advance(&mut self.conn, step).await? {
            return Err(CommitError::Fenced {
                projection: P::NAME.to_owned(),
            });
        }
        shadow::control(&mut self.conn, "COMMIT").await?;
        self.applied = None;
        Ok(())
    }
}

#[async_trait]
impl<P: SqlProjection> Projector for RebuildProjector<P> {
    fn decoder(&self) -> fn(&Page) {
        |page| drop(page.decode::<P::Event>())
    }

    async fn fold(
        &mut self,
        page: &Page,
        events: Range<usize>,
        parked: &HashSet<StreamName>,
    ) -> Result<(), FoldError> {
        self.begin().await?;
        let decoded = page.decode::<P::Event>();
        let both = page.events().iter().zip(decoded.iter());
        for (stored, decoded) in both.take(events.end).skip(events.start) {
            if parked.contains(&stored.stream) {
                continue;
            }
            if let Some(event) = relevant(P::NAME, stored, decoded, P::UNKNOWN)? {
                fold::apply::<P>(event, &mut self.conn).await?;
                self.applied = self.applied.map(|applied| applied + 1);
            }
        }
        Ok(())
    }

    fn pending(&self) -> usize {
        self.applied.unwrap_or_default()
    }

    async fn commit(&mut self, step: Step) -> Result<(), CommitError> {
        self.commit_file(&step).await?;
        self.store
            .transaction("commit a rebuild", move |conn| {
                Box::pin(
                    async move { commit::advance(conn, P::NAME, Target::Rebuild, &step).await },
                )
            })
            .await
    }

    async fn reset(&mut self) {
        if self.applied.take().is_some()
            && let Err(error) = shadow::control(&mut self.conn, "ROLLBACK").await
        {
            // A statement that failed badly has rolled back already; if anything is left open,
            // the fence of the file refuses the next commit.
            tracing::debug!(projection = P::NAME, %error, "nothing to roll back in a rebuild");
        }
    }

    async fn swap(&mut self, request: SwapRequest) -> Result<Swapped, RebuildError> {
        self.reset().await;
        let fold = Arc::new(SqlFold::<P>::new(Arc::clone(&self.fold.spec)));
        swap::swap::<P>(&self.store, &self.path, &request, fold).await
    }
}

/// The rebuild that is under way.
async fn current<P: SqlProjection>(store: &SqliteStore) -> Result<RebuildRecord, StoreError> {
    let mut conn = store.reader().await?;
    let stored = record::one(&mut conn, P::NAME).await?;
    stored
        .and_then(|stored| stored.record.rebuild)
        .ok_or_else(taken_over)
}

fn taken_over() -> StoreError {
    StoreError::new(StoreErrorKind::Invalid, "open the file of a rebuild")
        .caused_by("the rebuild has ended or was taken over by somebody else")
}

/// Whether a file that is there belongs to this rebuild. It may be one that was left behind by
/// another, which a crash kept from removing it, or which a restored backup knows nothing of.
fn goes_on<P: SqlProjection>(file: &Standing, rebuild: &RebuildRecord, fold: &SqlFold<P>) -> bool {
    // A clock that stands still gives several rebuilds the same beginning, but no epoch comes twice.
    let same_rebuild = rebuild.resumed || file.epoch >= rebuild.epoch;
    same_rebuild
        && file.started_at == rebuild.started_at
        && file.fingerprint == fold.spec.fingerprint
}

async fn begin_anew<P: SqlProjection>(
    conn: &mut SqliteConnection,
    fold: &SqlFold<P>,
    rebuild: &RebuildRecord,
) -> Result<(), StoreError> {
    shadow::control(conn, "BEGIN IMMEDIATE").await?;
    shadow::initialise(conn, &fold.spec.fingerprint, rebuild).await?;
    run_schema::<P>(conn).await?;
    shadow::control(conn, "COMMIT").await
}

/// Puts the rebuild's record right, and answers the error that makes its owner read it again.
async fn settle<P: SqlProjection>(
    store: &SqliteStore,
    epoch: u64,
    file: Standing,
    aside: Vec<annals_core::ParkedEvent>,
) -> Result<StoreError, StoreError> {
    store
        .transaction("put a rebuild's record right", move |conn| {
            Box::pin(async move {
                let settled =
                    sqlx::query(include_str!("../../../sql/projections/settle_rebuild.sql"))
                        .bind(P::NAME)
                        .bind(record::number(epoch))
                        .bind(record::number(file.checkpoint.position.get()))
                        .bind(file.checkpoint.event_id.map(|id| id.to_string()))
                        .execute(&mut *conn)
                        .await
                        .map_err(failed("put a rebuild's record right"))?;
                if settled.rows_affected() == 0 {
                    return Err(taken_over());
                }
                parked::clear(conn, P::NAME, Target::Rebuild).await?;
                for event in &aside {
                    parked::put_aside(conn, P::NAME, Target::Rebuild, event).await?;
                }
                Ok(())
            })
        })
        .await?;
    let problem = "the rebuild's record and its file had drifted apart; the record was put right";
    let error = StoreError::new(StoreErrorKind::Unavailable, "open the file of a rebuild");
    Ok(error.caused_by(problem))
}

impl<P: SqlProjection> fmt::Debug for RebuildProjector<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RebuildProjector")
            .field("fold", &self.fold)
            .field("path", &self.path)
            .field("applied", &self.applied)
            .finish_non_exhaustive()
    }
}
