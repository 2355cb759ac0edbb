//! The rows of a read model: read by key or in order, written in bulk.

use std::cmp::Ordering;

use annals_core::{Changes, Column, Row, RowAccess, StoreError, TableSpec, Target, Value};
use async_trait::async_trait;
use futures_util::TryStreamExt;
use sqlx::{Arguments as _, AssertSqlSafe};

use super::{
    copy,
    statements::{self, Table},
    tables, values,
};
use crate::{error::failed, transaction::Session};

/// How many rows one statement carries.
const CHUNK: usize = 10_000;
/// From so many rows on it is worth asking whether a rebuilt table is empty, to copy them into it.
const WORTH_COPYING: usize = 500;
/// From so many on, a rebuilt table gets its key after its rows: sorting them once takes the
/// server half the time of finding a place for each.
const WORTH_SORTING: usize = 10_000;

/// One table's rows in an open transaction.
#[derive(Debug)]
pub(crate) struct TableRows<'a, 'c> {
    pub(crate) session: &'a mut Session<'c>,
    pub(crate) table: TableSpec,
    pub(crate) target: Target,
}

#[async_trait]
impl RowAccess for TableRows<'_, '_> {
    async fn load(&mut self, keys: &[Vec<Value>]) -> Result<Vec<Row>, StoreError> {
        by_keys(self.session, &self.table, self.target, keys).await
    }

    async fn write(&mut self, changes: Changes) -> Result<(), StoreError> {
        write(self.session, &self.table, self.target, changes).await
    }
}

fn named<'a>(session: &'a Session<'_>, spec: &'a TableSpec, target: Target) -> Table<'a> {
    Table {
        schema: session.sql.schema().name(),
        spec,
        target,
    }
}

/// The rows with these keys that exist.
pub(crate) async fn by_keys(
    session: &mut Session<'_>,
    table: &TableSpec,
    target: Target,
    keys: &[Vec<Value>],
) -> Result<Vec<Row>, StoreError> {
    let doing = || failed(format!("read rows of `{}`", table.name));
    let sql = named(session, table, target).select_by_keys();
    let columns: Vec<_> = table.key_columns().collect();
    let pulse = session.pulse;
    let mut rows = Vec::with_capacity(keys.len());
    // A key that can't be stored has no row.
    let keys: Vec<_> = keys.iter().filter(|key| values::storable(key)).collect();
    for keys in keys.chunks(CHUNK) {
        let keys = keys.iter().map(|key| key.to_vec()).collect();
        let binds = values::arrays(table, &columns, keys)?;
        let query = statements::query(sql.clone(), binds);
        let mut found = query.fetch(&mut *session.conn);
        while let Some(row) = found.try_next().await.map_err(doing())? {
            pulse.beat();
            rows.push(values::read(&row, 0, table.columns.iter()).map_err(doing())?);
        }
    }
    Ok(rows)
}

/// Up to `limit` rows in the order of the key, after a key.
pub(crate) async fn scan(
    session: &mut Session<'_>,
    table: &TableSpec,
    target: Target,
    after: Option<&[Value]>,
    limit: usize,
) -> Result<Vec<Row>, StoreError> {
    let doing = || failed(format!("read rows of `{}`", table.name));
    let sql = named(session, table, target).scan(after.is_some());
    let mut binds = match after {
        Some(key) => values::key(table, key)?,
        None => Default::default(),
    };
    binds
        .add(i64::try_from(limit).unwrap_or(i64::MAX))
        .map_err(|error| doing()(sqlx::Error::Encode(error)))?;
    let pulse = session.pulse;
    let mut found = statements::query(sql, binds).fetch(&mut *session.conn);
    let mut rows = Vec::new();
    while let Some(row) = found.try_next().await.map_err(doing())? {
        pulse.beat();
        rows.push(values::read(&row, 0, table.columns.iter()).map_err(doing())?);
    }
    Ok(rows)
}

/// Deletes and writes rows, by statements that are all there when they begin.
pub(crate) async fn write(
    session: &mut Session<'_>,
    table: &TableSpec,
    target: Target,
    changes: Changes,
) -> Result<(), StoreError> {
    delete(session, table, target, changes.deletes).await?;
    upsert(session, table, target, in_order(table, changes.upserts)).await
}

/// The same for a step of a rebuild, whose first rows are copied.
///
/// The server has no time-out for a client that is stopped in the middle of a COPY: nobody may wait
/// for anything that is locked by now.
pub(crate) async fn write_rebuilt(
    session: &mut Session<'_>,
    table: &TableSpec,
    changes: Changes,
) -> Result<(), StoreError> {
    delete(session, table, Target::Rebuild, changes.deletes).await?;
    let rows = in_order(table, changes.upserts);
    if rows.len() >= WORTH_COPYING && is_empty(session, table, Target::Rebuild).await? {
        return fill(session, table, &rows).await;
    }
    upsert(session, table, Target::Rebuild, rows).await
}

async fn delete(
    session: &mut Session<'_>,
    table: &TableSpec,
    target: Target,
    keys: Vec<Vec<Value>>,
) -> Result<(), StoreError> {
    let columns: Vec<&Column> = table.key_columns().collect();
    let delete = named(session, table, target).delete();
    execute(session, table, &delete, &columns, keys).await
}

