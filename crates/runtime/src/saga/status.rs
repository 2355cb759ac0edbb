//! How the runner of one kind of saga is doing.

use annals_core::{Position, ProjectionState};
use serde::Serialize;
use tokio::sync::watch;

/// What is known in this process about one kind of saga.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SagaHealth {
    /// The kind of saga.
    pub saga: String,
    /// The stored state of its runner, once it has been read.
    pub state: Option<ProjectionState>,
    /// Whether this process runs it; otherwise it stands by.
    pub leading: bool,
    /// Up to where the log has been taken in.
    pub position: Position,
    /// How many sagas are being worked on.
    pub working: usize,
    /// How many wait for their turn.
    pub waiting: usize,
    /// What is in the way at the moment, if anything is.
    pub problem: Option<String>,
    /// Whether the task that runs it is still there; false after a shutdown.
    pub alive: bool,
}

/// Where a runner says how it is doing.
#[derive(Clone, Debug)]
pub(super) struct SagaBoard(watch::Sender<SagaHealth>);

impl SagaBoard {
    pub(super) fn new(saga: &str) -> Self {
        Self(watch::Sender::new(SagaHealth {
            saga: saga.to_owned(),
            state: None,
            leading: false,
            position: Position::START,
            working: 0,
            waiting: 0,
            problem: None,
            alive: true,
        }))
    }

    pub(super) fn health(&self) -> SagaHealth {
        self.0.borrow().clone()
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut SagaHealth)) {
        self.0.send_if_modified(|health| {
            let before = health.clone();
            change(health);
            *health != before
        });
    }
}
