//! How a projection of this process is doing.

use annals_core::{Position, ProjectionRecord, ProjectionState};
use serde::Serialize;
use tokio::sync::watch;

/// What is known in this process about one of its projections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProjectionHealth {
    /// The projection.
    pub projection: String,
    /// Its stored state, once it has been read.
    pub state: Option<ProjectionState>,
    /// Up to where its rows reach.
    pub position: Position,
    /// Why it makes no progress at the moment, if it does not.
    pub problem: Option<String>,
    /// Whether the task that drives it is still there; false after a shutdown.
    pub alive: bool,
}

/// Where a runner says how it is doing.
#[derive(Clone, Debug)]
pub(super) struct StatusBoard(watch::Sender<ProjectionHealth>);

impl StatusBoard {
    pub(super) fn new(projection: &str) -> (Self, watch::Receiver<ProjectionHealth>) {
        let (sender, receiver) = watch::channel(ProjectionHealth {
            projection: projection.to_owned(),
            state: None,
            position: Position::START,
            problem: None,
            alive: true,
        });
        (Self(sender), receiver)
    }

    /// The projection's record has been read.
    pub(super) fn read(&self, record: &ProjectionRecord) {
        self.update(|health| {
            health.state = Some(record.state);
            health.position = record.checkpoint.position;
            health.problem = record
                .failure
                .as_ref()
                .map(|failure| failure.message.clone());
        });
    }

    /// A batch has been committed.
    pub(super) fn reached(&self, position: Position) {
        self.update(|health| {
            health.position = position;
            health.problem = None;
        });
    }

    /// Something is in the way.
    pub(super) fn problem(&self, message: String) {
        self.update(|health| health.problem = Some(message));
    }

    /// The task ends.
    pub(super) fn ended(&self) {
        self.update(|health| health.alive = false);
    }

    fn update(&self, change: impl FnOnce(&mut ProjectionHealth)) {
        self.0.send_if_modified(|health| {
            let before = health.clone();
            change(health);
            *health != before
        });
    }
}