async fn upsert(
    session: &mut Session<'_>,
    table: &TableSpec,
    target: Target,
    rows: Vec<Row>,
) -> Result<(), StoreError> {
    let columns: Vec<&Column> = table.columns.iter().collect();
    let upsert = named(session, table, target).upsert();
    execute(session, table, &upsert, &columns, rows).await
}

/// Writes the first rows of a rebuilt table.
async fn fill(
    session: &mut Session<'_>,
    table: &TableSpec,
    rows: &[Row],
) -> Result<(), StoreError> {
    let target = Target::Rebuild;
    let statement = named(session, table, target).copy();
    let key = match rows.len() >= WORTH_SORTING {
        true => primary_key(session, table, target).await?,
        false => None,
    };
    let Some(key) = key else {
        return copy::rows(session, &statement, table, rows).await;
    };
    // Nobody else sees the table without its key, as all of this is one transaction.
    let drop = named(session, table, target).drop_key(&key);
    tables::execute(session, drop).await?;
    copy::rows(session, &statement, table, rows).await?;
    let add = named(session, table, target).add_key(&key);
    tables::execute(session, add).await?;
    session.pulse.beat();
    Ok(())
}

/// The name of a table's primary key, unless somebody has dropped it.
async fn primary_key(
    session: &mut Session<'_>,
    table: &TableSpec,
    target: Target,
) -> Result<Option<String>, StoreError> {
    session
        .sql
        .query_scalar(include_str!("../../sql/projections/select_primary_key.sql"))
        .bind(session.sql.schema().name())
        .bind(table.name_of(target))
        .fetch_optional(&mut *session.conn)
        .await
        .map_err(failed(format!("look up the key of `{}`", table.name)))
}

async fn execute(
    session: &mut Session<'_>,
    table: &TableSpec,
    statement: &str,
    columns: &[&Column],
    mut rows: Vec<Row>,
) -> Result<(), StoreError> {
    while !rows.is_empty() {
        let rest = rows.split_off(rows.len().min(CHUNK));
        let binds = values::arrays(table, columns, rows)?;
        let query = statements::query(statement.to_owned(), binds);
        session.pulse.beat();
        query
            .execute(&mut *session.conn)
            .await
            .map_err(failed(format!("write rows of `{}`", table.name)))?;
        rows = rest;
    }
    Ok(())
}

async fn is_empty(
    session: &mut Session<'_>,
    table: &TableSpec,
    target: Target,
) -> Result<bool, StoreError> {
    let sql = named(session, table, target).is_empty();
    sqlx::query_scalar(AssertSqlSafe(sql))
        .persistent(false)
        .fetch_one(&mut *session.conn)
        .await
        .map_err(failed(format!("read rows of `{}`", table.name)))
}

/// The rows in the order of their keys, in which the index takes them best; of several with one
/// key the last.
fn in_order(table: &TableSpec, mut rows: Vec<Row>) -> Vec<Row> {
    let keys: Vec<usize> = (0..)
        .zip(table.columns)
        .filter(|(_, column)| column.key)
        .map(|(index, _)| index)
        .collect();
    let order = |a: &Row, b: &Row| {
        let mut columns = keys.iter().map(|&key| compare(a.get(key), b.get(key)));
        columns
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    };
    rows.sort_by(order);
    rows.reverse();
    rows.dedup_by(|a, b| order(a, b).is_eq());
    rows.reverse();
    rows
}

/// Values of one column; two that are not of one type are refused later.
fn compare(a: Option<&Value>, b: Option<&Value>) -> Ordering {
    match (a, b) {
        (Some(Value::Integer(a)), Some(Value::Integer(b))) => a.cmp(b),
        // Adding zero turns -0.0 into 0.0: the two are one key.
        (Some(Value::Real(a)), Some(Value::Real(b))) => (a + 0.0).total_cmp(&(b + 0.0)),
        (Some(Value::Text(a)), Some(Value::Text(b))) => a.as_bytes().cmp(b.as_bytes()),
        (Some(Value::Blob(a)), Some(Value::Blob(b))) => a.cmp(b),
        _ => Ordering::Equal,
    }
}

#[cfg(test)]
mod tests {
    use annals_core::ColumnType;

    use super::*;

    const TABLE: TableSpec = TableSpec {
        name: "counts",
        columns: &[
            Column {
                name: "count",
                column_type: ColumnType::Integer,
                nullable: false,
                key: false,
            },
            Column {
                name: "name",
                column_type: ColumnType::Text,
                nullable: false,
                key: true,
            },
        ],
    };

    fn row(count: i64, name: &str) -> Row {
        vec![Value::Integer(count), Value::Text(name.to_owned())]
    }

    #[test]
    fn rows_come_in_the_order_of_their_keys_and_the_last_of_each_key_counts() {
        let rows = vec![row(1, "b"), row(2, "a"), row(3, "b"), row(4, "B")];
        assert_eq!(
            in_order(&TABLE, rows),
            [row(4, "B"), row(2, "a"), row(3, "b")]
        );
    }
}
