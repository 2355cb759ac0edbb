//! The tables of a SQL projection: the live ones, and those in the schema of a rebuild.

use annals_core::{RebuildRecord, StoreError, StoreErrorKind, Target};
use sqlx::Row as _;

use super::{SqlProjection, path};
use crate::{
    PostgresStore,
    error::failed,
    projections::{parked, record, statements::quoted, tables},
    transaction::Session,
};

/// The schema that holds a projection's tables while it is rebuilt.
pub(super) fn name(store: &str, projection: &str) -> String {
    format!("{store}_rebuild_{projection}")
}

/// The schema that holds the replaced tables for a moment.
pub(super) fn old_name(store: &str, projection: &str) -> String {
    format!("{store}_replaced_{projection}")
}

/// What the comment on a schema of ours says: nobody else's is dropped.
const OURS: &str = "made by Annals for the rebuild of a projection; goes with it";

/// Makes the projection's tables when it runs for the first time.
pub(super) async fn make_tables<P: SqlProjection>(store: &PostgresStore) -> Result<(), StoreError> {
    store
        .transaction(
            "create the tables of a SQL projection",
            (),
            |session, ()| {
                Box::pin(async move {
                    let stored = record::locked(session, P::NAME).await?;
                    if stored.is_some_and(|stored| stored.read_model.is_some()) {
                        return Ok(());
                    }
                    for table in P::TABLES {
                        tables::must_fit(P::NAME, table)?;
                        tables::must_be_free(session, P::NAME, table).await?;
                    }
                    run_schema::<P>(session, Target::Live).await?;
                    session
                        .sql
                        .query(include_str!("../../../sql/projections/own_tables.sql"))
                        .bind(P::NAME)
                        .bind(P::TABLES.join(", "))
                        .execute(&mut *session.conn)
                        .await
                        .map_err(failed("note the tables of a SQL projection"))?;
                    Ok(())
                })
            },
        )
        .await
}

/// Makes the tables that the rebuild under way fills, unless they are there.
///
/// When they were lost, the rebuild is set back to its beginning, and the answer is a transient
/// error: whoever asked reads the record again.
pub(super) async fn make_shadow<P: SqlProjection>(store: &PostgresStore) -> Result<(), StoreError> {
    const DOING: &str = "create the tables of a rebuild";
    let again = store
        .transaction(DOING, (), |session, ()| {
            Box::pin(async move {
                let rebuild = current::<P>(session).await?;
                let schema = name(session.sql.schema().name(), P::NAME);
                tables::must_fit(P::NAME, &schema)?;
                tables::must_fit(P::NAME, &old_name(session.sql.schema().name(), P::NAME))?;
                if all_there::<P>(session, &schema).await? {
                    return Ok(false);
                }
                remove(session, P::NAME).await?;
                make_schema(session, &schema).await?;
                run_schema::<P>(session, Target::Rebuild).await?;
                if rebuild.checkpoint.position == annals_core::Position::START {
                    return Ok(false);
                }
                begin_again::<P>(session, rebuild.epoch).await?;
                Ok(true)
            })
        })
        .await?;
    if again {
        let error = StoreError::new(StoreErrorKind::Unavailable, DOING);
        return Err(error.caused_by("they were lost; the rebuild begins again"));
    }
    Ok(())
}

/// The rebuild that is under way, as it is until the transaction ends.
async fn current<P: SqlProjection>(session: &mut Session<'_>) -> Result<RebuildRecord, StoreError> {
    let stored = record::locked(session, P::NAME).await?;
    stored
        .and_then(|stored| stored.record.rebuild)
        .ok_or_else(taken_over)
}

fn taken_over() -> StoreError {
    StoreError::new(StoreErrorKind::Invalid, "open the tables of a rebuild")
        .caused_by("the rebuild has ended or was taken over by somebody else")
}

async fn all_there<P: SqlProjection>(
    session: &mut Session<'_>,
    schema: &str,
) -> Result<bool, StoreError> {
    for table in P::TABLES {
        if !tables::exists(session, schema, table).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn begin_again<P: SqlProjection>(
    session: &mut Session<'_>,
    epoch: u64,
) -> Result<(), StoreError> {
    let reset = session
        .sql
        .query(include_str!("../../../sql/projections/reset_rebuild.sql"))
        .bind(P::NAME)
        .bind(record::number(epoch))
        .execute(&mut *session.conn)
        .await
        .map_err(failed("let a rebuild begin again"))?;
    if reset.rows_affected() == 0 {
        return Err(taken_over());
    }
    parked::clear(session, P::NAME, Target::Rebuild).await
}

/// Makes a schema, with a comment by which it is recognised.
pub(super) async fn make_schema(session: &mut Session<'_>, schema: &str) -> Result<(), StoreError> {
    let quoted = quoted(schema);
    let made = tables::run(
        session,
        format!("CREATE SCHEMA {quoted}; COMMENT ON SCHEMA {quoted} IS '{OURS}'"),
    );
    made.await.map_err(|error| {
        let denied = error
            .as_database_error()
            .is_some_and(|error| error.code().is_some_and(|code| code == "42501"));
        let doing = format!("create the schema `{schema}` for a rebuild");
        match denied {
            true => StoreError::new(StoreErrorKind::Invalid, doing).caused_by(format!(
                "{error}; allow the store's role to (`GRANT CREATE ON DATABASE ... TO ...`)"
            )),
            false => failed(doing)(error),
        }
    })
}

/// Drops the schema of a projection's rebuild, if it is there.
///
/// # Errors
/// [`StoreErrorKind::Invalid`] when somebody else has made it.
pub(crate) async fn remove(session: &mut Session<'_>, projection: &str) -> Result<(), StoreError> {
    let schema = name(session.sql.schema().name(), projection);
    let doing = || format!("drop the schema `{schema}` of a rebuild");
    let comment: Option<String> = session
        .sql
        .query(include_str!("../../../sql/projections/select_schema.sql"))
        .bind(&schema)
        .fetch_optional(&mut *session.conn)
        .await
        .and_then(|row| row.map(|row| row.try_get(0)).transpose())
        .map_err(failed(doing()))?;
    match comment {
        None => Ok(()),
        Some(comment) if comment == OURS => {
            tables::execute(session, format!("DROP SCHEMA {} CASCADE", quoted(&schema))).await
        }
        Some(_) => Err(StoreError::new(StoreErrorKind::Invalid, doing())
            .caused_by("somebody else has made it; rename it, or the projection")),
    }
}

/// Runs the projection's schema and checks that it makes what it says.
async fn run_schema<P: SqlProjection>(
    session: &mut Session<'_>,
    target: Target,
) -> Result<(), StoreError> {
    let doing = || format!("create the tables of projection `{}`", P::NAME);
    let store = session.sql.schema().name().to_owned();
    let schema = match target {
        Target::Live => store,
        Target::Rebuild => name(&store, P::NAME),
    };
    let before = path::enter(session, P::NAME, target).await?;
    let made = tables::run(session, P::SCHEMA.to_owned()).await;
    made.map_err(failed(doing()))?;
    path::leave(session, &before).await?;
    for table in P::TABLES {
        if !tables::exists(session, &schema, table).await? {
            let problem = format!(
                "its SCHEMA makes no table `{table}`, which TABLES names, or names it with a \
                 schema in front"
            );
            return Err(StoreError::new(StoreErrorKind::Invalid, doing()).caused_by(problem));
        }
    }
    Ok(())
}
