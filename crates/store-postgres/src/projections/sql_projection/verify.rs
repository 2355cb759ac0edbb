//! Comparing a SQL projection's rebuilt tables with the live ones.

use annals_core::{Differences, RowDifference, StoreError};
use sqlx::{AssertSqlSafe, Row as _};

use super::SqlProjection;
use crate::{
    error::failed,
    projections::{
        record,
        statements::{qualified, quoted},
        tables,
    },
    transaction::Session,
};

const DOING: &str = "compare the rebuilt tables with the live ones";

/// A column of a table that is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Compared {
    name: String,
    column_type: String,
    key: bool,
    numbered: bool,
}

/// Compares all tables; `None` when the live ones have other columns, or are not all there.
pub(super) async fn compare<P: SqlProjection>(
    session: &mut Session<'_>,
    shadow: &str,
    samples: usize,
) -> Result<Option<Differences>, StoreError> {
    let live = session.sql.schema().name().to_owned();
    let mut all = Differences::default();
    for table in P::TABLES {
        let same = tables::columns(session, &live, table).await?
            == tables::columns(session, shadow, table).await?;
        if !same {
            return Ok(None);
        }
        let columns = compared(session, shadow, table).await?;
        let missing = samples.saturating_sub(all.samples.len());
        let tables = [qualified(&live, table), qualified(shadow, table)];
        let found = compare_table(session, &tables, &columns, missing).await?;
        all.count += found.count;
        all.samples.extend(found.samples);
    }
    Ok(Some(all))
}

async fn compared(
    session: &mut Session<'_>,
    schema: &str,
    table: &str,
) -> Result<Vec<Compared>, StoreError> {
    let rows = session
        .sql
        .query(include_str!(
            "../../../sql/projections/select_compared_columns.sql"
        ))
        .bind(schema)
        .bind(table)
        .fetch_all(&mut *session.conn)
        .await
        .map_err(failed(DOING))?;
    let columns = rows.iter().map(|row| {
        Ok(Compared {
            name: row.try_get(0)?,
            column_type: row.try_get(1)?,
            key: row.try_get(2)?,
            numbered: row.try_get(3)?,
        })
    });
    let columns: Vec<Compared> = columns
        .collect::<Result<_, sqlx::Error>>()
        .map_err(failed(DOING))?;
    Ok(columns
        .into_iter()
        .filter(|column| !column.numbered)
        .collect())
}

async fn compare_table(
    session: &mut Session<'_>,
    tables: &[String; 2],
    columns: &[Compared],
    samples: usize,
) -> Result<Differences, StoreError> {
    let mut differences = Differences::default();
    if columns.is_empty() {
        return Ok(differences);
    }
    // One row at least, since each tells how many there are.
    let limit = i64::try_from(samples.max(1)).unwrap_or(i64::MAX);
    let rows = sqlx::query(AssertSqlSafe(statement(tables, columns)))
        .persistent(false)
        .bind(limit)
        .fetch_all(&mut *session.conn)
        .await
        .map_err(failed(DOING))?;
    for row in &rows {
        let count: i64 = row.try_get(3).map_err(failed(DOING))?;
        differences.count = record::count(count);
        differences.samples.push(RowDifference {
            key: row.try_get(0).map_err(failed(DOING))?,
            live: row.try_get(1).map_err(failed(DOING))?,
            rebuilt: row.try_get(2).map_err(failed(DOING))?,
        });
    }
    differences.samples.truncate(samples);
    Ok(differences)
}

/// The rows in which a live and a rebuilt table differ: key, live and rebuilt row as texts, and
/// how many there are. The bind is how many are wanted.
fn statement([live, rebuilt]: &[String; 2], columns: &[Compared]) -> String {
    let keys: Vec<_> = columns.iter().filter(|column| column.key).collect();
    let all: Vec<_> = columns.iter().collect();
    let key = texts(if keys.is_empty() { &all } else { &keys });
    let row = texts(&all);
    // Texts, since not every type has an equality.
    let only_in = |one: &str, other: &str, is: &str, is_not: &str| {
        format!(
            "SELECT key, content AS {is}, NULL AS {is_not} FROM \
             (SELECT {key} AS key, {row} AS content FROM {one} \
              EXCEPT ALL SELECT {key}, {row} FROM {other}) AS only_{is}"
        )
    };
    format!(
        "SELECT key, max(live), max(rebuilt), count(*) OVER () FROM \
         (SELECT key, live, rebuilt FROM ({}) AS gone \
          UNION ALL SELECT key, live, rebuilt FROM ({}) AS new) AS different \
         GROUP BY key ORDER BY key COLLATE \"C\" LIMIT $1",
        only_in(live, rebuilt, "live", "rebuilt"),
        only_in(rebuilt, live, "rebuilt", "live"),
    )
}

/// An expression for columns with their values: `owner='alice', balance=5`.
fn texts(columns: &[&Compared]) -> String {
    let texts: Vec<_> = columns
        .iter()
        .map(|column| {
            let label = format!("{}=", column.name).replace('\'', "''");
            let value = format!("{}::text", quoted(&column.name));
            let value = if is_number(&column.column_type) {
                format!("coalesce({value}, 'NULL')")
            } else {
                // By its bytes: columns of several collations have no common order.
                format!("quote_nullable({value} COLLATE \"C\")")
            };
            format!("'{label}' || {value}")
        })
        .collect();
    texts.join(" || ', ' || ")
}

fn is_number(column_type: &str) -> bool {
    matches!(
        column_type,
        "smallint" | "integer" | "bigint" | "real" | "double precision" | "boolean"
    ) || column_type.starts_with("numeric")
}
