//! One step of a projection: rows, parked events and checkpoint, in one transaction.

use annals_core::{Commit, CommitError, ParkedEvent, Position, Step, StoreError, Target};
use sqlx::SqliteConnection;

use super::{parked, record, rows};
use crate::error::failed;

/// Commits a step, once the caller commits the transaction.
pub(crate) async fn commit(conn: &mut SqliteConnection, commit: Commit) -> Result<(), CommitError> {
    let step = Step {
        fence: commit.fence,
        checkpoint: commit.checkpoint,
        park: commit.park,
        unpark: commit.unpark,
        now: commit.now,
    };
    advance(conn, &commit.projection, commit.target, &step).await?;
    if let Some((table, changes)) = commit.rows {
        rows::write(conn, &table, commit.target, changes).await?;
    }
    Ok(())
}

/// Everything about a step but the rows: the fence, the checkpoint and the parked events.
pub(crate) async fn advance(
    conn: &mut SqliteConnection,
    projection: &str,
    target: Target,
    step: &Step,
) -> Result<(), CommitError> {
    let moved = match target {
        Target::Live => move_live(conn, projection, step).await?,
        Target::Rebuild => move_rebuild(conn, projection, step).await?,
    };
    if !moved {
        return Err(CommitError::Fenced {
            projection: projection.to_owned(),
        });
    }
    park(conn, projection, target, &step.park, &step.unpark).await?;
    Ok(())
}

async fn move_live(
    conn: &mut SqliteConnection,
    projection: &str,
    step: &Step,
) -> Result<bool, StoreError> {
    let moved = sqlx::query(include_str!("../../sql/projections/move_live.sql"))
        .bind(projection)
        .bind(record::number(step.fence.epoch))
        .bind(record::number(step.fence.checkpoint.get()))
        .bind(record::number(step.checkpoint.position.get()))
        .bind(step.checkpoint.event_id.map(|id| id.to_string()))
        .bind(record::time(step.now))
        .execute(conn)
        .await
        .map_err(failed("move a checkpoint"))?;
    Ok(moved.rows_affected() > 0)
}

async fn move_rebuild(
    conn: &mut SqliteConnection,
    projection: &str,
    step: &Step,
) -> Result<bool, StoreError> {
    let moved = sqlx::query(include_str!("../../sql/projections/move_rebuild.sql"))
        .bind(projection)
        .bind(record::number(step.fence.epoch))
        .bind(record::number(step.fence.checkpoint.get()))
        .bind(record::number(step.checkpoint.position.get()))
        .bind(step.checkpoint.event_id.map(|id| id.to_string()))
        .execute(conn)
        .await
        .map_err(failed("move a rebuild's checkpoint"))?;
    Ok(moved.rows_affected() > 0)
}

async fn park(
    conn: &mut SqliteConnection,
    projection: &str,
    target: Target,
    park: &[ParkedEvent],
    unpark: &[Position],
) -> Result<(), StoreError> {
    for position in unpark {
        parked::take_back(conn, projection, target, *position).await?;
    }
    for event in park {
        parked::put_aside(conn, projection, target, event).await?;
    }
    Ok(())
}
