//! Inline projections that have missed too much to be folded together with a batch.

use annals_core::{Failure, FoldError, StoreError};
use chrono::DateTime;
use tokio::time::timeout;

use super::{
    commit::{DOING, PATIENCE, check_alive},
    task::Writer,
};
use crate::{
    error::{failed, silent},
    projections::inline::{Installed, fold_next_page, stop_at},
    pulse::UNWATCHED,
    transaction::Session,
};

/// Folds what a projection has missed, page by page in transactions of their own and without the
/// append lock, so that other processes get their turn. An event that can't be folded stops the
/// projection: it was appended without it, so nobody who appends now can do anything about it.
pub(super) async fn catch_up(
    writer: &mut Writer,
    projection: &Installed,
) -> Result<(), StoreError> {
    loop {
        match step(writer, projection, None).await {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(FoldError::Store(error)) => return Err(error),
            Err(event) => {
                // Whoever stops it says since when.
                let failure = event.into_failure(DateTime::UNIX_EPOCH)?;
                return match step(writer, projection, Some(failure)).await {
                    Ok(_) => Ok(()),
                    Err(FoldError::Store(error)) => Err(error),
                    Err(event) => Err(failed(DOING)(sqlx::Error::Protocol(event.to_string()))),
                };
            }
        }
    }
}

/// Folds a page, or stops the projection at an event, in a transaction of its own; false when there
/// is no more to do. The connection is given up unless all ends cleanly.
async fn step(
    writer: &mut Writer,
    projection: &Installed,
    stop: Option<Failure>,
) -> Result<bool, FoldError> {
    let mut conn = writer.link.take().await?;
    let sql = writer.link.sql.clone();
    let patience = writer.lock_timeout.saturating_add(PATIENCE);
    let begun = timeout(PATIENCE, writer.link.begin(&mut conn)).await;
    let mut transaction = begun.map_err(|_| silent(DOING))?.map_err(failed(DOING))?;
    let mut session = Session {
        conn: &mut transaction,
        sql: &sql,
        pulse: &UNWATCHED,
    };
    let work = async {
        let more = match stop {
            None => fold_next_page(&mut session, projection).await?,
            Some(failure) => stop_at(&mut session, projection, failure)
                .await
                .map(|()| false)?,
        };
        check_alive(&mut session).await?;
        Ok(more)
    };
    let done = timeout(patience, work).await;
    let Ok(done) = done else {
        return Err(silent(DOING).into());
    };
    let ended = match done {
        Ok(_) => timeout(PATIENCE, transaction.commit()).await,
        Err(_) => timeout(PATIENCE, transaction.rollback()).await,
    };
    match ended {
        Ok(Ok(())) => writer.link.put(conn),
        Ok(Err(error)) if done.is_ok() => return Err(failed(DOING)(error).into()),
        Err(_) if done.is_ok() => return Err(silent(DOING).into()),
        Ok(Err(_)) | Err(_) => {}
    }
    done
}
