//! One step of a projection: rows, parked events and checkpoint, in one transaction.

use annals_core::{Commit, CommitError, Fence, Step, StoreError, Target};
use sqlx::{Postgres, postgres::PgArguments, query::Query};

use super::{parked, record, rows};
use crate::{error::failed, transaction::Session};

/// Commits a step, once the caller commits the transaction.
///
/// A rebuild's record is locked after the rows have been sent: a process that is stopped while it
/// sends them would keep it locked, and everybody else out, for as long as it is stopped.
pub(crate) async fn commit(session: &mut Session<'_>, commit: &Commit) -> Result<(), CommitError> {
    let step = Step {
        fence: commit.fence,
        checkpoint: commit.checkpoint,
        park: commit.park.clone(),
        unpark: commit.unpark.clone(),
        now: commit.now,
    };
    let (projection, target) = (&commit.projection, commit.target);
    if target == Target::Rebuild && commit.rows.is_some() {
        // Only to spare the work: what counts is that it still stands there in the end.
        look_at_rebuild(session, projection, commit.fence).await?;
    } else {
        advance(session, projection, target, &step).await?;
    }
    let Some((table, changes)) = &commit.rows else {
        return Ok(());
    };
    if target == Target::Live {
        return Ok(rows::write(session, table, target, changes.clone()).await?);
    }
    rows::write_rebuilt(session, table, changes.clone()).await?;
    advance(session, projection, target, &step).await
}

/// Refuses a rebuild that somebody else has taken over.
async fn look_at_rebuild(
    session: &mut Session<'_>,
    projection: &str,
    fence: Fence,
) -> Result<(), CommitError> {
    let stands = session
        .sql
        .query_scalar(include_str!("../../sql/projections/look_at_rebuild.sql"))
        .bind(projection)
        .bind(record::number(fence.epoch))
        .bind(record::number(fence.checkpoint.get()))
        .fetch_one(&mut *session.conn)
        .await
        .map_err(failed("look at a rebuild"))?;
    if stands {
        return Ok(());
    }
    Err(CommitError::Fenced {
        projection: projection.to_owned(),
    })
}

/// Everything about a step but the rows: the fence, the checkpoint and the parked events.
pub(crate) async fn advance(
    session: &mut Session<'_>,
    projection: &str,
    target: Target,
    step: &Step,
) -> Result<(), CommitError> {
    let moved = match target {
        Target::Live => {
            let file = include_str!("../../sql/projections/move_live.sql");
            execute(
                session,
                fenced(session, file, projection, step).bind(step.now),
            )
            .await?
        }
        Target::Rebuild => {
            let file = include_str!("../../sql/projections/move_rebuild.sql");
            execute(session, fenced(session, file, projection, step)).await?
        }
    };
    if !moved {
        return Err(CommitError::Fenced {
            projection: projection.to_owned(),
        });
    }
    parked::take_back(session, projection, target, &step.unpark).await?;
    parked::put_aside(session, projection, target, &step.park).await?;
    Ok(())
}

fn fenced(
    session: &Session<'_>,
    file: &'static str,
    projection: &str,
    step: &Step,
) -> Query<'static, Postgres, PgArguments> {
    session
        .sql
        .query(file)
        .bind(projection.to_owned())
        .bind(record::number(step.fence.epoch))
        .bind(record::number(step.fence.checkpoint.get()))
        .bind(record::number(step.checkpoint.position.get()))
        .bind(step.checkpoint.event_id.map(|id| id.uuid()))
}

async fn execute(
    session: &mut Session<'_>,
    query: Query<'static, Postgres, PgArguments>,
) -> Result<bool, StoreError> {
    let moved = query.execute(&mut *session.conn).await;
    let moved = moved.map_err(failed("move a checkpoint"))?;
    Ok(moved.rows_affected() > 0)
}
