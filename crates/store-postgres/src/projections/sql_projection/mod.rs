//! SQL projections: the user's own statements, in one transaction with the checkpoint.

mod fold;
mod path;
mod projector;
mod shadow;
mod swap;
mod verify;

use std::{fmt, future::Future, marker::PhantomData, sync::Arc};

use annals_core::{
    EventSet, FailurePolicy, FoldError, ProjectionError, ProjectionSpec, Projector,
    ProjectorFactory, Recorded, Store, StoreError, Target, UnknownEvents, projector::store_as,
};
use async_trait::async_trait;
use sqlx::PgConnection;

use self::{fold::SqlFold, projector::SqlProjector};
use super::inline;
use crate::PostgresStore;

pub(crate) use shadow::remove as remove_shadow;

/// A projection that is written in SQL, for what rows by key can't express.
///
/// [`apply`](Self::apply) runs the application's own sqlx statements. They commit in one
/// transaction with the checkpoint, so each event counts once.
///
/// ```
/// use annals_core::{Event, ProjectionError, ProjectorFactory, Recorded};
/// use annals_postgres::{SqlProjection, sql_projection};
/// use serde::{Deserialize, Serialize};
/// use sqlx::PgConnection;
///
/// # #[derive(Event, Serialize, Deserialize, Clone, Debug, PartialEq)]
/// # #[event(crate = annals_core, category = "account")]
/// # enum AccountEvent { Deposited { amount: i64 } }
/// struct Turnover;
///
/// impl SqlProjection for Turnover {
///     type Event = AccountEvent;
///     const NAME: &'static str = "turnover";
///     const TABLES: &'static [&'static str] = &["turnover"];
///     const SCHEMA: &'static str =
///         "CREATE TABLE turnover (day date PRIMARY KEY, amount bigint NOT NULL)";
///
///     async fn apply(
///         event: &Recorded<AccountEvent>,
///         db: &mut PgConnection,
///     ) -> Result<(), ProjectionError> {
///         let AccountEvent::Deposited { amount } = &event.event;
///         sqlx::query(
///             "INSERT INTO turnover VALUES ($1::date, $2)
///              ON CONFLICT (day) DO UPDATE SET amount = turnover.amount + excluded.amount",
///         )
///         .bind(event.recorded_at.date_naive().to_string())
///         .bind(amount)
///         .execute(db)
///         .await?;
///         Ok(())
///     }
/// }
///
/// assert_eq!(sql_projection::<Turnover>().spec().name, "turnover");
/// ```
///
/// # How it is rebuilt
///
/// The statements run with the store's schema in front of the role's own search path. A rebuild
/// puts one more schema before it, `<schema>_rebuild_<name>`, that holds the projection's new
/// tables only. PostgreSQL looks for an unqualified name along the path, so the statements find
/// the new tables where they found the old ones, and everything else where it always is. The swap
/// moves the new tables into the store's schema in one transaction with the checkpoint, together
/// with their indexes, constraints and sequences, and with what people have put on the old ones:
/// indexes, triggers, grants, comments, and the views that read them. So:
///
/// - name tables without a schema in front (`INSERT INTO totals`, not `annals.totals`), and do not
///   change the `search_path`;
/// - write only to [`TABLES`](Self::TABLES): a rebuild runs every statement once more, and what it
///   does to other tables is done twice;
/// - read only tables that the projection fills, or that never change: a rebuild sees the others
///   as they are at the time of the rebuild, not as they were at the time of the event;
/// - [`SCHEMA`](Self::SCHEMA) makes tables, their indexes and sequences; types, functions and
///   views belong into the application's own migrations;
/// - numbers from a sequence may have gaps and differ after a rebuild; `--verify` does not
///   compare them;
/// - leave transactions alone: no `COMMIT` or `ROLLBACK`. Savepoints, such as sqlx's `begin` on the
///   connection, are fine, and are needed to go on after a statement that failed;
/// - for a rebuild the store's role must be allowed to make schemas (`GRANT CREATE ON DATABASE`).
pub trait SqlProjection: Send + Sync + 'static {
    /// The events it takes in.
    type Event: EventSet;

    /// Its name, by which operators call it.
    const NAME: &'static str;

    /// Raise it when `apply` changes its meaning: the tables then count as outdated until the
    /// projection is rebuilt. A changed [`SCHEMA`](Self::SCHEMA) has the same effect.
    const VERSION: u32 = 1;

    /// The tables that it fills.
    const TABLES: &'static [&'static str];

    /// The statements that make these tables and their indexes, with unqualified names.
    const SCHEMA: &'static str;

    /// What happens with an event of a known category whose type [`Self::Event`] does not have.
    const UNKNOWN: UnknownEvents = UnknownEvents::Fail;

    /// What happens when an event can't be applied.
    const ON_FAILURE: FailurePolicy = FailurePolicy::Stop;

    /// Takes an event into the tables.
    ///
    /// # Errors
    /// When the event can't be applied; what follows is up to [`Self::ON_FAILURE`].
    fn apply(
        event: &Recorded<Self::Event>,
        db: &mut PgConnection,
    ) -> impl Future<Output = Result<(), ProjectionError>> + Send;
}

/// Makes a [`SqlProjection`] run, following the log on its own.
pub fn sql_projection<P: SqlProjection>() -> impl ProjectorFactory {
    SqlProjectionFactory::<P>::new(false)
}

/// Makes a [`SqlProjection`] run in each append's own transaction: its tables never lag, and an
/// event that it can't apply is refused.
pub fn inline_sql_projection<P: SqlProjection>() -> impl ProjectorFactory {
    SqlProjectionFactory::<P>::new(true)
}

struct SqlProjectionFactory<P> {
    spec: Arc<ProjectionSpec>,
    projection: PhantomData<fn() -> P>,
}

impl<P: SqlProjection> SqlProjectionFactory<P> {
    fn new(inline: bool) -> Self {
        let spec = ProjectionSpec {
            name: P::NAME.to_owned(),
            fingerprint: format!("{} {}", P::VERSION, P::SCHEMA),
            table: None,
            inline,
        };
        Self {
            spec: Arc::new(spec),
            projection: PhantomData,
        }
    }

    fn fold(&self) -> SqlFold<P> {
        SqlFold::new(Arc::clone(&self.spec))
    }

    fn store<'a>(&self, store: &'a Arc<dyn Store>) -> Result<&'a PostgresStore, StoreError> {
        let what = format!("projection `{}`", P::NAME);
        store_as(store.as_ref(), &what, "PostgreSQL")
    }
}

#[async_trait]
impl<P: SqlProjection> ProjectorFactory for SqlProjectionFactory<P> {
    fn spec(&self) -> &ProjectionSpec {
        &self.spec
    }

    fn on_failure(&self) -> FailurePolicy {
        P::ON_FAILURE
    }

    async fn open(
        &self,
        store: &Arc<dyn Store>,
        target: Target,
    ) -> Result<Box<dyn Projector>, StoreError> {
        let store = self.store(store)?.clone();
        match target {
            Target::Live => shadow::make_tables::<P>(&store).await?,
            Target::Rebuild => shadow::make_shadow::<P>(&store).await?,
        }
        Ok(Box::new(SqlProjector::new(store, self.fold(), target)))
    }

    async fn install_inline(&self, store: &Arc<dyn Store>) -> Result<(), FoldError> {
        let store = self.store(store)?;
        shadow::make_tables::<P>(store).await?;
        inline::install(store, Arc::new(self.fold())).await
    }
}

impl<P> fmt::Debug for SqlProjectionFactory<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SqlProjection").field(&self.spec).finish()
    }
}
