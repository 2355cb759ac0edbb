//! Comparing a rebuilt table with the live one.

use annals_core::{Differences, RowDifference, StoreError, TableSpec, Value};
use sqlx::{AssertSqlSafe, Row as _, postgres::PgRow};

use super::{
    record,
    statements::{self, catalog_type},
    tables, values,
};
use crate::{error::failed, transaction::Session};

const DOING: &str = "compare the rebuilt table with the live one";

/// How the two tables differ, with up to `samples` rows; `None` when their columns do.
pub(crate) async fn compare(
    session: &mut Session<'_>,
    table: &TableSpec,
    samples: usize,
) -> Result<Option<Differences>, StoreError> {
    let schema = session.sql.schema().clone();
    let live = tables::columns(session, schema.name(), table.name).await?;
    let rebuilt = table.columns.iter();
    let rebuilt = rebuilt.map(|column| (column.name, catalog_type(column)));
    let live = live
        .iter()
        .map(|(name, kind)| (name.as_str(), kind.as_str()));
    if !live.eq(rebuilt) {
        return Ok(None);
    }
    // One row at least, since each tells how many there are.
    let limit = i64::try_from(samples.max(1)).unwrap_or(i64::MAX);
    let sql = statements::differences(schema.name(), table);
    let rows = sqlx::query(AssertSqlSafe(sql))
        .persistent(false)
        .bind(limit)
        .fetch_all(&mut *session.conn)
        .await
        .map_err(failed(DOING))?;
    let mut differences = Differences::default();
    for row in &rows {
        let count: i64 = row.try_get(0).map_err(failed(DOING))?;
        differences.count = record::count(count);
        let sample = difference(row, table).map_err(failed(DOING))?;
        differences.samples.extend(sample);
    }
    differences.samples.truncate(samples);
    Ok(Some(differences))
}

fn difference(row: &PgRow, table: &TableSpec) -> Result<Option<RowDifference>, sqlx::Error> {
    let width = table.columns.len();
    let live = values::read(row, 1, table.columns.iter())?;
    let rebuilt = values::read(row, 1 + width, table.columns.iter())?;
    // Only a row that is missing has an empty key.
    let there = |row: &Vec<Value>| !table.key_of(row).contains(&Value::Null);
    let live = Some(live).filter(there);
    let rebuilt = Some(rebuilt).filter(there);
    Ok(RowDifference::between(
        table,
        live.as_ref(),
        rebuilt.as_ref(),
    ))
}
