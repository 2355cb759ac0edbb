//! What a rebuild tells those who watch it.

use std::time::Duration;

use annals_core::{Differences, Position};
use serde::Serialize;
use tokio::{sync::watch, time::Instant};

/// How often progress is reported.
const INTERVAL: Duration = Duration::from_millis(100);

/// What a rebuild is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RebuildPhase {
    /// It waits for the lease of another one that seems to have been killed.
    Waiting,
    /// It folds the log into the new table.
    Folding,
    /// It compares the tables, if asked to, and swaps them.
    Swapping,
}

/// How far a rebuild has come.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Progress {
    /// What it is doing.
    pub phase: RebuildPhase,
    /// Up to where events are folded.
    pub position: Position,
    /// Up to where they are to be folded; it moves on as the log grows.
    pub target: Position,
    /// How many events a second have been folded since the rebuild began or was resumed.
    pub events_per_second: f64,
    /// How long the rest takes at this speed, once there is one.
    pub remaining: Option<Duration>,
}

/// What a rebuild brought about.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RebuildSummary {
    /// The projection.
    pub projection: String,
    /// How many events this run folded.
    pub events: u64,
    /// How many rows the new table has.
    pub rows: u64,
    /// How long this run took.
    pub seconds: f64,
    /// What the comparison with the old table found, where one was asked for and possible.
    pub differences: Option<Differences>,
    /// Whether it went on from where an earlier one stopped.
    pub resumed: bool,
    /// Up to where the new table reached when it was swapped in.
    pub checkpoint: Position,
}

/// Reports progress, though not more often than anybody can read.
#[derive(Debug)]
pub(super) struct Reporter {
    news: watch::Sender<Option<Progress>>,
    started: Instant,
    reported: Option<Instant>,
    events: u64,
}

impl Reporter {
    pub(super) fn new(news: watch::Sender<Option<Progress>>) -> Self {
        Self {
            news,
            started: Instant::now(),
            reported: None,
            events: 0,
        }
    }

    /// Starts the clock that speed is measured by.
    pub(super) fn begin(&mut self) {
        self.started = Instant::now();
    }

    /// So many more events have been folded.
    pub(super) fn folded(&mut self, events: u64, position: Position, target: Position) {
        self.events += events;
        let due = self.reported.is_none_or(|at| at.elapsed() >= INTERVAL);
        if due || position >= target {
            self.enter(RebuildPhase::Folding, position, target);
        }
    }

    /// A phase begins or goes on.
    pub(super) fn enter(&mut self, phase: RebuildPhase, position: Position, target: Position) {
        self.reported = Some(Instant::now());
        let seconds = self.started.elapsed().as_secs_f64();
        let speed = match seconds > 0.0 {
            #[expect(clippy::cast_precision_loss, reason = "shown to people")]
            true => self.events as f64 / seconds,
            false => 0.0,
        };
        let left = target.get().saturating_sub(position.get());
        self.news.send_replace(Some(Progress {
            phase,
            position,
            target,
            events_per_second: speed,
            #[expect(clippy::cast_precision_loss, reason = "an estimate")]
            remaining: (speed > 0.0)
                .then(|| Duration::try_from_secs_f64(left as f64 / speed).ok())
                .flatten(),
        }));
    }

    /// Whether nobody waits for the rebuild any more.
    pub(super) fn is_alone(&self) -> bool {
        self.news.is_closed()
    }

    /// How many events have been folded.
    pub(super) fn events(&self) -> u64 {
        self.events
    }
}
