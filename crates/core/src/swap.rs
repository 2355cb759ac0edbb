//! What every store decides alike when a rebuilt table takes the live one's place.

use chrono::{DateTime, Utc};

use crate::{
    event::StoredEvent,
    order::Position,
    projection_store::{Checkpoint, ParkedEvent, ProjectionRecord, RebuildError, SwapRequest},
};

/// How many missing events a swap folds itself, while it holds up others.
pub const MAX_BEHIND: u64 = 10_000;

impl SwapRequest {
    /// Up to where the rebuilt table reaches, if the request's fence holds.
    ///
    /// # Errors
    /// [`RebuildError::Fenced`] when it does not.
    pub fn begun(&self, record: &ProjectionRecord) -> Result<Checkpoint, RebuildError> {
        record
            .rebuild
            .as_ref()
            .filter(|rebuild| rebuild.epoch == self.fence.epoch)
            .map(|rebuild| rebuild.checkpoint)
            .filter(|checkpoint| checkpoint.position == self.fence.checkpoint)
            .ok_or_else(|| RebuildError::Fenced {
                projection: self.spec.name.clone(),
            })
    }
}

impl ProjectionRecord {
    /// Up to where a table has to reach before it takes the live one's place, in a log that ends
    /// at `head`. A checkpoint beyond the head belongs to another log.
    #[must_use]
    pub fn swap_target(&self, head: Position) -> Position {
        if self.inline {
            head
        } else {
            head.min(self.checkpoint.position)
        }
    }
}

/// Refuses a swap that would hold up others for long.
///
/// # Errors
/// [`RebuildError::Behind`] when more than [`MAX_BEHIND`] events are missing.
pub fn must_be_close(checkpoint: Position, target: Position) -> Result<(), RebuildError> {
    if target.get().saturating_sub(checkpoint.get()) > MAX_BEHIND {
        return Err(RebuildError::Behind { checkpoint, target });
    }
    Ok(())
}

/// Parts the events that are to be folded from those of streams with a parked event, which are
/// parked as well.
#[must_use]
pub fn part_followers(
    events: Vec<StoredEvent>,
    parked: &[ParkedEvent],
    now: DateTime<Utc>,
) -> (Vec<StoredEvent>, Vec<ParkedEvent>) {
    let (followers, others): (Vec<_>, Vec<_>) = events
        .into_iter()
        .partition(|event| parked.iter().any(|parked| parked.stream == event.stream));
    let aside = followers.iter().map(|event| ParkedEvent {
        stream: event.stream.clone(),
        position: event.position,
        message: "an earlier event of this stream is parked".to_owned(),
        since: now,
    });
    (others, aside.collect())
}
