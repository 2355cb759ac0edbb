//! How a projection of this process is doing.

use annals_core::{Position, ProjectionRecord, ProjectionSpec, ProjectionState};
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
    /// The other process that runs it at present; this one stands by, to go on when that one
    /// ends.
    pub held_by: Option<String>,
    /// Why it makes no progress at the moment, if it does not.
    pub problem: Option<String>,
    /// Whether the task that drives it is still there; false after a shutdown.
    pub alive: bool,
}

/// Where a runner says how it is doing.
#[derive(Clone, Debug)]
pub(super) struct StatusBoard {
    health: watch::Sender<ProjectionHealth>,
    fingerprint: String,
}

impl StatusBoard {
    pub(super) fn new(spec: &ProjectionSpec) -> (Self, watch::Receiver<ProjectionHealth>) {
        let (health, receiver) = watch::channel(ProjectionHealth {
            projection: spec.name.clone(),
            state: None,
            position: Position::START,
            held_by: None,
            problem: None,
            alive: true,
        });
        let fingerprint = spec.fingerprint.clone();
        let board = Self {
            health,
            fingerprint,
        };
        (board, receiver)
    }

    /// The projection's record has been read.
    pub(super) fn read(&self, record: &ProjectionRecord) {
        let failure = record.failure.as_ref();
        let mut problem = failure.map(|failure| failure.message.clone());
        if record.state == ProjectionState::Running && record.fingerprint != self.fingerprint {
            problem = Some(
                "its table was built by other code, which alone can keep it up to date: run that, \
                 or restart this program and rebuild the projection"
                    .to_owned(),
            );
        }
        self.update(|health| {
            health.state = Some(record.state);
            health.position = record.checkpoint.position;
            health.problem = problem;
        });
    }

    /// It is this process that runs it, from now on.
    pub(super) fn leads(&self) {
        self.update(|health| health.held_by = None);
    }

    /// Another process runs it.
    pub(super) fn stands_by(&self, owner: &str) {
        self.update(|health| health.held_by = Some(owner.to_owned()));
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
        self.health.send_if_modified(|health| {
            let before = health.clone();
            change(health);
            *health != before
        });
    }
}
