//! What is folded between two commits, and what becomes of an event that can't be folded.

use std::{collections::HashSet, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use annals_core::{
    Checkpoint, Clock, CommitError, Failure, FailurePolicy, Fence, FoldError, Page, ParkedEvent,
    Position, Projector, RebuildError, Step, StoredEvent, StreamName, SwapRequest, Swapped,
};
use futures_util::FutureExt;
use tokio::time::Instant;
use tracing::Instrument;

use super::rows::panic_message;

/// How long a failing event keeps batches small; failing events seldom come alone.
const CAREFUL_COMMITS: u32 = 100;

/// Who folds, and by which rules.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    pub(super) projection: String,
    pub(super) owner: String,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) on_failure: FailurePolicy,
}

/// When a batch is large enough to be committed.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchLimits {
    pub(super) events: u64,
    pub(super) rows: usize,
    pub(super) age: Duration,
}

/// Folds pages into one table, and commits them with the checkpoint.
///
/// A failing event undoes the batch: [`reached`](Self::reached) goes back to the last commit. The
/// caller goes on from there, the batch is folded again up to the failing event, and only then,
/// with everything before it committed, the event is parked or handed out as a failure.
#[derive(Debug)]
pub(super) struct Batch {
    folder: Folder,
    projector: Box<dyn Projector>,
    epoch: u64,
    committed: Checkpoint,
    reached: Checkpoint,
    parked: HashSet<StreamName>,
    park: Vec<ParkedEvent>,
    failing: Option<Failing>,
    /// An event has failed, so that little should be at stake: so many more times a commit
    /// follows every page.
    careful: u32,
    since: Instant,
}

#[derive(Clone, Debug)]
struct Failing {
    position: Position,
    message: String,
    /// Whether this is the event that failed, or only one at or before it.
    exact: bool,
}

impl Batch {
    pub(super) fn new(
        folder: Folder,
        projector: Box<dyn Projector>,
        epoch: u64,
        checkpoint: Checkpoint,
        parked: HashSet<StreamName>,
    ) -> Self {
        Self {
            folder,
            projector,
            epoch,
            committed: checkpoint,
            reached: checkpoint,
            parked,
            park: Vec::new(),
            failing: None,
            careful: 0,
            since: Instant::now(),
        }
    }

    /// Up to where events are folded: where the next page begins.
    pub(super) fn reached(&self) -> Position {
        self.reached.position
    }

    /// The same, with the event that stands there.
    pub(super) fn reached_event(&self) -> Checkpoint {
        self.reached
    }

    /// Up to where they are committed.
    pub(super) fn committed(&self) -> Checkpoint {
        self.committed
    }

    /// What must hold at the next commit.
    pub(super) fn fence(&self) -> Fence {
        Fence {
            epoch: self.epoch,
            checkpoint: self.committed.position,
        }
    }

    pub(super) fn projection(&self) -> &str {
        &self.folder.projection
    }

    pub(super) fn decoder(&self) -> fn(&Page) {
        self.projector.decoder()
    }

    /// Whether the batch is large enough to be committed.
    pub(super) fn is_due(&self, limits: &BatchLimits) -> bool {
        let events = self.reached.position.get() - self.committed.position.get();
        let rows = self.projector.pending().saturating_add(self.park.len());
        events > 0
            && (self.careful > 0
                || events >= limits.events
                || rows >= limits.rows
                || self.since.elapsed() >= limits.age)
    }

    /// Folds a page from index `start` on, or as much of it as can be folded.
    ///
    /// Answers the failure that the projection must stop at, with everything before it committed.
    pub(super) async fn take(
        &mut self,
        page: &Page,
        start: usize,
    ) -> Result<Option<Failure>, CommitError> {
        let Some(events) = page.events().get(start..) else {
            return Ok(None);
        };
        let sound = match &self.failing {
            Some(failing) => events.partition_point(|event| event.position < failing.position),
            None => events.len(),
        };
        match (events.get(..sound).unwrap_or_default(), events.first()) {
            ([], Some(event)) => self.settle(event).await,
            (sound, _) => self.fold(page, start, sound).await.map(|()| None),
        }
    }

    async fn fold(
        &mut self,
        page: &Page,
        start: usize,
        events: &[StoredEvent],
    ) -> Result<(), CommitError> {
        let Some(last) = events.last() else {
            return Ok(());
        };
        let range = start..start + events.len();
        let folded = AssertUnwindSafe(self.projector.fold(page, range, &self.parked))
            .catch_unwind()
            .await;
        match folded {
            Ok(Ok(())) => {}
            Ok(Err(FoldError::Event {
                position, message, ..
            })) => {
                self.undo(position, message, true).await;
                return Ok(());
            }
            Ok(Err(error)) => return Err(error.into()),
            Err(panic) => {
                let message = panic_message(panic.as_ref());
                self.undo(self.reached.position.next(), message, false)
                    .await;
                return Ok(());
            }
        }
        if !self.parked.is_empty() {
            self.park_followers(events);
        }
        self.reached = checkpoint_at(last);
        Ok(())
    }

