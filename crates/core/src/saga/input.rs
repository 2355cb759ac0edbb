//! What a saga has taken in, as its stream has it.

use serde_json::Value;

use super::{
    event::ReceivedEvent,
    process::{Input, ProcessManager, ReactError},
};

/// What a saga has taken in, as it is stored.
#[derive(Clone, Debug)]
pub(super) enum StoredInput {
    Started(Value),
    Event(Box<ReceivedEvent>),
    Succeeded { step: String },
    Rejected { step: String, reason: String },
    Deadline { name: String },
}

impl StoredInput {
    /// Shows the input to a process manager in its own types.
    pub(super) fn show<P: ProcessManager, R>(
        &self,
        to: impl FnOnce(&Input<'_, P::Start, P::Event>) -> R,
    ) -> Result<R, ReactError> {
        Ok(match self {
            Self::Started(start) => {
                let start: P::Start = serde_json::from_value(start.clone())?;
                to(&Input::Started(&start))
            }
            Self::Event(event) => to(&Input::Event(&event.decode()?)),
            Self::Succeeded { step } => to(&Input::Succeeded { step }),
            Self::Rejected { step, reason } => to(&Input::Rejected { step, reason }),
            Self::Deadline { name } => to(&Input::Deadline { name }),
        })
    }
}
