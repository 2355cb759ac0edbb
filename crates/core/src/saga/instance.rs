//! A saga as its stream tells it.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{
    command::SagaCommand, input::StoredInput, process::ProcessManager, retry::Retry,
    status::SagaStatus,
};
use crate::{
    id::{CommandId, EventId},
    metadata::Metadata,
    name::StreamName,
    order::{Position, Version},
};

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

/// One saga: its process manager's state, and what the engine knows of it.
///
/// It is the fold of the saga's stream; see [`apply`](Self::apply).
#[derive(Clone, Debug)]
pub struct Instance<P> {
    pub(super) stream: StreamName,
    pub(super) version: Version,
    /// Whether events were passed over that could not be read.
    pub(super) passed_over: bool,
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
    /// Whether what was done is being undone.
    pub(super) compensating: bool,
    pub(super) ended: Option<SagaStatus>,
    pub(super) reason: Option<String>,
}

/// A stream that does not tell a saga.
#[derive(Debug, thiserror::Error)]
#[error("failed to replay version {version} of `{stream}`: {problem}")]
pub struct InstanceError {
    pub(super) stream: StreamName,
    pub(super) version: Version,
    pub(super) problem: String,
}

impl<P: ProcessManager> Instance<P> {
    /// The saga of a stream, before its first event.
    #[must_use]
    pub fn new(stream: StreamName) -> Self {
        Self {
            stream,
            version: Version::NONE,
            passed_over: false,
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

    /// Whether it includes all events of its stream; see [`pass_over`](Self::pass_over).
    #[must_use]
    pub fn is_whole(&self) -> bool {
        !self.passed_over
    }

    /// Why its code could not go on, if it could not.
    #[must_use]
    pub fn halted(&self) -> Option<&str> {
        self.halted.as_deref()
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

    /// The command that was sent under this name with this id, if it has no outcome yet.
    #[must_use]
    pub fn sent_as(&self, step: &str, command_id: CommandId) -> Option<&Outstanding> {
        let sent = self.outstanding.get(step);
        sent.filter(|command| command.command_id == command_id)
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

    /// The commands to send now.
    pub fn due_commands(&self, now: DateTime<Utc>) -> impl Iterator<Item = (&str, &Outstanding)> {
        self.outstanding
            .iter()
            .filter(move |(_, command)| {
                !command.parked && command.recalled.is_none() && command.due <= now
            })
            .map(|(step, command)| (step.as_str(), command))
    }
}
