//! Read-model projections: typed rows, folded in memory, written in bulk.

use std::{collections::HashSet, fmt, marker::PhantomData, ops::Range, sync::Arc};

use annals_core::{
    ColumnType, Commit, CommitError, FailurePolicy, FoldError, InlineProjection, Page, Projection,
    ProjectionSpec, Projector, ProjectorFactory, RebuildError, RowAccess, RowError, Step, Store,
    StoreError, StoreErrorKind, StoredEvent, StreamName, SwapRequest, Swapped, TableSpec, Target,
};
use async_trait::async_trait;

use super::rows::RowCache;

/// How many keys a store is asked for at a time.
const KEYS_PER_READ: usize = 1_000;

/// How many rows stay in memory from one commit to the next.
const CACHED_ROWS: usize = 100_000;

/// Makes a [`Projection`] run on any store.
///
/// The projection is called like its table.
pub struct ReadModelFactory<P> {
    projection: Arc<ReadModelProjection<P>>,
}

struct ReadModelProjection<P> {
    spec: ProjectionSpec,
    rows: PhantomData<fn() -> P>,
}

impl<P: Projection> ReadModelFactory<P> {
    /// The projection, following the log on its own.
    #[must_use]
    pub fn following() -> Self {
        Self::with(false)
    }

    /// The projection, committed in each append's own transaction.
    #[must_use]
    pub fn inline() -> Self {
        Self::with(true)
    }

    fn with(inline: bool) -> Self {
        let spec = ProjectionSpec {
            name: P::TABLE.name.to_owned(),
            fingerprint: fingerprint(P::VERSION, &P::TABLE),
            table: Some(P::TABLE),
            inline,
        };
        let rows = PhantomData;
        Self {
            projection: Arc::new(ReadModelProjection { spec, rows }),
        }
    }
}

impl<P> fmt::Debug for ReadModelFactory<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.projection.fmt(f)
    }
}

impl<P> fmt::Debug for ReadModelProjection<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReadModel").field(&self.spec).finish()
    }
}

/// A text that changes when rows of an earlier build can't be folded on: it stands in the store,
/// so its form must stay.
fn fingerprint(version: u32, table: &TableSpec) -> String {
    let mut text = format!("{version} {}", table.name);
    for column in table.columns {
        let column_type = match column.column_type {
            ColumnType::Integer => "integer",
            ColumnType::Real => "real",
            ColumnType::Text => "text",
            ColumnType::Blob => "blob",
        };
        let key = if column.key { " key" } else { "" };
        let nullable = if column.nullable { " nullable" } else { "" };
        text.push_str(&format!(", {} {column_type}{key}{nullable}", column.name));
    }
    text
}

#[async_trait]
impl<P: Projection> ProjectorFactory for ReadModelFactory<P> {
    fn spec(&self) -> &ProjectionSpec {
        &self.projection.spec
    }

    fn on_failure(&self) -> FailurePolicy {
        P::ON_FAILURE
    }

    async fn open(
        &self,
        store: &Arc<dyn Store>,
        target: Target,
    ) -> Result<Box<dyn Projector>, StoreError> {
        Ok(Box::new(ReadModelProjector {
            store: Arc::clone(store),
            projection: Arc::clone(&self.projection),
            target,
            cache: RowCache::new(&self.projection.spec.name),
            coverage: Coverage::Unknown,
        }))
    }

    async fn install_inline(&self, store: &Arc<dyn Store>) -> Result<(), FoldError> {
        let projection: Arc<ReadModelProjection<P>> = Arc::clone(&self.projection);
        store.install_inline(projection).await
    }
}

/// One table of a read model, being folded.
struct ReadModelProjector<P: Projection> {
    store: Arc<dyn Store>,
    projection: Arc<ReadModelProjection<P>>,
    target: Target,
    cache: RowCache<P>,
    coverage: Coverage,
}

/// How much of the table is in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coverage {
    /// Nothing is known yet.
    Unknown,
    /// All of it: a key that is not in memory has no row. The fence keeps this true, since a
    /// commit fails once somebody else has written.
    Whole,
    /// Some of it.
    Part,
}

