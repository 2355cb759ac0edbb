//! Putting a rebuilt table in the live one's place.
//!
//! All of it happens in one transaction: whoever is killed leaves the old table or the new one.
//! The projection's record is locked first, so that neither live steps nor appends with inline
//! rows come between; readers are held up by the exchange alone, which takes milliseconds.

use std::{sync::Arc, time::Duration};

use annals_core::{
    Checkpoint, Position, RebuildError, StoreError, StoreErrorKind, StoredEvent, SwapRequest,
    Swapped, TableSpec, Target,
    swap::{must_be_close, part_followers},
};
use futures_util::future::BoxFuture;
use sqlx::{AssertSqlSafe, Row as _};
use tokio::time::{Instant, sleep};

use super::{
    events,
    exchange::{self, Named, Pair},
    inline::Installed,
    parked, rebuild,
    record::{self, Stored},
    statements::Table,
    tables, verify,
};
use crate::{
    PostgresStore,
    error::failed,
    retry::jittered,
    transaction::{Connections, Session, Undone},
};

const DOING: &str = "swap a rebuilt table in";
/// How long it is looked whether a commit came through, if nobody answers.
const LOOKING: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Swaps a read model's tables, once the caller commits the transaction.
pub(crate) async fn swap(
    session: &mut Session<'_>,
    request: &SwapRequest,
    fold: &Installed,
) -> Result<Swapped, RebuildError> {
    let Some(table) = &request.spec.table else {
        let doing = format!("swap the table of projection `{}`", request.spec.name);
        let error = StoreError::new(StoreErrorKind::Invalid, doing);
        return Err(error.caused_by("the projection has no table").into());
    };
    let (stored, checkpoint) = complete(session, request, fold).await?;
    // To compare and to count the rows, and to make indexes.
    session.pulse.takes_long();
    let comparable = checkpoint.position == stored.record.checkpoint.position;
    let differences = match request.verify {
        Some(samples) if comparable => verify::compare(session, table, samples).await?,
        _ => None,
    };
    let rows = count_rows(session, table).await?;
    exchange(session, &request.spec.name, table, &stored).await?;
    finish(session, request, checkpoint, table.name).await?;
    Ok(Swapped {
        checkpoint,
        rows,
        differences,
    })
}

/// Folds into the rebuilt tables what they lack, and answers up to where they reach.
pub(crate) async fn complete(
    session: &mut Session<'_>,
    request: &SwapRequest,
    fold: &Installed,
) -> Result<(Stored, Checkpoint), RebuildError> {
    let stored = rebuild::locked(session, &request.spec.name).await?;
    let begun = request.begun(&stored.record)?;
    let target = stored.record.swap_target(events::head(session).await?);
    must_be_close(begun.position, target)?;
    let checkpoint = catch_up(session, request, begun, target, fold).await?;
    Ok((stored, checkpoint))
}

/// Folds what the new table lacks.
async fn catch_up(
    session: &mut Session<'_>,
    request: &SwapRequest,
    mut checkpoint: Checkpoint,
    target: Position,
    fold: &Installed,
) -> Result<Checkpoint, RebuildError> {
    while checkpoint.position < target {
        let page = events::between(session, checkpoint.position, target).await?;
        let Some(last) = page.last() else {
            let doing = format!("read the events after position {}", checkpoint.position);
            return Err(StoreError::new(StoreErrorKind::Corrupt, doing).into());
        };
        checkpoint = Checkpoint::at(last);
        session.pulse.beat();
        let page = park_followers(session, request, page).await?;
        fold.fold(&page, Target::Rebuild, session).await?;
    }
    Ok(checkpoint)
}

/// Puts the events of parked streams aside and answers the others.
async fn park_followers(
    session: &mut Session<'_>,
    request: &SwapRequest,
    page: Vec<StoredEvent>,
) -> Result<Vec<StoredEvent>, StoreError> {
    let projection = &request.spec.name;
    let parked = parked::select(session, projection, Target::Rebuild).await?;
    if parked.is_empty() {
        return Ok(page);
    }
    let (others, followers) = part_followers(page, &parked, request.now);
    parked::put_aside(session, projection, Target::Rebuild, &followers).await?;
    Ok(others)
}

