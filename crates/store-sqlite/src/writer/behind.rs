//! Inline projections that have missed too much to be folded together with a batch.

use annals_core::{FoldError, StoreError};

use super::Writer;
use crate::projections::inline::{Installed, fold_next_page, stop_at};

const DOING: &str = "let an inline projection catch up";

/// Folds what a projection has missed, page by page in transactions of their own, so that other
/// processes get their turn. An event that can't be folded stops the projection: it was appended
/// without it, so nobody who appends now can do anything about it.
pub(super) async fn catch_up(
    writer: &mut Writer,
    projection: &Installed,
) -> Result<(), StoreError> {
    loop {
        let conn = writer.begin(DOING).await?;
        match fold_next_page(conn, projection).await {
            Ok(more) => {
                writer.commit(DOING).await?;
                if !more {
                    return Ok(());
                }
            }
            Err(error) => {
                writer.roll_back().await;
                return stop(writer, projection, error).await;
            }
        }
    }
}

async fn stop(
    writer: &mut Writer,
    projection: &Installed,
    error: FoldError,
) -> Result<(), StoreError> {
    if let FoldError::Store(error) = error {
        return Err(error);
    }
    let conn = writer.begin(DOING).await?;
    let stopped = stop_at(conn, projection, error).await;
    match stopped {
        Ok(()) => writer.commit(DOING).await,
        Err(_) => {
            writer.roll_back().await;
            stopped
        }
    }
}
