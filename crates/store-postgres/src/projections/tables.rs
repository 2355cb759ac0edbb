//! The tables themselves: whether they are there, whose they are, making and dropping them.

use annals_core::{
    StoreError, StoreErrorKind, TableSpec, Target,
    projection_record::{table_name_taken, table_of_another},
};
use sqlx::{AssertSqlSafe, Row};

use super::statements::{Table, qualified};
use crate::{error::failed, transaction::Session};

/// PostgreSQL cuts longer names off, and two cut names may be one.
const MAX_NAME_BYTES: usize = 63;

/// Makes one of a read model's tables; what stands there already is somebody else's.
pub(crate) async fn create(
    session: &mut Session<'_>,
    projection: &str,
    spec: &TableSpec,
    target: Target,
) -> Result<(), StoreError> {
    // The longest of its names has to fit from the start, or it could never be rebuilt.
    must_fit(projection, &spec.name_of(Target::Rebuild))?;
    must_be_free(session, projection, &spec.name_of(target)).await?;
    let schema = session.sql.schema().clone();
    let table = Table {
        schema: schema.name(),
        spec,
        target,
    };
    execute(session, table.create()).await
}

/// Refuses a name that is too long for PostgreSQL.
pub(crate) fn must_fit(projection: &str, name: &str) -> Result<(), StoreError> {
    if name.len() <= MAX_NAME_BYTES {
        return Ok(());
    }
    let doing = format!("create the table of projection `{projection}`");
    Err(
        StoreError::new(StoreErrorKind::Invalid, doing).caused_by(format!(
            "`{name}` is longer than PostgreSQL's {MAX_NAME_BYTES} bytes; choose a shorter name"
        )),
    )
}

/// Refuses a name under which something exists that is not this projection's.
pub(crate) async fn must_be_free(
    session: &mut Session<'_>,
    projection: &str,
    name: &str,
) -> Result<(), StoreError> {
    must_not_be_anothers(session, projection, name).await?;
    let schema = session.sql.schema().clone();
    match kind(session, schema.name(), name).await? {
        None => Ok(()),
        Some(kind) => Err(table_name_taken(projection, &kind, name)),
    }
}

/// Refuses a table that another projection fills.
pub(crate) async fn must_not_be_anothers(
    session: &mut Session<'_>,
    projection: &str,
    name: &str,
) -> Result<(), StoreError> {
    match owner(session, name).await? {
        Some(other) if other != projection => Err(table_of_another(projection, &other, name)),
        _ => Ok(()),
    }
}

/// Whether there is anything of this name in a schema.
pub(crate) async fn exists(
    session: &mut Session<'_>,
    schema: &str,
    name: &str,
) -> Result<bool, StoreError> {
    Ok(kind(session, schema, name).await?.is_some())
}

/// Drops a table of the store's schema, if it is there.
pub(crate) async fn drop(session: &mut Session<'_>, name: &str) -> Result<(), StoreError> {
    let table = qualified(session.sql.schema().name(), name);
    execute(session, format!("DROP TABLE IF EXISTS {table}")).await
}

/// Ends whoever was stopped in the middle of writing to a table of the store's schema, and would
/// hold it for as long as they are.
pub(crate) async fn end_stalled_writers(
    session: &mut Session<'_>,
    name: &str,
) -> Result<(), StoreError> {
    let ended = session
        .sql
        .query(include_str!(
            "../../sql/projections/end_stalled_writers.sql"
        ))
        .bind(session.sql.schema().name())
        .bind(name)
        .fetch_all(&mut *session.conn)
        .await
        .map_err(failed("end a process that hangs in a rebuild"))?;
    if !ended.is_empty() {
        tracing::warn!(
            table = name,
            "ended a session that was stopped while it wrote"
        );
    }
    Ok(())
}

/// The names of a table's columns with their types, in order.
pub(crate) async fn columns(
    session: &mut Session<'_>,
    schema: &str,
    name: &str,
) -> Result<Vec<(String, String)>, StoreError> {
    let doing = || failed("read the columns of a table");
    let rows = session
        .sql
        .query(include_str!(
            "../../sql/projections/select_table_columns.sql"
        ))
        .bind(schema)
        .bind(name)
        .fetch_all(&mut *session.conn)
        .await
        .map_err(doing())?;
    rows.iter()
        .map(|row| {
            Ok((
                row.try_get(0).map_err(doing())?,
                row.try_get(1).map_err(doing())?,
            ))
        })
        .collect()
}

/// Runs a generated statement without binds.
pub(crate) async fn execute(session: &mut Session<'_>, sql: String) -> Result<(), StoreError> {
    run(session, sql)
        .await
        .map_err(failed("change the tables of a projection"))
}

/// Like [`execute`], for who looks at the error.
pub(crate) async fn run(session: &mut Session<'_>, sql: String) -> Result<(), sqlx::Error> {
    let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *session.conn);
    done.await.map(|_| ())
}

async fn kind(
    session: &mut Session<'_>,
    schema: &str,
    name: &str,
) -> Result<Option<String>, StoreError> {
    let doing = || failed("look a table up");
    let row = session
        .sql
        .query(include_str!("../../sql/projections/select_table_kind.sql"))
        .bind(schema)
        .bind(name)
        .fetch_optional(&mut *session.conn)
        .await
        .map_err(doing())?;
    row.map(|row| row.try_get(0)).transpose().map_err(doing())
}

async fn owner(session: &mut Session<'_>, name: &str) -> Result<Option<String>, StoreError> {
    let doing = || failed("look up whose table it is");
    let row = session
        .sql
        .query(include_str!("../../sql/projections/select_table_owner.sql"))
        .bind(name)
        .fetch_optional(&mut *session.conn)
        .await
        .map_err(doing())?;
    row.map(|row| row.try_get(0)).transpose().map_err(doing())
}
