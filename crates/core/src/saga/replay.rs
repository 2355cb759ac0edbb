//! From a saga's stream to the instance that it tells of.

use std::panic::{AssertUnwindSafe, catch_unwind};

use chrono::{DateTime, Utc};

use super::{
    event::SagaEvent,
    input::StoredInput,
    instance::{Instance, InstanceError, Outstanding},
    process::{ProcessManager, ReactError},
    reaction::panic_message,
    status::SagaStatus,
};
use crate::{id::EventId, metadata::Metadata};

impl<P: ProcessManager> Instance<P> {
    /// Applies the next event of the stream.
    ///
    /// # Errors
    /// When what the saga took in is not what its code can read any more.
    pub fn apply(
        &mut self,
        event: &SagaEvent,
        id: EventId,
        metadata: &Metadata,
    ) -> Result<(), InstanceError> {
        self.version = self.version.next();
        self.origin.get_or_insert_with(|| metadata.clone());
        match self.input_of(event) {
            Some(input) => self.take_in(input),
            None => self.follow(event, id),
        }
        .map_err(|problem| InstanceError {
            stream: self.stream.clone(),
            version: self.version,
            problem: problem.to_string(),
        })
    }

    /// Passes over the next event of the stream, which can't be read.
    pub fn pass_over(&mut self) {
        self.version = self.version.next();
        self.passed_over = true;
    }

    /// The input that an event records, if it records one, with what it settles.
    fn input_of(&mut self, event: &SagaEvent) -> Option<StoredInput> {
        match event {
            SagaEvent::Started { start } => {
                self.start = Some(start.clone());
                Some(StoredInput::Started(start.clone()))
            }
            SagaEvent::Received(event) => {
                self.received_to = event.position;
                Some(StoredInput::Event(Box::new(event.clone())))
            }
            SagaEvent::Succeeded { step, .. } => {
                self.outstanding.remove(step);
                Some(StoredInput::Succeeded { step: step.clone() })
            }
            SagaEvent::Rejected { step, reason, .. } => {
                self.outstanding.remove(step);
                Some(StoredInput::Rejected {
                    step: step.clone(),
                    reason: reason.clone(),
                })
            }
            SagaEvent::Fired { name, .. } => {
                self.deadlines.remove(name);
                Some(StoredInput::Deadline { name: name.clone() })
            }
            _ => None,
        }
    }

    fn take_in(&mut self, input: StoredInput) -> Result<(), ReactError> {
        if self.ended.is_some() {
            return Ok(());
        }
        if self.halted.is_some() {
            self.backlog.push(input);
            return Ok(());
        }
        self.evolve(&input)
    }

    /// Lets the process manager take an input into its state; a panic is an error.
    fn evolve(&mut self, input: &StoredInput) -> Result<(), ReactError> {
        let evolved = catch_unwind(AssertUnwindSafe(|| {
            input.show::<P, _>(|input| self.process.evolve(input))
        }));
        evolved.map_err(|panic| ReactError::new(panic_message(panic.as_ref())))?
    }

    /// Applies what was decided.
    fn follow(&mut self, event: &SagaEvent, id: EventId) -> Result<(), ReactError> {
        match event {
            SagaEvent::Sent { step, .. } => {
                *self.sends.entry(step.clone()).or_default() += 1;
                self.send(event, id);
            }
            SagaEvent::Scheduled { name, due } => {
                self.deadlines.insert(name.clone(), *due);
            }
            SagaEvent::Cancelled { name, .. } => {
                self.deadlines.remove(name);
            }
            SagaEvent::Compensating { reason } => {
                self.compensating = true;
                self.reason = Some(reason.clone());
            }
            SagaEvent::Completed => self.end(SagaStatus::Completed, None),
            SagaEvent::Compensated { reason } => self.end(SagaStatus::Compensated, Some(reason)),
            SagaEvent::Failed { reason } => self.end(SagaStatus::Failed, Some(reason)),
            SagaEvent::Abandoned { reason } => self.end(SagaStatus::Abandoned, Some(reason)),
            SagaEvent::Stuck {
                step: None, reason, ..
            } => self.halted = Some(reason.clone()),
            SagaEvent::Retried { steps, due } => return self.retry(steps, *due),
            _ => self.follow_command(event),
        }
        Ok(())
    }

    fn send(&mut self, event: &SagaEvent, id: EventId) {
        let SagaEvent::Sent {
            step,
            command,
            command_id,
            retry,
            insist,
            due,
        } = event
        else {
            return;
        };
        let outstanding = Outstanding {
            command: command.clone(),
            command_id: *command_id,
            retry: *retry,
            insist: *insist,
            due: *due,
            refusals: 0,
            last_refusal: None,
            recalled: None,
            parked: false,
            sent_by: id,
        };
        self.outstanding.insert(step.clone(), outstanding);
    }

    /// Applies what became of an outstanding command.
    fn follow_command(&mut self, event: &SagaEvent) {
        match event {
            SagaEvent::Postponed {
                step,
                refusals,
                reason,
                until,
                ..
            } => {
                if let Some(command) = self.outstanding.get_mut(step) {
                    command.refusals = *refusals;
                    command.last_refusal = Some(reason.clone());
                    command.due = *until;
                }
            }
            SagaEvent::Recalled {
                step, reason, now, ..
            } => {
                if let Some(command) = self.outstanding.get_mut(step) {
                    command.recalled = Some(reason.clone());
                    command.parked = false;
                    command.due = now.unwrap_or(command.due);
                }
            }
            SagaEvent::Stuck {
                step: Some(step),
                reason,
                ..
            } => {
                if let Some(command) = self.outstanding.get_mut(step) {
                    command.parked = true;
                    command.refusals = command.refusals.saturating_add(1);
                    command.last_refusal = Some(reason.clone());
                }
            }
            _ => {}
        }
    }

    fn retry(&mut self, steps: &[String], due: DateTime<Utc>) -> Result<(), ReactError> {
        for step in steps {
            if let Some(command) = self.outstanding.get_mut(step) {
                command.parked = false;
                command.refusals = 0;
                command.due = due;
            }
        }
        self.halted = None;
        for input in std::mem::take(&mut self.backlog) {
            self.evolve(&input)?;
        }
        Ok(())
    }

    fn end(&mut self, status: SagaStatus, reason: Option<&String>) {
        self.ended = Some(status);
        self.halted = None;
        self.backlog.clear();
        if let Some(reason) = reason {
            self.reason = Some(reason.clone());
        }
    }
}