/// Gives the live table's name to the rebuilt one, with what people have put on the old one.
async fn exchange(
    session: &mut Session<'_>,
    projection: &str,
    table: &TableSpec,
    stored: &Stored,
) -> Result<(), StoreError> {
    let schema = session.sql.schema().name().to_owned();
    let mut live = None;
    if let Some(table) = &stored.read_model
        && tables::exists(session, &schema, table).await?
    {
        live = Some(table.clone());
    }
    if live.as_deref() != Some(table.name) {
        tables::must_be_free(session, projection, table.name).await?;
    }
    let pair = Pair {
        live: live.map(|table| Named::new(&schema, table)),
        rebuilt: Named::new(&schema, table.name_of(Target::Rebuild)),
        new: Named::new(&schema, table.name),
    };
    exchange::exchange(session, projection, &[pair], None).await
}

/// The records after the swap.
pub(crate) async fn finish(
    session: &mut Session<'_>,
    request: &SwapRequest,
    checkpoint: Checkpoint,
    tables: &str,
) -> Result<(), StoreError> {
    let name = &request.spec.name;
    parked::clear(session, name, Target::Live).await?;
    parked::adopt(session, name).await?;
    rebuild::forget(session, name).await?;
    session
        .sql
        .query(include_str!("../../sql/projections/finish_swap.sql"))
        .bind(name)
        .bind(record::number(checkpoint.position.get()))
        .bind(checkpoint.event_id.map(|id| id.uuid()))
        .bind(&request.spec.fingerprint)
        .bind(request.now)
        .bind(tables)
        .execute(&mut *session.conn)
        .await
        .map_err(failed("record a swap"))?;
    Ok(())
}

/// Carries out a swap; when the answer to its commit is lost, looks whether that came through, for as
/// long as [`LOOKING`] if nobody answers.
pub(crate) async fn settled<W>(
    store: &PostgresStore,
    request: SwapRequest,
    fold: Installed,
    work: W,
) -> Result<Swapped, RebuildError>
where
    W: for<'a, 'c> Fn(
            &'a mut Session<'c>,
            &'a (SwapRequest, Installed),
        ) -> BoxFuture<'a, Result<Swapped, RebuildError>>
        + Send
        + Sync
        + 'static,
{
    let connections = &store.shared.connections;
    let input = (request.clone(), fold);
    match connections.outcome(DOING, input, work).await {
        Err(Undone::AtCommit(error, swapped)) => {
            tracing::warn!(
                ?error,
                "a swap's commit failed; looking whether it came through"
            );
            match look(connections, &request).await {
                Ok(true) => Ok(swapped),
                // What it rested on may have changed meanwhile.
                Ok(false) | Err(_) => Err(error.into()),
            }
        }
        done => done.map_err(Undone::into_error),
    }
}

/// Looks whether a swap was made, until somebody answers.
async fn look(connections: &Arc<Connections>, request: &SwapRequest) -> Result<bool, StoreError> {
    let deadline = Instant::now() + LOOKING;
    loop {
        let looked = connections.transaction(DOING, request.clone(), |session, request| {
            Box::pin(is_made(session, request))
        });
        match looked.await {
            Err(error) if error.is_transient() && Instant::now() < deadline => {
                tracing::debug!(%error, "not known yet whether a swap was made");
                sleep(jittered(LOOK_AGAIN)).await;
            }
            done => return done,
        }
    }
}

/// Whether this very swap has been made: nothing else leaves no rebuild behind in the epoch of the
/// last one, and as long as the database is the same one no epoch comes twice.
async fn is_made(session: &mut Session<'_>, request: &SwapRequest) -> Result<bool, StoreError> {
    let name = &request.spec.name;
    // Which waits for the transaction that may be about to make it.
    record::locked(session, name).await?;
    let made = session
        .sql
        .query(include_str!("../../sql/projections/is_swapped.sql"))
        .bind(name)
        .bind(record::number(request.fence.epoch))
        .fetch_optional(&mut *session.conn)
        .await
        .map_err(failed("look for a swap"))?;
    Ok(made.is_some())
}

async fn count_rows(session: &mut Session<'_>, spec: &TableSpec) -> Result<u64, StoreError> {
    let table = Table {
        schema: session.sql.schema().name(),
        spec,
        target: Target::Rebuild,
    };
    let sql = table.count();
    let count = sqlx::query(AssertSqlSafe(sql))
        .persistent(false)
        .fetch_one(&mut *session.conn)
        .await
        .and_then(|row| row.try_get(0))
        .map_err(failed("count the rows of a table"))?;
    Ok(record::count(count))
}
