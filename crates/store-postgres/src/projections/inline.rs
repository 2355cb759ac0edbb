//! Folds inline projections within the append's own transaction.

use std::{fmt, sync::Arc};

use annals_core::{
    EventId, Failure, Fence, FoldError, InlineProjection, Position, ProjectionSpec,
    ProjectionState, StoreError, StoreErrorKind, StoredEvent, Target,
};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::Row;
use uuid::Uuid;

use super::{
    events,
    record::{self, Stored},
    rows::TableRows,
};
use crate::{PostgresStore, error::failed, transaction::Session};

const CATCH_UP: &str = "let an inline projection catch up";

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
        session: &mut Session<'_>,
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
        session: &mut Session<'_>,
    ) -> Result<(), FoldError> {
        let Some(table) = self.spec().table else {
            let doing = format!("fold into the table of projection `{}`", self.spec().name);
            let error = StoreError::new(StoreErrorKind::Invalid, doing);
            return Err(error.caused_by("the projection has no table").into());
        };
        let mut rows = TableRows {
            session,
            table,
            target,
        };
        self.0.fold(events, &mut rows).await
    }
}

/// Folds a batch's events into every installed inline projection, before the batch commits.
///
/// `from` is the position before the first event. After an error the caller undoes the batch. The same
/// goes for the projection that is answered: it has missed more than a page, or something that it can't
/// fold, and has to catch up first.
///
/// # Errors
/// When a projection refuses an event, or the store fails.
pub(crate) async fn fold_inline(
    session: &mut Session<'_>,
    installed: &[Installed],
    from: Position,
    events: &[StoredEvent],
) -> Result<Option<Installed>, FoldError> {
    for projection in installed {
        let Some(checkpoint) = active(session, projection, from).await? else {
            continue;
        };
        // Another process may have appended without this projection.
        let missed = from.get().saturating_sub(checkpoint.get());
        if missed > events::PAGE as u64 {
            return Ok(Some(Arc::clone(projection)));
        }
        match fold_between(session, projection, checkpoint, from).await {
            Err(FoldError::Event { .. }) => return Ok(Some(Arc::clone(projection))),
            folded => folded?,
        }
        fold_and_move(session, projection, events).await?;
    }
    Ok(None)
}

/// Folds what the projection has missed, then makes it part of every append.
///
/// The bulk is folded page by page in transactions of its own, so that other writers get their
/// turn; only the last piece is folded together with the installation.
pub(crate) async fn install(store: &PostgresStore, projection: Installed) -> Result<(), FoldError> {
    fold_missed(store, &projection).await?;
    store
        .install(
            "install an inline projection",
            projection,
            |session, projection| {
                Box::pin(async move {
                    while fold_next_page(session, projection).await? {}
                    mark_inline(session, &projection.spec().name).await?;
                    Ok(())
                })
            },
        )
        .await
}

/// Lets a projection catch up that [`fold_inline`] has answered, without the append lock. An event
/// that can't be folded stops it: it was appended without it, so nobody who appends now can do
/// anything about it.
pub(crate) async fn catch_up(
    store: &PostgresStore,
    projection: &Installed,
) -> Result<(), StoreError> {
    let error = match fold_missed(store, projection).await {
        Ok(()) => return Ok(()),
        Err(FoldError::Store(error)) => return Err(error),
        Err(event) => event,
    };
    // Whoever stops it says since when.
    let failure = error.into_failure(DateTime::UNIX_EPOCH)?;
    let input = (Arc::clone(projection), failure);
    store
        .transaction(CATCH_UP, input, |session, (projection, failure)| {
            Box::pin(stop_at(session, projection, failure.clone()))
        })
        .await
}

/// Folds what a projection has missed, page by page in transactions of their own.
async fn fold_missed(store: &PostgresStore, projection: &Installed) -> Result<(), FoldError> {
    loop {
        let folding = Arc::clone(projection);
        let more = store
            .transaction(CATCH_UP, folding, |session, projection| {
                Box::pin(async move { fold_next_page(session, projection).await })
            })
            .await?;
        if !more {
            return Ok(());
        }
    }
}

