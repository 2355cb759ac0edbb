//! From a cause to what is appended next: the pure heart of the saga engine.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
};

use chrono::{DateTime, SubsecRound as _, Utc};
use serde_json::Value;

use super::{
    actions::Actions,
    event::{ReceivedEvent, SagaEvent},
    input::StoredInput,
    instance::{Instance, Outstanding},
    ledger::{Ledger, later, recalled},
    process::{ProcessManager, ReactError},
    status::SagaStatus,
};
use crate::id::CommandId;

/// What a saga has to deal with.
#[derive(Clone, Debug, PartialEq)]
pub enum Cause {
    /// It is asked to start.
    Start(Value),
    /// An event is for it.
    Event(Box<ReceivedEvent>),
    /// A command was carried out.
    Succeeded {
        /// Which one.
        step: String,
        /// Its id, as another command may have been sent under that name since.
        command_id: CommandId,
        /// Up to where the log holds what it brought about.
        position: crate::order::Position,
    },
    /// An aggregate refused a command.
    Refused {
        /// Which one.
        step: String,
        /// Its id, as another command may have been sent under that name since.
        command_id: CommandId,
        /// What the aggregate said.
        reason: String,
        /// Whether sending it again can help.
        again: bool,
    },
    /// A command that was to be taken back.
    TakenBack {
        /// Which one.
        step: String,
        /// Its id, as another command may have been sent under that name since.
        command_id: CommandId,
    },
    /// A command can't even be sent, for a reason that an operator has to solve.
    Unsendable {
        /// Which one.
        step: String,
        /// Its id, as another command may have been sent under that name since.
        command_id: CommandId,
        /// Why.
        reason: String,
    },
    /// The time of a deadline may have come.
    Due {
        /// Which one.
        name: String,
    },
}

/// What an operator does to a saga.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Lets a stuck one try again.
    Retry,
    /// Gives it up, as it is.
    Abandon {
        /// Why.
        reason: String,
    },
}

/// Why an operator's wish makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// Only a stuck saga can be retried.
    #[error("it is {0}; only a stuck saga can be retried")]
    NotStuck(SagaStatus),
    /// It has ended.
    #[error("it has ended: it is {0}")]
    Ended(SagaStatus),
    /// It would be stuck at once.
    #[error("it fails again: {0}")]
    FailsAgain(String),
}

/// What is to be appended to the saga's stream, in one append.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reaction {
    /// The events; none when the cause is dealt with already.
    pub events: Vec<SagaEvent>,
    /// The id to append them under: that of the command that they say will never have an effect.
    ///
    /// Of a command and the record of its rejection only one can ever be in the log, whoever
    /// else may be sending the command: both have the same append id.
    pub consumes: Option<CommandId>,
}

/// How a cause is recorded.
struct Intake {
    event: SagaEvent,
    input: Option<StoredInput>,
    consumes: Option<CommandId>,
}

impl Intake {
    fn of(event: SagaEvent, input: StoredInput) -> Option<Self> {
        Some(Self {
            event,
            input: Some(input),
            consumes: None,
        })
    }

    fn only(event: SagaEvent) -> Option<Self> {
        Some(Self {
            event,
            input: None,
            consumes: None,
        })
    }
}

impl<P: ProcessManager> Instance<P> {
    /// What follows from a cause, at a time.
    ///
    /// A cause that is dealt with already, or is not so any more, leads to nothing: whoever
    /// reacts after losing a race reads the stream anew and asks again.
    #[must_use]
    pub fn react(&self, cause: Cause, now: DateTime<Utc>) -> Reaction {
        let now = now.trunc_subsecs(6);
        let Some(intake) = self.intake(cause, now) else {
            return Reaction::default();
        };
        let mut events = vec![intake.event];
        let open = !self.status().is_final() && self.halted.is_none();
        if let Some(input) = intake.input.filter(|_| open) {
            let mut ledger = Ledger::of(self);
            ledger.settle(&input);
            let mut process = self.process.clone();
            match decide(&mut process, &input, &mut ledger, now) {
                Ok(decided) => events.extend(decided),
                // Before its input, so that a replay keeps the input back as well.
                Err(reason) => events.insert(0, halt(reason)),
            }
        }
        Reaction {
            events,
            consumes: intake.consumes,
        }
    }

    /// What follows from an operator's wish.
    ///
    /// # Errors
    /// When it makes no sense for this saga.
    pub fn operate(
        &self,
        operation: Operation,
        now: DateTime<Utc>,
    ) -> Result<Vec<SagaEvent>, Refused> {
        let now = now.trunc_subsecs(6);
        let status = self.status();
        match operation {
            Operation::Abandon { .. } if status.is_final() => Err(Refused::Ended(status)),
            Operation::Abandon { reason } => Ok(self.abandon(reason, now)),
            Operation::Retry if status != SagaStatus::Stuck => Err(Refused::NotStuck(status)),
            Operation::Retry => self.retry_all(now),
        }
    }

