//! Putting a SQL projection's rebuilt tables in the live ones' place.

use std::{path::Path, sync::Arc, time::Duration};

use annals_core::{
    Differences, RebuildError, RowDifference, StoreError, SwapRequest, Swapped, swap::must_be_close,
};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row, SqliteConnection};

use super::{SqlProjection, fold::SqlFold, live::run_schema, shadow, statements};
use crate::{
    SqliteStore,
    error::failed,
    projections::{inline::Installed, rebuild, record, swap, tables},
    transaction::begin,
};

const DOING: &str = "swap rebuilt tables in";

/// How long the swap waits for other writers.
const PATIENCE: Duration = Duration::from_secs(30);

/// Swaps the tables in one transaction of the store, then removes the shadow file.
///
/// It runs on a connection of its own, since a file can't be detached within a transaction.
/// Nothing is written to the shadow file, so the commit concerns the store alone.
pub(super) async fn swap<P: SqlProjection>(
    store: &SqliteStore,
    path: &Path,
    request: &SwapRequest,
    fold: Arc<SqlFold<P>>,
) -> Result<Swapped, RebuildError> {
    // The wait for the lock is in `begin`, since SQLite's own loses against a busy writer.
    let options = shadow::writable(store).busy_timeout(Duration::from_millis(5));
    let mut conn = options.connect().await.map_err(failed(DOING))?;
    shadow::attach(&mut conn, &shadow::read_only(path)?, statements::SHADOW).await?;
    begin(&mut conn, PATIENCE).await.map_err(failed(DOING))?;
    let fold: Installed = fold;
    // An error drops the connection, which rolls back.
    let swapped = exchange::<P>(&mut conn, request, &fold).await?;
    shadow::control(&mut conn, "COMMIT").await?;
    conn.close().await.map_err(failed(DOING))?;
    if let Err(error) = shadow::remove(path) {
        tracing::warn!(projection = P::NAME, %error, "a rebuild's file was left behind");
    }
    Ok(swapped)
}

async fn exchange<P: SqlProjection>(
    conn: &mut SqliteConnection,
    request: &SwapRequest,
    fold: &Installed,
) -> Result<Swapped, RebuildError> {
    let stored = rebuild::lookup(conn, P::NAME).await?;
    let begun = request.begun(&stored.record)?;
    let target = swap::needed(conn, &stored).await?;
    must_be_close(begun.position, target)?;
    let live = stored.record.checkpoint.position;
    let comparable = request.verify.is_some() && begun.position.max(target) == live;
    if comparable {
        keep::<P>(conn).await?;
    }
    let old = stored.read_model.as_deref().unwrap_or_default();
    for table in old.split(", ").filter(|table| !table.is_empty()) {
        tables::drop(conn, table).await?;
    }
    for table in P::TABLES {
        tables::must_be_free(conn, P::NAME, table).await?;
    }
    run_schema::<P>(conn).await?;
    for table in P::TABLES {
        let columns = tables::columns(conn, table).await?;
        tables::execute(conn, statements::copy_table(table, &columns)).await?;
    }
    let checkpoint = swap::catch_up(conn, request, begun, target, fold).await?;
    let differences = match request.verify {
        Some(samples) if comparable => compare::<P>(conn, samples).await?,
        _ => None,
    };
    swap::finish(conn, request, checkpoint, &P::TABLES.join(", ")).await?;
    let mut rows = 0;
    for table in P::TABLES {
        rows += count_rows(conn, table).await?;
    }
    Ok(Swapped {
        checkpoint,
        rows,
        differences,
    })
}

/// Keeps the live tables' rows, to be compared with the new ones.
async fn keep<P: SqlProjection>(conn: &mut SqliteConnection) -> Result<(), StoreError> {
    for table in P::TABLES {
        if tables::exists(conn, table).await? {
            let columns = tables::columns(conn, table).await?;
            tables::execute(conn, statements::keep_table(table, &columns)).await?;
        }
    }
    Ok(())
}

/// Compares the tables with the rows that were kept; `None` when their columns differ.
async fn compare<P: SqlProjection>(
    conn: &mut SqliteConnection,
    samples: usize,
) -> Result<Option<Differences>, StoreError> {
    let mut all = Differences::default();
    for table in P::TABLES {
        let columns = tables::columns(conn, table).await?;
        if tables::columns(conn, &statements::kept(table)).await? != columns {
            return Ok(None);
        }
        let missing = samples.saturating_sub(all.samples.len());
        let found = compare_table(conn, table, &columns, missing).await?;
        all.count += found.count;
        all.samples.extend(found.samples);
    }
    Ok(Some(all))
}

async fn compare_table(
    conn: &mut SqliteConnection,
    table: &str,
    columns: &[String],
    samples: usize,
) -> Result<Differences, StoreError> {
    const DOING: &str = "compare the rebuilt tables with the live ones";
    let keys: Vec<String> = sqlx::query_scalar(include_str!(
        "../../../sql/projections/select_table_keys.sql"
    ))
    .bind(table)
    .fetch_all(&mut *conn)
    .await
    .map_err(failed(DOING))?;
    // One row at least, since each tells how many there are.
    let limit = i64::try_from(samples.max(1)).unwrap_or(i64::MAX);
    let sql = statements::differences(table, columns, &keys);
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(limit)
        .fetch_all(conn)
        .await
        .map_err(failed(DOING))?;
    let mut differences = Differences::default();
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

async fn count_rows(conn: &mut SqliteConnection, table: &str) -> Result<u64, StoreError> {
    let count = sqlx::query_scalar(AssertSqlSafe(statements::count_rows(table)))
        .fetch_one(conn)
        .await
        .map_err(failed("count the rows of a table"))?;
    Ok(record::count(count))
}
