//! A saga as its stream tells it.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    command::SagaCommand,
    event::{ReceivedEvent, SagaEvent},
    process::{Input, ProcessManager, ReactError},
    retry::Retry,
};
use crate::{
    id::{CommandId, EventId},
    metadata::Metadata,
    name::StreamName,
    order::{Position, Version},
};

/// How a saga stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SagaStatus {
    /// On its way.
    Running,
    /// Undoing what was done.
    Compensating,
    /// Waiting for an operator.
    Stuck,
    /// Ended: all is done.
    Completed,
    /// Ended: what was done is undone.
    Compensated,
    /// Ended: nothing was done.
    Failed,
    /// Ended by an operator, as it was.
    Abandoned,
}

impl SagaStatus {
    /// All of them, in the order of a saga's life.
    pub const ALL: [Self; 7] = [
        Self::Running,
        Self::Compensating,
        Self::Stuck,
        Self::Completed,
        Self::Compensated,
        Self::Failed,
        Self::Abandoned,
    ];

    /// Whether nothing follows.
    #[must_use]
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Running | Self::Compensating | Self::Stuck)
    }

    /// The word for it: `running`, `stuck`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Compensating => "compensating",
            Self::Stuck => "stuck",
            Self::Completed => "completed",
            Self::Compensated => "compensated",
            Self::Failed => "failed",
            Self::Abandoned => "abandoned",
        }
    }
}

impl std::fmt::Display for SagaStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// A command whose outcome is not known yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Outstanding {
    /// The command.
    pub command: SagaCommand,
    /// Its id, the same however often it is sent.
    pub command_id: CommandId,
    /// Whether it is sent again when it is refused.
    pub retry: Option<Retry>,
    /// Whether a refusal is for an operator to solve.
    pub insist: bool,
    /// When it is to be sent, for the first time or again.
    pub due: DateTime<Utc>,
    /// How often it was refused.
    pub refusals: u32,
    /// What the aggregate said last.
    pub last_refusal: Option<String>,
    /// Why it is to be taken back, if it is.
    pub recalled: Option<String>,
    /// Whether it waits for an operator.
    pub parked: bool,
    /// The event that sent it.
    pub sent_by: EventId,
}

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

/// One saga: its process manager's state, and what the engine knows of it.
///
/// It is the fold of the saga's stream; see [`apply`](Self::apply).
#[derive(Clone, Debug)]
pub struct Instance<P> {
    pub(super) stream: StreamName,
    pub(super) version: Version,
    pub(super) process: P,
    pub(super) start: Option<Value>,
    pub(super) origin: Option<Metadata>,
    pub(super) outstanding: BTreeMap<String, Outstanding>,
    pub(super) deadlines: BTreeMap<String, DateTime<Utc>>,
    /// How often each name was used for a command.
    pub(super) sends: HashMap<String, u32>,
    /// Up to where the log has been taken in.
    pub(super) received_to: Position,
    /// Why its code could not go on, if it could not.
    pub(super) halted: Option<String>,
    /// What came in since then.
    pub(super) backlog: Vec<StoredInput>,
    compensating: bool,
    ended: Option<SagaStatus>,
    reason: Option<String>,
}

/// A stream that does not tell a saga.
#[derive(Debug, thiserror::Error)]
#[error("failed to replay version {version} of `{stream}`: {problem}")]
pub struct InstanceError {
    stream: StreamName,
    version: Version,
    problem: String,
}

impl<P: ProcessManager> Instance<P> {
    /// The saga of a stream, before its first event.
    #[must_use]
    pub fn new(stream: StreamName) -> Self {
        Self {
            stream,
            version: Version::NONE,
            process: P::default(),
            start: None,
            origin: None,
            outstanding: BTreeMap::new(),
            deadlines: BTreeMap::new(),
            sends: HashMap::new(),
            received_to: Position::START,
            halted: None,
            backlog: Vec::new(),
            compensating: false,
            ended: None,
            reason: None,
        }
    }

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
        input.show::<P, _>(|input| self.process.evolve(input))
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
            SagaEvent::Recalled { step, reason } => {
                if let Some(command) = self.outstanding.get_mut(step) {
                    command.recalled = Some(reason.clone());
                    command.parked = false;
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
            input.show::<P, _>(|input| self.process.evolve(input))?;
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

    /// The process manager's state.
    #[must_use]
    pub fn process(&self) -> &P {
        &self.process
    }

    /// The saga's stream.
    #[must_use]
    pub fn stream(&self) -> &StreamName {
        &self.stream
    }

    /// How many events its stream has.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// What it was asked for, if a request started it.
    #[must_use]
    pub fn start(&self) -> Option<&Value> {
        self.start.as_ref()
    }

    /// On whose behalf and in which trace it began.
    #[must_use]
    pub fn origin(&self) -> Option<&Metadata> {
        self.origin.as_ref()
    }

    /// How it stands.
    #[must_use]
    pub fn status(&self) -> SagaStatus {
        let parked = || self.outstanding.values().any(|command| command.parked);
        match self.ended {
            Some(ended) => ended,
            None if self.halted.is_some() || parked() => SagaStatus::Stuck,
            None if self.compensating => SagaStatus::Compensating,
            None => SagaStatus::Running,
        }
    }

    /// Why it stands like that, where there is a reason.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        let parked = || self.outstanding.values().find(|command| command.parked);
        let stuck = self
            .halted
            .as_deref()
            .or_else(|| parked().and_then(|command| command.last_refusal.as_deref()));
        match self.ended {
            Some(_) => self.reason.as_deref(),
            None => stuck.or(self.reason.as_deref()),
        }
    }

    /// The commands without an outcome, by the names they were sent under.
    #[must_use]
    pub fn outstanding(&self) -> &BTreeMap<String, Outstanding> {
        &self.outstanding
    }

    /// The deadlines that are set, by name.
    #[must_use]
    pub fn deadlines(&self) -> &BTreeMap<String, DateTime<Utc>> {
        &self.deadlines
    }

    /// The first deadline that is due, if one is.
    #[must_use]
    pub fn due_deadline(&self, now: DateTime<Utc>) -> Option<&str> {
        let first = self.deadlines.iter().min_by_key(|(_, due)| **due)?;
        (*first.1 <= now && self.ended.is_none()).then_some(first.0.as_str())
    }

    /// The commands to send or to take back now.
    pub fn due_commands(&self, now: DateTime<Utc>) -> impl Iterator<Item = (&str, &Outstanding)> {
        self.outstanding
            .iter()
            .filter(move |(_, command)| {
                !command.parked && (command.recalled.is_some() || command.due <= now)
            })
            .map(|(step, command)| (step.as_str(), command))
    }
}
