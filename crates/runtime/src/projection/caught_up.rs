//! Waiting until a projection has taken in an event: reading one's own writes.

use std::time::Duration;

use annals_core::{Failure, Position, ProjectionRecord, ProjectionState, Store, StoreError};
use tokio::{sync::watch, time::Instant};

use super::status::ProjectionHealth;

/// Why a projection did not get where it was waited for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaughtUpError {
    /// It did not get there in time.
    #[error("projection `{projection}` is at position {reached}, not yet at {wanted}")]
    TimedOut {
        /// The projection.
        projection: String,
        /// Up to where its rows reach.
        reached: Position,
        /// Up to where they should reach.
        wanted: Position,
    },
    /// It stopped before an event that it can't fold.
    #[error("projection `{projection}` stopped at position {}: {}", failure.position, failure.message)]
    Failed {
        /// The projection.
        projection: String,
        /// What it stopped at.
        failure: Box<Failure>,
    },
    /// An operator paused it.
    #[error("projection `{projection}` is paused; resume it first")]
    Paused {
        /// The projection.
        projection: String,
    },
    /// Its rows were written by other code.
    #[error("projection `{projection}` is outdated: its code has changed; rebuild it first")]
    Outdated {
        /// The projection.
        projection: String,
    },
    /// The log is not the one it was built from.
    #[error("projection `{projection}` does not fit the log any more; rebuild it first")]
    Diverged {
        /// The projection.
        projection: String,
    },
    /// There is no such projection.
    #[error("there is no projection `{projection}`; register it when the application is built")]
    NotRegistered {
        /// The name.
        projection: String,
    },
    /// The projection's record can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Waits until the rows of a projection reach `position`.
pub(super) async fn caught_up(
    store: &dyn Store,
    projection: &str,
    mut health: Option<watch::Receiver<ProjectionHealth>>,
    position: Position,
    timeout: Duration,
    poll: Duration,
) -> Result<(), CaughtUpError> {
    // None where it lies beyond what an instant can say: then there is no end to the waiting.
    let deadline = Instant::now().checked_add(timeout);
    let mut first = true;
    // What another process does here is noticed by asking alone, so that is done often at first.
    let mut ask = Duration::from_millis(5);
    loop {
        let mut follows = false;
        if let Some(health) = &mut health {
            let health = health.borrow_and_update();
            let running = health.state == Some(ProjectionState::Running);
            follows = running && health.held_by.is_none();
            if running && health.position >= position {
                return Ok(());
            }
        }
        // Where it runs here it will most likely be there in a moment, without asking the store.
        if !(first && follows) {
            let record = store.projection(projection).await?;
            let reached = stored(projection, record, position)?;
            if reached >= position {
                return Ok(());
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(CaughtUpError::TimedOut {
                    projection: projection.to_owned(),
                    reached,
                    wanted: position,
                });
            }
        }
        first = false;
        ask = if follows { poll } else { (ask * 2).min(poll) };
        let asks = Instant::now() + ask;
        let wake = deadline.map_or(asks, |deadline| asks.min(deadline));
        match &mut health {
            Some(health) => tokio::select! {
                biased;
                () = until(health, position) => {}
                () = tokio::time::sleep_until(wake) => {}
            },
            None => tokio::time::sleep_until(wake).await,
        }
    }
}

/// How far a stored projection reaches, unless it stands still before `position`.
fn stored(
    projection: &str,
    record: Option<ProjectionRecord>,
    position: Position,
) -> Result<Position, CaughtUpError> {
    let projection = projection.to_owned();
    let Some(record) = record else {
        return Err(CaughtUpError::NotRegistered { projection });
    };
    let reached = record.checkpoint.position;
    match (record.state, record.failure) {
        (ProjectionState::Diverged, _) => Err(CaughtUpError::Diverged { projection }),
        (ProjectionState::Outdated, _) => Err(CaughtUpError::Outdated { projection }),
        _ if reached >= position => Ok(reached),
        (ProjectionState::Paused, _) => Err(CaughtUpError::Paused { projection }),
        (ProjectionState::Failed, Some(failure)) => Err(CaughtUpError::Failed {
            projection,
            failure: Box::new(failure),
        }),
        _ => Ok(reached),
    }
}

/// Returns when the projection has reached `position` or stopped running since it was last seen.
async fn until(health: &mut watch::Receiver<ProjectionHealth>, position: Position) {
    while health.changed().await.is_ok() {
        let health = health.borrow_and_update();
        if health.position >= position || health.state != Some(ProjectionState::Running) {
            return;
        }
    }
    // The runner is gone; the stored record still tells.
    std::future::pending().await
}
