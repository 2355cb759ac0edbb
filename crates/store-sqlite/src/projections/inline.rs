//! Folds inline projections within the append's own transaction.

use std::{fmt, sync::Arc};

use annals_core::{
    Failure, Fence, FoldError, InlineProjection, Position, ProjectionSpec, ProjectionState,
    StoreError, StoreErrorKind, StoredEvent, Target,
};
use async_trait::async_trait;
use sqlx::SqliteConnection;

use super::{
    events,
    record::{self, Stored},
    rows::TableRows,
};
use crate::{SqliteStore, error::failed};

/// Folds events in a transaction of this store, whatever kind of projection it is.
#[async_trait]
pub(crate) trait Fold: fmt::Debug + Send + Sync + 'static {
    /// What the projection is.
    fn spec(&self) -> &ProjectionSpec;

    /// Folds these events, in order, into one of the projection's tables.
    async fn fold(
        &self,
        events: &[StoredEvent],
        target: Target,
        conn: &mut SqliteConnection,
    ) -> Result<(), FoldError>;
}

/// A projection that is part of every append.
pub(crate) type Installed = Arc<dyn Fold>;

/// A read model as a [`Fold`].
#[derive(Debug)]
pub(crate) struct FoldRows(pub(crate) Arc<dyn InlineProjection>);

#[async_trait]
impl Fold for FoldRows {
    fn spec(&self) -> &ProjectionSpec {
        self.0.spec()
    }

    async fn fold(
        &self,
        events: &[StoredEvent],
        target: Target,
        conn: &mut SqliteConnection,
    ) -> Result<(), FoldError> {
        let Some(table) = self.spec().table else {
            let doing = format!("fold into the table of projection `{}`", self.spec().name);
            let error = StoreError::new(StoreErrorKind::Invalid, doing);
            return Err(error.caused_by("the projection has no table").into());
        };
        let mut rows = TableRows {
            conn,
            table,
            target,
        };
        self.0.fold(events, &mut rows).await
    }
}

/// Folds a batch's events into every installed inline projection, before the batch commits.
///
/// `from` is the position before the first event. After an error the caller rolls the batch
/// back and runs its appends one by one, so that only the culprit fails. The same
/// goes for the projection that is answered: it has missed more than a page, or something that it can't
/// fold, and has to catch up first.
///
/// # Errors
/// When a projection refuses an event, or the store fails.
pub(crate) async fn fold_inline(
    conn: &mut SqliteConnection,
    installed: &[Installed],
    from: Position,
    events: &[StoredEvent],
) -> Result<Option<Installed>, FoldError> {
    for projection in installed {
        let Some(stored) = active(conn, projection, from).await? else {
            continue;
        };
        let checkpoint = stored.record.checkpoint.position;
        // Another process may have appended without this projection.
        let missed = from.get().saturating_sub(checkpoint.get());
        if missed > events::PAGE as u64 {
            return Ok(Some(Arc::clone(projection)));
        }
        match fold_between(conn, projection, checkpoint, from).await {
            Err(FoldError::Event { .. }) => return Ok(Some(Arc::clone(projection))),
            folded => folded?,
        }
        fold_and_move(conn, projection, events).await?;
    }
    Ok(None)
}

/// Folds what the projection has missed, then makes it part of every append.
///
/// The bulk is folded page by page in transactions of its own, so that other writers get their
/// turn; only the last piece is folded together with the installation.
pub(crate) async fn install(store: &SqliteStore, projection: Installed) -> Result<(), FoldError> {
    const CATCH_UP: &str = "let an inline projection catch up";
    loop {
        let folding = Arc::clone(&projection);
        let more = store
            .transaction(CATCH_UP, move |conn| {
                Box::pin(async move { fold_next_page(conn, &folding).await })
            })
            .await?;
        if !more {
            break;
        }
    }
    let folding = Arc::clone(&projection);
    store
        .install("install an inline projection", projection, move |conn| {
            Box::pin(async move {
                while fold_next_page(conn, &folding).await? {}
                mark_inline(conn, &folding.spec().name).await?;
                Ok(())
            })
        })
        .await
}

