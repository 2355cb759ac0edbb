//! The rows of a read model: read by key or in order, written in bulk.

use annals_core::{Changes, Row, RowAccess, RowError, StoreError, TableSpec, Target, Value};
use async_trait::async_trait;
use futures_util::TryStreamExt;
use sqlx::{AssertSqlSafe, SqliteConnection, sqlite::SqliteArguments};

use super::{statements, values};
use crate::error::failed;

/// How many rows one statement carries, largest first. Few sizes, so that each stays prepared;
/// more than a few hundred rows a statement is no faster.
const SIZES: [usize; 3] = [256, 16, 1];
/// SQLite's own limit on binds in one statement (`SQLITE_MAX_VARIABLE_NUMBER`).
const MAX_BINDS: usize = 32_766;

/// One table's rows in an open transaction.
#[derive(Debug)]
pub(crate) struct TableRows<'c> {
    pub(crate) conn: &'c mut SqliteConnection,
    pub(crate) table: TableSpec,
    pub(crate) target: Target,
}

#[async_trait]
impl RowAccess for TableRows<'_> {
    async fn load(&mut self, keys: &[Vec<Value>]) -> Result<Vec<Row>, StoreError> {
        by_keys(self.conn, &self.table, self.target, keys).await
    }

    async fn write(&mut self, changes: Changes) -> Result<(), StoreError> {
        write(self.conn, &self.table, self.target, changes).await
    }
}

/// The rows with these keys that exist.
pub(crate) async fn by_keys(
    conn: &mut SqliteConnection,
    table: &TableSpec,
    target: Target,
    keys: &[Vec<Value>],
) -> Result<Vec<Row>, StoreError> {
    let doing = || format!("read rows of `{}`", table.name);
    let width = table.key_columns().count();
    let mut rows = Vec::with_capacity(keys.len());
    let mut rest = keys;
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(chunk_size(rest.len(), width));
        rest = after;
        let sql = statements::select_by_keys(table, target, chunk.len());
        let binds = binds(chunk.iter().cloned(), width).map_err(failed(doing()))?;
        let mut found = sqlx::query_with(AssertSqlSafe(sql), binds).fetch(&mut *conn);
        while let Some(row) = found.try_next().await.map_err(failed(doing()))? {
            rows.push(values::read(&row, table.columns.iter()).map_err(failed(doing()))?);
        }
    }
    Ok(rows)
}

/// Up to `limit` rows in the order of the key, after a key.
pub(crate) async fn scan(
    conn: &mut SqliteConnection,
    table: &TableSpec,
    target: Target,
    after: Option<&[Value]>,
    limit: usize,
) -> Result<Vec<Row>, StoreError> {
    let doing = || format!("read rows of `{}`", table.name);
    let limit = Value::Integer(i64::try_from(limit).unwrap_or(i64::MAX));
    let sql = statements::scan(table, target, after.is_some());
    let width = after.map_or(0, |_| table.key_columns().count());
    let key = after.unwrap_or_default().to_vec();
    let mut binds = binds(after.map(|_| key).into_iter(), width).map_err(failed(doing()))?;
    values::bind(&mut binds, limit).map_err(failed(doing()))?;
    let mut found = sqlx::query_with(AssertSqlSafe(sql), binds).fetch(conn);
    let mut rows = Vec::new();
    while let Some(row) = found.try_next().await.map_err(failed(doing()))? {
        rows.push(values::read(&row, table.columns.iter()).map_err(failed(doing()))?);
    }
    Ok(rows)
}

/// Deletes and writes rows.
pub(crate) async fn write(
    conn: &mut SqliteConnection,
    table: &TableSpec,
    target: Target,
    changes: Changes,
) -> Result<(), StoreError> {
    let key_width = table.key_columns().count();
    let delete = |count| statements::delete(table, target, count);
    execute_chunks(conn, table, changes.deletes, key_width, delete).await?;
    let upsert = |count| statements::upsert(table, target, count);
    execute_chunks(conn, table, changes.upserts, table.columns.len(), upsert).await
}

async fn execute_chunks(
    conn: &mut SqliteConnection,
    table: &TableSpec,
    rows: Vec<Vec<Value>>,
    width: usize,
    statement: impl Fn(usize) -> String,
) -> Result<(), StoreError> {
    let doing = || format!("write rows of `{}`", table.name);
    let mut left = rows.len();
    let mut rows = rows.into_iter();
    while left > 0 {
        let size = chunk_size(left, width);
        let binds = binds(rows.by_ref().take(size), width).map_err(failed(doing()))?;
        sqlx::query_with(AssertSqlSafe(statement(size)), binds)
            .execute(&mut *conn)
            .await
            .map_err(failed(doing()))?;
        left -= size;
    }
    Ok(())
}

/// How many of `left` rows the next statement carries.
fn chunk_size(left: usize, width: usize) -> usize {
    let most = MAX_BINDS / width.max(1);
    SIZES
        .into_iter()
        .find(|size| *size <= left && *size <= most)
        .unwrap_or(1)
}

/// The values of rows as binds; each row has to have `width` of them, or the rest would shift.
fn binds(
    rows: impl Iterator<Item = Vec<Value>>,
    width: usize,
) -> Result<SqliteArguments, sqlx::Error> {
    let mut binds = SqliteArguments::default();
    for row in rows {
        if row.len() != width {
            let error = RowError::new(format!("{} values for {width} columns", row.len()));
            return Err(sqlx::Error::Encode(error.into()));
        }
        for value in row {
            values::bind(&mut binds, value)?;
        }
    }
    Ok(binds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_have_few_sizes_and_stay_within_the_bind_limit() {
        let cases = [
            (1000, 5, 256),
            (255, 5, 16),
            (15, 5, 1),
            (1000, 200, 16),
            (1000, 40_000, 1),
        ];
        for (left, width, size) in cases {
            assert_eq!(chunk_size(left, width), size, "{left} rows of {width}");
        }
    }
}
