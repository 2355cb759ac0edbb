//! Invariants of the application, for `store verify`.

use annals_core::{Position, StoredEvent};
use annals_runtime::App;
use async_trait::async_trait;
use serde::Serialize;

use crate::error::CliError;

/// An invariant of the application that `store verify` feeds with every event of the log.
///
/// A check sees the events in order, from the first on, and says what is wrong with them. It may
/// also compare what it has gathered with a read model.
#[async_trait]
pub trait LogCheck: Send {
    /// What it checks, for the report: `money is conserved`.
    fn name(&self) -> &str;

    /// Called before the first event.
    ///
    /// # Errors
    /// When the store can't be read; that ends the whole verification.
    async fn begin(&mut self, _app: &App) -> Result<(), CliError> {
        Ok(())
    }

    /// Takes in one event, and tells what is wrong, if anything is.
    fn event(&mut self, event: &StoredEvent) -> Option<String>;

    /// Called after the last event; answers what is wrong with the whole.
    ///
    /// # Errors
    /// When the store can't be read; that ends the whole verification.
    async fn end(&mut self, _app: &App) -> Result<Vec<Problem>, CliError> {
        Ok(Vec::new())
    }

    /// Asked for after the end; what else there is to say, sound or not: `nothing in flight`.
    fn note(&self) -> Option<String> {
        None
    }
}

/// Something that `store verify` found wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// What was checked.
    pub check: String,
    /// The event it is about, if it is about one.
    pub position: Option<Position>,
    /// What is wrong.
    pub message: String,
}

impl Problem {
    /// A problem with the event at a position.
    pub fn at(check: &str, position: Position, message: impl Into<String>) -> Self {
        Self {
            check: check.to_owned(),
            position: Some(position),
            message: message.into(),
        }
    }

    /// A problem with no event in particular.
    pub fn new(check: &str, message: impl Into<String>) -> Self {
        Self {
            check: check.to_owned(),
            position: None,
            message: message.into(),
        }
    }
}
