//! Projections: code that folds events into a read model.

use std::fmt;

use crate::{
    event::{EventSet, Recorded},
    read_model::ReadModel,
};

/// Folds events into the rows of a read model; pure, so that the engine can batch it, replay it
/// in parallel and test it without a database.
///
/// [`keys`](Self::keys) says which rows an event touches, [`fold`](Self::fold) turns each old
/// row into the new one. Rows and checkpoint are committed together, so each event counts once.
///
/// ```
/// use annals_core::{Event, Position, Projection, ProjectionError, ReadModel, Recorded};
/// use serde::{Deserialize, Serialize};
///
/// # #[derive(Event, Serialize, Deserialize, Clone, Debug, PartialEq)]
/// # #[event(crate = annals_core, category = "account")]
/// # enum AccountEvent { Deposited { owner: String, amount: i64 } }
/// #[derive(ReadModel)]
/// #[read_model(crate = annals_core)]
/// struct UserBalance {
///     #[key]
///     owner: String,
///     balance: i64,
/// }
///
/// impl Projection for UserBalance {
///     type Event = AccountEvent;
///
///     fn keys(event: &Recorded<AccountEvent>) -> impl IntoIterator<Item = String> {
///         match &event.event {
///             AccountEvent::Deposited { owner, .. } => [owner.clone()],
///         }
///     }
///
///     fn fold(
///         owner: &String,
///         row: Option<Self>,
///         event: &Recorded<AccountEvent>,
///     ) -> Result<Option<Self>, ProjectionError> {
///         let mut row = row.unwrap_or(Self { owner: owner.clone(), balance: 0 });
///         match &event.event {
///             AccountEvent::Deposited { amount, .. } => {
///                 row.balance = row.balance.checked_add(*amount).ok_or("the balance overflows")?;
///             }
///         }
///         Ok(Some(row))
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a projection",
    note = "implement `Projection` for the read model: `keys` names the rows an event touches, `fold` makes the new row"
)]
pub trait Projection: ReadModel {
    /// The events it takes in.
    type Event: EventSet;

    /// Raise it when `fold` changes its meaning: the rows on disk then count as outdated until
    /// the projection is rebuilt.
    const VERSION: u32 = 1;

    /// What happens with an event of a known category whose type [`Self::Event`] does not have.
    const UNKNOWN: UnknownEvents = UnknownEvents::Fail;

    /// What happens when an event can't be folded.
    const ON_FAILURE: FailurePolicy = FailurePolicy::Stop;

    /// The rows that an event touches; none when it is of no interest.
    fn keys(event: &Recorded<Self::Event>) -> impl IntoIterator<Item = Self::Key>;

    /// The new row for a key, from the old one; `None` deletes it.
    ///
    /// # Errors
    /// When the event can't be folded; what follows is up to [`Self::ON_FAILURE`].
    fn fold(
        key: &Self::Key,
        row: Option<Self>,
        event: &Recorded<Self::Event>,
    ) -> Result<Option<Self>, ProjectionError>;
}

/// What a projection does with an event type it does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnknownEvents {
    /// Treat it as a failure. The default: nothing is skipped silently.
    Fail,
    /// Go on to the next event.
    Ignore,
}

/// What a projection does with an event that can't be folded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailurePolicy {
    /// Stop before it, until somebody retries. The default.
    Stop,
    /// Put it aside, with the later events of the same stream, and go on with the others.
    Park,
}

/// Why an event could not be folded; made from a text or from any error with `?`.
pub struct ProjectionError(Box<dyn std::error::Error + Send + Sync>);

impl ProjectionError {
    /// The error with its causes, on one line.
    #[must_use]
    pub fn message(&self) -> String {
        let mut message = self.0.to_string();
        let mut source = self.0.source();
        while let Some(cause) = source {
            message.push_str(": ");
            message.push_str(&cause.to_string());
            source = cause.source();
        }
        message
    }

    /// The error it was made from, if that is an `E`.
    #[must_use]
    pub fn downcast_ref<E: std::error::Error + 'static>(&self) -> Option<&E> {
        self.0.downcast_ref()
    }
}

impl fmt::Display for ProjectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ProjectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

// Not an `Error` itself, so that this conversion can take every error (as anyhow's does).
impl<E: Into<Box<dyn std::error::Error + Send + Sync>>> From<E> for ProjectionError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}