impl<P: Projection> ReadModelProjector<P> {
    /// Brings the rows of new keys into memory.
    async fn load(&mut self) -> Result<(), StoreError> {
        let keys = self.cache.unfilled();
        if keys.is_empty() {
            return Ok(());
        }
        if self.coverage == Coverage::Unknown {
            let any = self.store.scan_rows(&P::TABLE, self.target, None, 1);
            self.coverage = match any.await?.is_empty() {
                true => Coverage::Whole,
                false => Coverage::Part,
            };
        }
        let mut rows = Vec::new();
        if self.coverage == Coverage::Part {
            for keys in keys.chunks(KEYS_PER_READ) {
                rows.extend(self.store.rows(&P::TABLE, self.target, keys).await?);
            }
        }
        self.cache
            .fill(rows)
            .map_err(|error| misfit(&P::TABLE, error))
    }
}

fn misfit(table: &TableSpec, error: RowError) -> StoreError {
    let doing = format!("read a row of the read model `{}`", table.name);
    StoreError::new(StoreErrorKind::Corrupt, doing).caused_by(error)
}

#[async_trait]
impl<P: Projection> Projector for ReadModelProjector<P> {
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
        let touched = self.cache.touch(page.events(), &decoded, events, parked);
        self.load().await?;
        self.cache.fold(&decoded)?;
        touched
    }

    fn pending(&self) -> usize {
        self.cache.pending()
    }

    async fn commit(&mut self, step: Step) -> Result<(), CommitError> {
        let changes = self.cache.changes();
        let unchanged = changes.upserts.is_empty() && changes.deletes.is_empty();
        let commit = Commit {
            projection: self.projection.spec.name.clone(),
            target: self.target,
            fence: step.fence,
            rows: (!unchanged).then_some((P::TABLE, changes)),
            checkpoint: step.checkpoint,
            park: step.park,
            unpark: step.unpark,
            now: step.now,
        };
        self.store.commit(commit).await?;
        self.cache.committed();
        if self.cache.len() > CACHED_ROWS {
            self.cache.clear();
            self.coverage = Coverage::Part;
        }
        Ok(())
    }

    async fn reset(&mut self) {
        self.cache.clear();
        self.coverage = Coverage::Unknown;
    }

    async fn swap(&mut self, request: SwapRequest) -> Result<Swapped, RebuildError> {
        let projection: Arc<ReadModelProjection<P>> = Arc::clone(&self.projection);
        self.store.swap(request, projection).await
    }
}

impl<P: Projection> fmt::Debug for ReadModelProjector<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadModelProjector")
            .field("projection", &self.projection.spec.name)
            .field("target", &self.target)
            .field("rows", &self.cache.len())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl<P: Projection> InlineProjection for ReadModelProjection<P> {
    fn spec(&self) -> &ProjectionSpec {
        &self.spec
    }

    async fn fold(
        &self,
        events: &[StoredEvent],
        rows: &mut dyn RowAccess,
    ) -> Result<(), FoldError> {
        let page = Page::new(events.to_vec());
        let decoded = page.decode::<P::Event>();
        let mut cache = RowCache::<P>::new(&self.spec.name);
        let all = 0..events.len();
        let touched = cache.touch(page.events(), &decoded, all, &HashSet::new());

        let mut loaded = Vec::new();
        for keys in cache.unfilled().chunks(KEYS_PER_READ) {
            loaded.extend(rows.load(keys).await?);
        }
        cache
            .fill(loaded)
            .map_err(|error| misfit(&P::TABLE, error))?;
        cache.fold(&decoded)?;
        touched?;
        if cache.pending() > 0 {
            rows.write(cache.changes()).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use annals_core::Column;

    use super::*;

    #[test]
    fn the_fingerprint_names_version_table_and_columns() {
        const TABLE: TableSpec = TableSpec {
            name: "user_balance",
            columns: &[
                Column {
                    name: "owner",
                    column_type: ColumnType::Text,
                    nullable: false,
                    key: true,
                },
                Column {
                    name: "note",
                    column_type: ColumnType::Blob,
                    nullable: true,
                    key: false,
                },
            ],
        };
        assert_eq!(
            fingerprint(3, &TABLE),
            "3 user_balance, owner text key, note blob nullable"
        );
    }
}
