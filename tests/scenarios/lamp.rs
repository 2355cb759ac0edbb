//! The smallest aggregate that can say yes, no, and "nothing to do".

use annals::{Aggregate, Event, Id};
use serde::{Deserialize, Serialize};

#[derive(Id, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LampId(String);

#[derive(Event, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[event(category = "lamp")]
pub(crate) enum LampEvent {
    Lit,
    WentOut,
}

#[derive(Clone, Debug)]
pub(crate) enum LampCommand {
    /// Refused when the lamp burns.
    Light,
    /// Has nothing to do when the lamp is dark.
    PutOut,
    /// Always does something.
    Switch,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LampError {
    #[error("the lamp burns already")]
    Burning,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lamp {
    pub(crate) burning: bool,
    pub(crate) switched: u64,
}

impl Aggregate for Lamp {
    type Id = LampId;
    type Command = LampCommand;
    type Event = LampEvent;
    type Error = LampError;

    fn decide(&self, command: LampCommand) -> Result<Vec<LampEvent>, LampError> {
        match (command, self.burning) {
            (LampCommand::Light, true) => Err(LampError::Burning),
            (LampCommand::Light | LampCommand::Switch, false) => Ok(vec![LampEvent::Lit]),
            (LampCommand::PutOut | LampCommand::Switch, true) => Ok(vec![LampEvent::WentOut]),
            (LampCommand::PutOut, false) => Ok(Vec::new()),
        }
    }

    fn evolve(&mut self, event: &LampEvent) {
        self.burning = *event == LampEvent::Lit;
        self.switched += 1;
    }
}
