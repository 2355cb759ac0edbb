//! The tables themselves: whether they are there, whose they are, making and dropping them.

use annals_core::{
    StoreError, TableSpec, Target,
    projection_record::{table_name_taken, table_of_another},
};
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::statements;
use crate::error::failed;

/// Makes one of a read model's tables; what stands there already is somebody else's.
pub(crate) async fn create(
    conn: &mut SqliteConnection,
    projection: &str,
    table: &TableSpec,
    target: Target,
) -> Result<(), StoreError> {
    let name = table.name_of(target);
    must_be_free(conn, projection, &name).await?;
    execute(conn, statements::create_table(table, target)).await
}

/// Refuses a name under which something exists that is not this projection's.
pub(crate) async fn must_be_free(
    conn: &mut SqliteConnection,
    projection: &str,
    name: &str,
) -> Result<(), StoreError> {
    if let Some(other) = owner(conn, name).await?
        && other != projection
    {
        return Err(table_of_another(projection, &other, name));
    }
    match kind(conn, name).await? {
        None => Ok(()),
        Some(kind) => Err(table_name_taken(projection, &kind, name)),
    }
}

/// Whether there is anything of this name.
pub(crate) async fn exists(conn: &mut SqliteConnection, name: &str) -> Result<bool, StoreError> {
    Ok(kind(conn, name).await?.is_some())
}

/// Drops a table, if it is there.
pub(crate) async fn drop(conn: &mut SqliteConnection, name: &str) -> Result<(), StoreError> {
    execute(conn, statements::drop_table(name)).await
}

/// The names of a table's columns, in order.
pub(crate) async fn columns(
    conn: &mut SqliteConnection,
    name: &str,
) -> Result<Vec<String>, StoreError> {
    sqlx::query_scalar(include_str!(
        "../../sql/projections/select_table_columns.sql"
    ))
    .bind(name)
    .fetch_all(conn)
    .await
    .map_err(failed("read the columns of a table"))
}

/// Runs a generated statement without binds.
pub(crate) async fn execute(conn: &mut SqliteConnection, sql: String) -> Result<(), StoreError> {
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(conn)
        .await
        .map_err(failed("change the tables of a projection"))?;
    Ok(())
}

async fn kind(conn: &mut SqliteConnection, name: &str) -> Result<Option<String>, StoreError> {
    sqlx::query_scalar(include_str!("../../sql/projections/select_table_kind.sql"))
        .bind(name)
        .fetch_optional(conn)
        .await
        .map_err(failed("look a table up"))
}

async fn owner(conn: &mut SqliteConnection, name: &str) -> Result<Option<String>, StoreError> {
    sqlx::query_scalar(include_str!("../../sql/projections/select_table_owner.sql"))
        .bind(name)
        .fetch_optional(conn)
        .await
        .map_err(failed("look up whose table it is"))
}