    /// Puts aside the events of streams that have one put aside already.
    fn park_followers(&mut self, events: &[StoredEvent]) {
        let now = self.folder.clock.now();
        let followers = events
            .iter()
            .filter(|event| self.parked.contains(&event.stream));
        self.park.extend(followers.map(|event| ParkedEvent {
            stream: event.stream.clone(),
            position: event.position,
            message: "an earlier event of this stream is parked".to_owned(),
            since: now,
        }));
    }

    async fn undo(&mut self, failing: Position, message: String, exact: bool) {
        self.projector.reset().await;
        self.park.clear();
        self.careful = CAREFUL_COMMITS;
        self.reached = self.committed;
        self.failing = Some(Failing {
            // A failure outside the batch would never be reached.
            position: failing.max(self.committed.position.next()),
            message,
            exact,
        });
    }

    /// Everything before the failing event is folded: parks it, or hands it out.
    async fn settle(&mut self, event: &StoredEvent) -> Result<Option<Failure>, CommitError> {
        let Some(failing) = self.failing.take() else {
            return Ok(None);
        };
        let since = self.folder.clock.now();
        if failing.exact && self.folder.on_failure == FailurePolicy::Park {
            self.parked.insert(event.stream.clone());
            self.park.push(ParkedEvent {
                stream: event.stream.clone(),
                position: event.position,
                message: failing.message,
                since,
            });
            self.reached = checkpoint_at(event);
            return self.commit().await.map(|()| None);
        }
        self.commit().await?;
        if self.failing.is_some() {
            return Ok(None); // an earlier event fails as well, now that it is to be committed
        }
        Ok(Some(Failure {
            position: event.position,
            event_type: event.event_type.as_str().to_owned(),
            stream: event.stream.as_str().to_owned(),
            message: failing.message,
            since,
        }))
    }

    /// Commits what was folded, if anything was.
    pub(super) async fn commit(&mut self) -> Result<(), CommitError> {
        self.since = Instant::now();
        if self.reached == self.committed {
            return Ok(());
        }
        let step = self.step(self.reached, Vec::new());
        let span = tracing::debug_span!(
            "annals.projection.commit",
            projection = %self.folder.projection,
            from = self.committed.position.get(),
            to = self.reached.position.get(),
            rows = self.projector.pending(),
        );
        match self.projector.commit(step).instrument(span).await {
            Ok(()) => {
                self.committed = self.reached;
                self.careful = self.careful.saturating_sub(1);
                Ok(())
            }
            Err(CommitError::Fold(FoldError::Event {
                position, message, ..
            })) => {
                self.undo(position, message, true).await;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn step(&mut self, checkpoint: Checkpoint, unpark: Vec<Position>) -> Step {
        Step {
            fence: self.fence(),
            checkpoint,
            park: std::mem::take(&mut self.park),
            unpark,
            now: self.folder.clock.now(),
        }
    }

    /// Folds and commits one parked event out of its turn; answers why it fails again, if it does.
    pub(super) async fn unpark(
        &mut self,
        page: &Page,
        index: usize,
        event: &ParkedEvent,
    ) -> Result<Option<String>, CommitError> {
        let nothing_parked = HashSet::new();
        let fold = self.projector.fold(page, index..index + 1, &nothing_parked);
        let folded = match AssertUnwindSafe(fold).catch_unwind().await {
            Ok(Ok(())) => {
                let step = self.step(self.committed, vec![event.position]);
                self.projector.commit(step).await
            }
            Ok(Err(error)) => Err(error.into()),
            Err(panic) => {
                self.projector.reset().await;
                return Ok(Some(panic_message(panic.as_ref())));
            }
        };
        match folded {
            Ok(()) => Ok(None),
            Err(CommitError::Fold(FoldError::Event { message, .. })) => {
                self.projector.reset().await;
                Ok(Some(message))
            }
            Err(error) => Err(error),
        }
    }

    /// Commits why a parked event stays parked.
    pub(super) async fn park_again(&mut self, event: ParkedEvent) -> Result<(), CommitError> {
        self.park.push(event);
        let step = self.step(self.committed, Vec::new());
        self.projector.commit(step).await
    }

    /// Puts the table in the live one's place.
    pub(super) async fn swap(&mut self, request: SwapRequest) -> Result<Swapped, RebuildError> {
        self.projector.swap(request).await
    }
}

/// The checkpoint of who has taken in everything up to this event.
pub(super) fn checkpoint_at(event: &StoredEvent) -> Checkpoint {
    Checkpoint {
        position: event.position,
        event_id: Some(event.id),
    }
}
