//! Comparing a rebuilt table with the live one.

use annals_core::{Column, Differences, Row, RowDifference, StoreError, TableSpec, Target, Value};
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::{record, rows, statements, tables, values};
use crate::error::failed;

/// How the two tables differ, with up to `samples` rows; `None` when their columns do.
pub(crate) async fn compare(
    conn: &mut SqliteConnection,
    table: &TableSpec,
    samples: usize,
) -> Result<Option<Differences>, StoreError> {
    let live = tables::columns(conn, table.name).await?;
    if !live
        .iter()
        .eq(table.columns.iter().map(|column| column.name))
    {
        return Ok(None);
    }
    let count: i64 = sqlx::query_scalar(AssertSqlSafe(statements::count_differing(table)))
        .fetch_one(&mut *conn)
        .await
        .map_err(failed("compare the rebuilt table with the live one"))?;
    let samples = if count > 0 && samples > 0 {
        sample(conn, table, samples).await?
    } else {
        Vec::new()
    };
    Ok(Some(Differences {
        count: record::count(count),
        samples,
    }))
}

async fn sample(
    conn: &mut SqliteConnection,
    table: &TableSpec,
    samples: usize,
) -> Result<Vec<RowDifference>, StoreError> {
    let failed = || failed("compare the rebuilt table with the live one");
    let found = sqlx::query(AssertSqlSafe(statements::sample_differing(table)))
        .bind(i64::try_from(samples).unwrap_or(i64::MAX))
        .fetch_all(&mut *conn)
        .await
        .map_err(failed())?;
    let keys = found
        .iter()
        .map(|row| values::read(row, table.key_columns()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(failed())?;
    let live = rows::by_keys(conn, table, Target::Live, &keys).await?;
    let rebuilt = rows::by_keys(conn, table, Target::Rebuild, &keys).await?;
    let differences = keys.iter().map(|key| RowDifference {
        key: values::readable_columns(table.key_columns(), key),
        live: with_key(table, &live, key),
        rebuilt: with_key(table, &rebuilt, key),
    });
    Ok(differences.collect())
}

/// The row with this key, readable.
fn with_key(table: &TableSpec, rows: &[Row], key: &[Value]) -> Option<String> {
    let row = rows.iter().find(|row| table.key_of(row) == key)?;
    let columns = table.columns.iter().zip(row);
    let others = columns.filter(|(column, _)| !column.key);
    let (columns, values): (Vec<&Column>, Vec<Value>) = others
        .map(|(column, value)| (column, value.clone()))
        .unzip();
    Some(values::readable_columns(columns.into_iter(), &values))
}
