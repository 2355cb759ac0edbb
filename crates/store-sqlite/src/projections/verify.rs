//! Comparing a rebuilt table with the live one.

use annals_core::{Differences, Row, RowDifference, StoreError, TableSpec, Target, Value};
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
    let with_key = |rows: &[Row], key: &[Value]| -> Option<Row> {
        rows.iter().find(|row| table.key_of(row) == key).cloned()
    };
    let differences = keys.iter().filter_map(|key| {
        let (live, rebuilt) = (with_key(&live, key), with_key(&rebuilt, key));
        RowDifference::between(table, live.as_ref(), rebuilt.as_ref())
    });
    Ok(differences.collect())
}