    fn abandon(&self, reason: String, now: DateTime<Utc>) -> Vec<SagaEvent> {
        let mut events = vec![SagaEvent::Abandoned {
            reason: reason.clone(),
        }];
        events.extend(Ledger::of(self).cancel_all());
        let left = self.outstanding.iter();
        let left = left.filter(|(_, command)| command.recalled.is_none());
        events.extend(left.map(|(step, command)| {
            let reason = format!("the saga was abandoned: {reason}");
            recalled(step.clone(), reason, command.due, now)
        }));
        events
    }

    fn retry_all(&self, now: DateTime<Utc>) -> Result<Vec<SagaEvent>, Refused> {
        let parked = self
            .outstanding
            .iter()
            .filter(|(_, command)| command.parked);
        let mut events = vec![SagaEvent::Retried {
            steps: parked.map(|(step, _)| step.clone()).collect(),
            due: now,
        }];
        let mut ledger = Ledger::of(self);
        let mut process = self.process.clone();
        for input in &self.backlog {
            if ledger.ended {
                break;
            }
            let decided = decide(&mut process, input, &mut ledger, now);
            events.extend(decided.map_err(|error| Refused::FailsAgain(error.to_string()))?);
        }
        Ok(events)
    }

    fn intake(&self, cause: Cause, now: DateTime<Utc>) -> Option<Intake> {
        match cause {
            Cause::Start(start) => {
                let input = StoredInput::Started(start.clone());
                (self.version == crate::order::Version::NONE)
                    .then(|| Intake::of(SagaEvent::Started { start }, input))?
            }
            Cause::Event(event) => {
                let stale = self.status().is_final() || event.position <= self.received_to;
                let input = StoredInput::Event(event.clone());
                (!stale).then(|| Intake::of(SagaEvent::Received(*event), input))?
            }
            Cause::Due { name } => {
                let due = self
                    .deadlines
                    .get(&name)
                    .copied()
                    .filter(|due| *due <= now)?;
                let input = StoredInput::Deadline { name: name.clone() };
                Intake::of(SagaEvent::Fired { name, due }, input)
            }
            Cause::Succeeded {
                step,
                command_id,
                position,
            } => {
                let due = self.sent_as(&step, command_id)?.due;
                let input = StoredInput::Succeeded { step: step.clone() };
                let event = SagaEvent::Succeeded {
                    step,
                    due,
                    position,
                };
                Intake::of(event, input)
            }
            Cause::Refused {
                step,
                command_id,
                reason,
                again,
            } => {
                let command = self.sent_as(&step, command_id)?;
                refused(command, step, reason, again, now)
            }
            Cause::TakenBack { step, command_id } => {
                let command = self.sent_as(&step, command_id)?;
                let reason = command.recalled.clone()?;
                rejected(command, step, reason)
            }
            Cause::Unsendable {
                step,
                command_id,
                reason,
            } => {
                let command = self.sent_as(&step, command_id)?;
                (!command.parked).then(|| Intake::only(stuck(command, step, reason)))?
            }
        }
    }
}

/// A refusal is put off, taken to an operator, or final.
fn refused(
    command: &Outstanding,
    step: String,
    reason: String,
    again: bool,
    now: DateTime<Utc>,
) -> Option<Intake> {
    if let Some(recalled) = &command.recalled {
        return rejected(command, step, recalled.clone());
    }
    let refusals = command.refusals.saturating_add(1);
    let retry = command.retry.filter(|_| again || command.insist);
    if let Some(wait) = retry.and_then(|retry| retry.wait(refusals)) {
        return Intake::only(SagaEvent::Postponed {
            step,
            due: command.due,
            refusals,
            reason,
            until: later(now, wait),
        });
    }
    if command.insist {
        return Intake::only(stuck(command, step, reason));
    }
    rejected(command, step, reason)
}

fn rejected(command: &Outstanding, step: String, reason: String) -> Option<Intake> {
    let reason = match &command.last_refusal {
        Some(last) if *last != reason => format!("{reason} ({last})"),
        _ => reason,
    };
    let input = StoredInput::Rejected {
        step: step.clone(),
        reason: reason.clone(),
    };
    let due = command.due;
    Some(Intake {
        event: SagaEvent::Rejected { step, due, reason },
        input: Some(input),
        consumes: Some(command.command_id),
    })
}

fn stuck(command: &Outstanding, step: String, reason: String) -> SagaEvent {
    SagaEvent::Stuck {
        step: Some(step),
        due: Some(command.due),
        reason,
    }
}

fn halt(reason: ReactError) -> SagaEvent {
    SagaEvent::Stuck {
        step: None,
        due: None,
        reason: reason.to_string(),
    }
}

/// Lets the process manager take an input in and react to it; a panic is an error.
fn decide<P: ProcessManager>(
    process: &mut P,
    input: &StoredInput,
    ledger: &mut Ledger,
    now: DateTime<Utc>,
) -> Result<Vec<SagaEvent>, ReactError> {
    let mut actions = Actions::at(now);
    let reacted = catch_unwind(AssertUnwindSafe(|| {
        input.show::<P, _>(|input| {
            process.evolve(input);
            process.react(input, &mut actions)
        })
    }));
    reacted.map_err(|panic| ReactError::new(panic_message(panic.as_ref())))???;
    ledger.carry_out(actions.into_decided()?, now)
}

pub(super) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("its code panicked: {}", text.unwrap_or("no message"))
}
