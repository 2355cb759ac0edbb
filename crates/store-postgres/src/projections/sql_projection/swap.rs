//! Putting a SQL projection's rebuilt tables in the live ones' place.

use std::sync::Arc;

use annals_core::{RebuildError, StoreError, StoreErrorKind, SwapRequest, Swapped};
use sqlx::{AssertSqlSafe, Row as _};

use super::{SqlProjection, fold::SqlFold, shadow, verify};
use crate::{
    PostgresStore,
    error::failed,
    projections::{
        exchange::{self, Named, Pair},
        inline::Installed,
        record,
        statements::quoted,
        swap, tables,
    },
    transaction::Session,
};

const DOING: &str = "swap rebuilt tables in";

/// Swaps the tables in one transaction with the checkpoint.
pub(super) async fn swap<P: SqlProjection>(
    store: &PostgresStore,
    request: SwapRequest,
    fold: Arc<SqlFold<P>>,
) -> Result<Swapped, RebuildError> {
    let fold: Installed = fold;
    swap::settled(store, request, fold, |session, (request, fold)| {
        Box::pin(swap_in::<P>(session, request, fold))
    })
    .await
}

async fn swap_in<P: SqlProjection>(
    session: &mut Session<'_>,
    request: &SwapRequest,
    fold: &Installed,
) -> Result<Swapped, RebuildError> {
    let (stored, checkpoint) = swap::complete(session, request, fold).await?;
    // To compare and to count the rows, and to make indexes.
    session.pulse.takes_long();
    let comparable = checkpoint.position == stored.record.checkpoint.position;
    let shadow = shadow::name(session.sql.schema().name(), P::NAME);
    let differences = match request.verify {
        Some(samples) if comparable => verify::compare::<P>(session, &shadow, samples).await?,
        _ => None,
    };
    let mut rows = 0;
    for table in P::TABLES {
        rows += count_rows(session, &Named::new(&shadow, *table)).await?;
    }
    let old = stored.read_model.as_deref().unwrap_or_default();
    let old: Vec<&str> = old.split(", ").filter(|table| !table.is_empty()).collect();
    exchange::<P>(session, &shadow, &old).await?;
    swap::finish(session, request, checkpoint, &P::TABLES.join(", ")).await?;
    Ok(Swapped {
        checkpoint,
        rows,
        differences,
    })
}

async fn exchange<P: SqlProjection>(
    session: &mut Session<'_>,
    shadow: &str,
    old: &[&str],
) -> Result<(), StoreError> {
    let schema = session.sql.schema().name().to_owned();
    for table in old.iter().filter(|table| !P::TABLES.contains(table)) {
        tables::drop(session, table).await?;
    }
    let mut pairs = Vec::new();
    for table in P::TABLES {
        let replaces = old.contains(table) && tables::exists(session, &schema, table).await?;
        if !replaces {
            tables::must_be_free(session, P::NAME, table).await?;
        }
        pairs.push(Pair {
            live: replaces.then(|| Named::new(&schema, *table)),
            rebuilt: Named::new(shadow, *table),
            new: Named::new(&schema, *table),
        });
    }
    let aside = shadow::old_name(&schema, P::NAME);
    shadow::make_schema(session, &aside).await?;
    exchange::exchange(session, P::NAME, &pairs, Some(&aside)).await?;
    for schema in [&aside, shadow] {
        drop_empty(session, schema).await?;
    }
    Ok(())
}

/// Drops a schema from which every table has gone.
async fn drop_empty(session: &mut Session<'_>, schema: &str) -> Result<(), StoreError> {
    let dropped = tables::run(session, format!("DROP SCHEMA {}", quoted(schema))).await;
    dropped.map_err(|error| {
        let detail = error
            .as_database_error()
            .and_then(|error| error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>())
            .and_then(|error| error.detail())
            .map(str::to_owned);
        match detail {
            Some(detail) => StoreError::new(StoreErrorKind::Invalid, DOING).caused_by(format!(
                "SCHEMA may make tables, indexes and sequences only, but something else is left: \
                 {detail}"
            )),
            None => failed(DOING)(error),
        }
    })
}

async fn count_rows(session: &mut Session<'_>, table: &Named) -> Result<u64, StoreError> {
    let sql = format!("SELECT count(*) FROM {}", table.sql());
    let count = sqlx::query(AssertSqlSafe(sql))
        .persistent(false)
        .fetch_one(&mut *session.conn)
        .await
        .and_then(|row| row.try_get(0))
        .map_err(failed("count the rows of a table"))?;
    Ok(record::count(count))
}
