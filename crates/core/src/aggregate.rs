//! Aggregates: state that decides.

use crate::{event::Event, id::Id};

/// State that decides: a pure function from command to events, and one from event to state.
///
/// Both functions are synchronous and see nothing but their arguments. What a decision needs
/// from outside (the time, a price, another aggregate's answer) arrives in the command. A
/// command may be decided more than once, when another one got in between, so deciding must
/// have no side effect.
///
/// The state starts as `Default::default()`, which stands for "nothing happened yet".
///
/// ```
/// use annals_core::{Aggregate, Event, Id};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Id, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
/// #[id(crate = annals_core)]
/// struct LampId(String);
///
/// #[derive(Event, Serialize, Deserialize, Clone, Debug, PartialEq)]
/// #[event(crate = annals_core, category = "lamp")]
/// enum LampEvent { Lit, PutOut }
///
/// #[derive(Clone, Debug)]
/// enum LampCommand { Light, PutOut }
///
/// #[derive(Debug, PartialEq, thiserror::Error)]
/// enum LampError { #[error("the lamp is burning already")] Burning }
///
/// #[derive(Clone, Debug, Default)]
/// struct Lamp { burning: bool }
///
/// impl Aggregate for Lamp {
///     type Id = LampId;
///     type Command = LampCommand;
///     type Event = LampEvent;
///     type Error = LampError;
///
///     fn decide(&self, command: LampCommand) -> Result<Vec<LampEvent>, LampError> {
///         match command {
///             LampCommand::Light if self.burning => Err(LampError::Burning),
///             LampCommand::Light => Ok(vec![LampEvent::Lit]),
///             LampCommand::PutOut if self.burning => Ok(vec![LampEvent::PutOut]),
///             LampCommand::PutOut => Ok(vec![]), // it is dark as it is: nothing happens
///         }
///     }
///
///     fn evolve(&mut self, event: &LampEvent) {
///         self.burning = *event == LampEvent::Lit;
///     }
/// }
///
/// assert_eq!(Lamp::default().decide(LampCommand::Light), Ok(vec![LampEvent::Lit]));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an aggregate",
    note = "implement `Aggregate` for it: `decide` turns a command into events, `evolve` applies one event"
)]
pub trait Aggregate: Default + Clone + Send + Sync + 'static {
    /// Identifies an instance; with the event's category it names the stream.
    type Id: Id;
    /// What the aggregate can be asked to do.
    type Command: Clone + Send + Sync + 'static;
    /// What can happen to it.
    type Event: Event;
    /// Why it may say no. It reaches the caller untouched.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Decides what happens, without changing anything.
    ///
    /// No events means that the command was fine and had nothing to do.
    ///
    /// # Errors
    /// When the command is not allowed in this state.
    fn decide(&self, command: Self::Command) -> Result<Vec<Self::Event>, Self::Error>;

    /// Applies one event that happened.
    fn evolve(&mut self, event: &Self::Event);
}
