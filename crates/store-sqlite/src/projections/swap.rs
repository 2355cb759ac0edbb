//! Putting a rebuilt table in the live one's place.
//!
//! All of it happens in one transaction: whoever is killed leaves the old table or the new one.

use annals_core::{
    Checkpoint, Position, RebuildError, StoreError, StoreErrorKind, StoredEvent, SwapRequest,
    Swapped, TableSpec, Target,
    swap::{must_be_close, part_followers},
};
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::{
    events,
    inline::Installed,
    parked, rebuild,
    record::{self, Stored},
    statements, tables, verify,
};
use crate::error::failed;

/// Swaps a read model's tables, once the caller commits the transaction.
pub(crate) async fn swap(
    conn: &mut SqliteConnection,
    request: &SwapRequest,
    fold: &Installed,
) -> Result<Swapped, RebuildError> {
    let Some(table) = &request.spec.table else {
        let doing = format!("swap the table of projection `{}`", request.spec.name);
        let error = StoreError::new(StoreErrorKind::Invalid, doing);
        return Err(error.caused_by("the projection has no table").into());
    };
    let stored = rebuild::lookup(conn, &request.spec.name).await?;
    let begun = request.begun(&stored.record)?;
    let target = needed(conn, &stored).await?;
    must_be_close(begun.position, target)?;
    let checkpoint = catch_up(conn, request, begun, target, fold).await?;
    let comparable = checkpoint.position == stored.record.checkpoint.position;
    let differences = match request.verify {
        Some(samples) if comparable => verify::compare(conn, table, samples).await?,
        _ => None,
    };
    exchange(conn, &request.spec.name, table, &stored).await?;
    finish(conn, request, checkpoint, table.name).await?;
    Ok(Swapped {
        checkpoint,
        rows: count_rows(conn, table).await?,
        differences,
    })
}

/// Up to where the new table has to reach.
pub(crate) async fn needed(
    conn: &mut SqliteConnection,
    stored: &Stored,
) -> Result<Position, StoreError> {
    let head = events::head(conn).await?;
    Ok(stored.record.swap_target(head))
}

/// Folds what the new table lacks.
pub(crate) async fn catch_up(
    conn: &mut SqliteConnection,
    request: &SwapRequest,
    mut checkpoint: Checkpoint,
    target: Position,
    fold: &Installed,
) -> Result<Checkpoint, RebuildError> {
    while checkpoint.position < target {
        let page = events::between(conn, checkpoint.position, target).await?;
        let Some(last) = page.last() else {
            let doing = format!("read the events after position {}", checkpoint.position);
            return Err(StoreError::new(StoreErrorKind::Corrupt, doing).into());
        };
        checkpoint = Checkpoint::at(last);
        let page = park_followers(conn, request, page).await?;
        fold.fold(&page, Target::Rebuild, conn).await?;
    }
    Ok(checkpoint)
}

/// Puts the events of parked streams aside and answers the others.
async fn park_followers(
    conn: &mut SqliteConnection,
    request: &SwapRequest,
    page: Vec<StoredEvent>,
) -> Result<Vec<StoredEvent>, StoreError> {
    let projection = &request.spec.name;
    let parked = parked::select(conn, projection, Target::Rebuild).await?;
    if parked.is_empty() {
        return Ok(page);
    }
    let (others, followers) = part_followers(page, &parked, request.now);
    for event in &followers {
        parked::put_aside(conn, projection, Target::Rebuild, event).await?;
    }
    Ok(others)
}

/// Drops the live table and gives its name to the rebuilt one, which keeps the indexes and
/// triggers that people have put on the old one.
async fn exchange(
    conn: &mut SqliteConnection,
    projection: &str,
    table: &TableSpec,
    stored: &Stored,
) -> Result<(), StoreError> {
    let mut extras = Vec::new();
    if let Some(live) = &stored.read_model {
        extras = table_extras(conn, live).await?;
        tables::drop(conn, live).await?;
    }
    tables::must_be_free(conn, projection, table.name).await?;
    // Otherwise a view on the table, which just now has nothing to show, would refuse the rename.
    tables::execute(conn, "PRAGMA legacy_alter_table = ON".to_owned()).await?;
    let renamed = tables::execute(conn, statements::rename_rebuilt(table)).await;
    tables::execute(conn, "PRAGMA legacy_alter_table = OFF".to_owned()).await?;
    renamed?;
    for (name, sql) in extras {
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut *conn)
            .await
            .map_err(|error| {
                let doing = format!(
                    "put `{name}` on the rebuilt table `{}`, as it is on the live one; drop it first",
                    table.name
                );
                StoreError::new(StoreErrorKind::Invalid, doing).caused_by(error)
            })?;
    }
    Ok(())
}

async fn table_extras(
    conn: &mut SqliteConnection,
    table: &str,
) -> Result<Vec<(String, String)>, StoreError> {
    sqlx::query_as(include_str!(
        "../../sql/projections/select_table_extras.sql"
    ))
    .bind(table)
    .fetch_all(conn)
    .await
    .map_err(failed("read the indexes of a table"))
}

/// The records after the swap.
pub(crate) async fn finish(
    conn: &mut SqliteConnection,
    request: &SwapRequest,
    checkpoint: Checkpoint,
    tables: &str,
) -> Result<(), StoreError> {
    let name = &request.spec.name;
    parked::clear(conn, name, Target::Live).await?;
    parked::adopt(conn, name).await?;
    rebuild::forget(conn, name).await?;
    sqlx::query(include_str!("../../sql/projections/finish_swap.sql"))
        .bind(name)
        .bind(record::number(checkpoint.position.get()))
        .bind(checkpoint.event_id.map(|id| id.to_string()))
        .bind(&request.spec.fingerprint)
        .bind(record::time(request.now))
        .bind(tables)
        .execute(conn)
        .await
        .map_err(failed("record a swap"))?;
    Ok(())
}

async fn count_rows(conn: &mut SqliteConnection, table: &TableSpec) -> Result<u64, StoreError> {
    let sql = statements::count_rows(table, Target::Live);
    let count = sqlx::query_scalar(AssertSqlSafe(sql))
        .fetch_one(conn)
        .await
        .map_err(failed("count the rows of a table"))?;
    Ok(record::count(count))
}