/// The projection's record, if it is to be folded now: not while it is paused or outdated, and
/// not when its rows were folded from another log, which is then recorded.
///
/// `head` is the last position of the log as it was before this transaction.
async fn active(
    conn: &mut SqliteConnection,
    projection: &Installed,
    head: Position,
) -> Result<Option<Stored>, StoreError> {
    let spec = projection.spec();
    let stored = record::one(conn, &spec.name).await?;
    let Some(stored) = stored.filter(|stored| stored.record.takes_part(spec)) else {
        return Ok(None);
    };
    let checkpoint = stored.record.checkpoint.position;
    let found = match checkpoint {
        Position::START => return Ok(Some(stored)),
        beyond if beyond > head => None,
        _ => events::id_at(conn, checkpoint).await?,
    };
    let record = &stored.record;
    let Some(failure) = record.divergence(found, record.updated_at) else {
        return Ok(Some(stored));
    };
    let failure = Failure {
        since: record::now(conn).await?,
        ..failure
    };
    tracing::error!(projection = %spec.name, message = %failure.message, "projection stopped");
    let fence = Fence {
        epoch: record.epoch,
        checkpoint,
    };
    record::stop(conn, &spec.name, fence, ProjectionState::Diverged, &failure).await?;
    Ok(None)
}

/// Stops a projection at an event that it has missed and can't fold, unless somebody has come past
/// that since.
pub(crate) async fn stop_at(
    conn: &mut SqliteConnection,
    projection: &Installed,
    error: FoldError,
) -> Result<(), StoreError> {
    let head = events::head(conn).await?;
    let is_active = active(conn, projection, head).await?.is_some();
    let name = &projection.spec().name;
    let Some(Stored { record, .. }) = record::one(conn, name).await?.filter(|_| is_active) else {
        return Ok(());
    };
    let failure = error.into_failure(record::now(conn).await?)?;
    let fence = Fence {
        epoch: record.epoch,
        checkpoint: record.checkpoint.position,
    };
    if failure.position > fence.checkpoint {
        tracing::error!(projection = %name, message = %failure.message, "projection stopped");
        record::stop(conn, name, fence, ProjectionState::Failed, &failure).await?;
    }
    Ok(())
}

/// Folds one page of what is missing; false when nothing was.
pub(crate) async fn fold_next_page(
    conn: &mut SqliteConnection,
    projection: &Installed,
) -> Result<bool, FoldError> {
    let head = events::head(conn).await?;
    let Some(stored) = active(conn, projection, head).await? else {
        return Ok(false);
    };
    let page = events::between(conn, stored.record.checkpoint.position, head).await?;
    fold_and_move(conn, projection, &page).await?;
    Ok(!page.is_empty())
}

async fn fold_between(
    conn: &mut SqliteConnection,
    projection: &Installed,
    mut after: Position,
    last: Position,
) -> Result<(), FoldError> {
    while after < last {
        let page = events::between(conn, after, last).await?;
        let Some(event) = page.last() else {
            let doing = format!("read the events after position {after}");
            return Err(StoreError::new(StoreErrorKind::Corrupt, doing).into());
        };
        after = event.position;
        fold_and_move(conn, projection, &page).await?;
    }
    Ok(())
}

async fn fold_and_move(
    conn: &mut SqliteConnection,
    projection: &Installed,
    events: &[StoredEvent],
) -> Result<(), FoldError> {
    let Some(last) = events.last() else {
        return Ok(());
    };
    projection.fold(events, Target::Live, conn).await?;
    sqlx::query(include_str!("../../sql/projections/move_inline.sql"))
        .bind(&projection.spec().name)
        .bind(record::number(last.position.get()))
        .bind(last.id.to_string())
        .bind(record::time(last.recorded_at))
        .execute(conn)
        .await
        .map_err(failed("move an inline projection's checkpoint"))?;
    Ok(())
}

async fn mark_inline(conn: &mut SqliteConnection, name: &str) -> Result<(), StoreError> {
    sqlx::query(include_str!("../../sql/projections/mark_inline.sql"))
        .bind(name)
        .execute(conn)
        .await
        .map_err(failed("make a projection inline"))?;
    Ok(())
}