/// Where the projection stands, if it is to be folded now: not while it is paused or outdated, and
/// not when its rows were folded from another log, which is then recorded.
///
/// `head` is the last position of the log as it was before this transaction. The record stays as
/// it is until the transaction ends, so that no swap comes between.
async fn active(
    session: &mut Session<'_>,
    projection: &Installed,
    head: Position,
) -> Result<Option<Position>, StoreError> {
    let doing = || failed("read an inline projection's checkpoint");
    let spec = projection.spec();
    let locked = session
        .sql
        .query(include_str!("../../sql/projections/lock_inline.sql"))
        .bind(&spec.name)
        .fetch_optional(&mut *session.conn)
        .await
        .map_err(doing())?;
    let Some(row) = locked else { return Ok(None) };
    let state: &str = row.try_get("state").map_err(doing())?;
    let fingerprint: &str = row.try_get("fingerprint").map_err(doing())?;
    if state != ProjectionState::Running.as_str() || fingerprint != spec.fingerprint {
        return Ok(None);
    }
    let position = record::count(row.try_get("position").map_err(doing())?);
    let position = Position::new(position);
    let event_id: Option<Uuid> = row.try_get("event_id").map_err(doing())?;
    let found: Option<Uuid> = row.try_get("found").map_err(doing())?;
    let found = found.filter(|_| position <= head);
    if position == Position::START || (found.is_some() && found == event_id) {
        return Ok(Some(position));
    }
    let now = row.try_get("now").map_err(doing())?;
    let found = found.map(EventId::new);
    Ok((!diverged(session, &spec.name, found, now).await?).then_some(position))
}

/// Records that a projection's rows were folded from another log, if they were.
async fn diverged(
    session: &mut Session<'_>,
    name: &str,
    found: Option<EventId>,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let Some(Stored { record, .. }) = record::one(session, name).await? else {
        return Ok(false);
    };
    let Some(failure) = record.divergence(found, now) else {
        return Ok(false);
    };
    tracing::error!(projection = %name, message = %failure.message, "projection stopped");
    let fence = Fence {
        epoch: record.epoch,
        checkpoint: record.checkpoint.position,
    };
    record::stop(session, name, fence, ProjectionState::Diverged, &failure).await?;
    Ok(true)
}

/// Stops a projection at an event that it has missed and can't fold, unless somebody has come past
/// that since.
pub(crate) async fn stop_at(
    session: &mut Session<'_>,
    projection: &Installed,
    failure: Failure,
) -> Result<(), StoreError> {
    record::locked(session, &projection.spec().name).await?;
    let head = events::head(session).await?;
    let is_active = active(session, projection, head).await?.is_some();
    let name = &projection.spec().name;
    let Some(Stored { record, .. }) = record::one(session, name).await?.filter(|_| is_active)
    else {
        return Ok(());
    };
    let failure = Failure {
        since: record::now(session).await?,
        ..failure
    };
    let fence = Fence {
        epoch: record.epoch,
        checkpoint: record.checkpoint.position,
    };
    if failure.position > fence.checkpoint {
        tracing::error!(projection = %name, message = %failure.message, "projection stopped");
        record::stop(session, name, fence, ProjectionState::Failed, &failure).await?;
    }
    Ok(())
}

/// Folds one page of what is missing; false when nothing was.
pub(crate) async fn fold_next_page(
    session: &mut Session<'_>,
    projection: &Installed,
) -> Result<bool, FoldError> {
    // First of all, since an append of another process may move the checkpoint until then: beyond
    // a head that was read before, as it would be if it belonged to another log.
    record::locked(session, &projection.spec().name).await?;
    let head = events::head(session).await?;
    let Some(checkpoint) = active(session, projection, head).await? else {
        return Ok(false);
    };
    let page = events::between(session, checkpoint, head).await?;
    fold_and_move(session, projection, &page).await?;
    Ok(!page.is_empty())
}

async fn fold_between(
    session: &mut Session<'_>,
    projection: &Installed,
    mut after: Position,
    last: Position,
) -> Result<(), FoldError> {
    while after < last {
        let page = events::between(session, after, last).await?;
        let Some(event) = page.last() else {
            let doing = format!("read the events after position {after}");
            return Err(StoreError::new(StoreErrorKind::Corrupt, doing).into());
        };
        after = event.position;
        fold_and_move(session, projection, &page).await?;
    }
    Ok(())
}

async fn fold_and_move(
    session: &mut Session<'_>,
    projection: &Installed,
    events: &[StoredEvent],
) -> Result<(), FoldError> {
    let Some(last) = events.last() else {
        return Ok(());
    };
    session.pulse.beat();
    projection.fold(events, Target::Live, session).await?;
    session
        .sql
        .query(include_str!("../../sql/projections/move_inline.sql"))
        .bind(&projection.spec().name)
        .bind(record::number(last.position.get()))
        .bind(last.id.uuid())
        .bind(last.recorded_at)
        .execute(&mut *session.conn)
        .await
        .map_err(failed("move an inline projection's checkpoint"))?;
    Ok(())
}

async fn mark_inline(session: &mut Session<'_>, name: &str) -> Result<(), StoreError> {
    session
        .sql
        .query(include_str!("../../sql/projections/mark_inline.sql"))
        .bind(name)
        .execute(&mut *session.conn)
        .await
        .map_err(failed("make a projection inline"))?;
    Ok(())
}
