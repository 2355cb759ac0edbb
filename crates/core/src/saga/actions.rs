//! What a reaction decides.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{command::SagaCommand, event::SagaEvent, process::ReactError, retry::Retry};
use crate::aggregate::Aggregate;

/// Collects what a saga decides in reaction to one input.
///
/// All of it is appended to the saga's stream together with the input, or not at all.
#[derive(Debug)]
pub struct Actions {
    now: DateTime<Utc>,
    decided: Vec<Action>,
    problem: Option<ReactError>,
}

#[derive(Debug)]
pub(super) enum Action {
    Send {
        step: String,
        command: SagaCommand,
        retry: Option<Retry>,
        insist: bool,
    },
    Recall {
        step: String,
        reason: String,
    },
    Schedule {
        name: String,
        due: DateTime<Utc>,
    },
    Cancel {
        name: String,
    },
    /// It changes how the saga stands, or ends it.
    Turn(SagaEvent),
}

impl Actions {
    pub(super) fn at(now: DateTime<Utc>) -> Self {
        Self {
            now,
            decided: Vec::new(),
            problem: None,
        }
    }

    pub(super) fn into_decided(self) -> Result<Vec<Action>, ReactError> {
        self.problem.map_or(Ok(self.decided), Err)
    }

    /// When the input is reacted to.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.now
    }

    /// Sends a command, under a name by which its outcome comes back.
    ///
    /// A name can be used again once the outcome is there.
    pub fn send<A>(&mut self, step: &str, id: &A::Id, command: A::Command) -> Sending<'_>
    where
        A: Aggregate,
        A::Command: Serialize,
    {
        match SagaCommand::to::<A>(id, &command) {
            Ok(command) => self.send_command(step, command),
            Err(problem) => {
                self.problem.get_or_insert(problem);
                Sending(None)
            }
        }
    }

    /// As [`send`](Self::send), for a command that is serialised already.
    pub fn send_command(&mut self, step: &str, command: SagaCommand) -> Sending<'_> {
        self.decided.push(Action::Send {
            step: step.to_owned(),
            command,
            retry: None,
            insist: false,
        });
        Sending(self.decided.last_mut())
    }

    /// Takes a command back; nothing happens when its outcome is there already.
    ///
    /// It comes back as rejected, or as succeeded if it was carried out all the same.
    pub fn recall(&mut self, step: &str, reason: impl Into<String>) {
        self.decided.push(Action::Recall {
            step: step.to_owned(),
            reason: reason.into(),
        });
    }

    /// Sets a deadline that comes back after this time; it replaces one of the same name.
    pub fn schedule(&mut self, name: &str, after: Duration) {
        let due = chrono::TimeDelta::from_std(after)
            .ok()
            .and_then(|after| self.now.checked_add_signed(after));
        self.schedule_at(name, due.unwrap_or(DateTime::<Utc>::MAX_UTC));
    }

    /// Sets a deadline that comes back at this time; it replaces one of the same name.
    pub fn schedule_at(&mut self, name: &str, due: DateTime<Utc>) {
        self.decided.push(Action::Schedule {
            name: name.to_owned(),
            due,
        });
    }

    /// Lifts a deadline; nothing happens when there is none of this name.
    pub fn cancel(&mut self, name: &str) {
        self.decided.push(Action::Cancel {
            name: name.to_owned(),
        });
    }

    /// Says that what was done is being undone from here on.
    pub fn compensating(&mut self, reason: impl Into<String>) {
        let reason = reason.into();
        self.turn(SagaEvent::Compensating { reason });
    }

    /// Ends the saga: all is done. Deadlines that are left are lifted.
    pub fn complete(&mut self) {
        self.turn(SagaEvent::Completed);
    }

    /// Ends the saga: what was done is undone. Deadlines that are left are lifted.
    pub fn compensated(&mut self, reason: impl Into<String>) {
        let reason = reason.into();
        self.turn(SagaEvent::Compensated { reason });
    }

    /// Ends the saga: nothing was done. Deadlines that are left are lifted.
    pub fn fail(&mut self, reason: impl Into<String>) {
        let reason = reason.into();
        self.turn(SagaEvent::Failed { reason });
    }

    fn turn(&mut self, event: SagaEvent) {
        self.decided.push(Action::Turn(event));
    }
}

/// A command that is being sent, for its options.
#[derive(Debug)]
pub struct Sending<'a>(Option<&'a mut Action>);

impl Sending<'_> {
    /// Sends it again when it is refused.
    pub fn retry(mut self, policy: Retry) -> Self {
        if let Some(Action::Send { retry, .. }) = &mut self.0 {
            *retry = Some(policy);
        }
        self
    }

    /// Never takes a refusal for an outcome: after the last attempt the saga is stuck, and an
    /// operator lets it try again. For what must happen, as a compensation must.
    pub fn insist(mut self) -> Self {
        if let Some(Action::Send { insist, .. }) = &mut self.0 {
            *insist = true;
        }
        self
    }
}
