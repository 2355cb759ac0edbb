//! One command with its options, as the caller writes it.

use std::{collections::BTreeMap, future::IntoFuture, pin::Pin};

#[cfg(doc)]
use annals_core::AppendError;
use annals_core::{
    Aggregate, CausationId, CommandId, Condition, CorrelationId, InvalidName, Metadata, Position,
    Query, StreamName, TraceContext, Version,
};

use super::{
    engine::{Commands, Executed},
    error::ExecuteError,
    load::stream_of,
};

/// A command on its way: set options, then `.await` it.
///
/// Dropping the future gives no answer, but what was on its way to the log may still be
/// appended; repeat the command under the same [`command_id`](Self::command_id) to find out.
#[must_use = "a command does nothing until it is awaited"]
pub struct Execute<'a, A: Aggregate> {
    pub(super) commands: &'a Commands,
    pub(super) stream: Result<StreamName, InvalidName>,
    pub(super) request: Request<A>,
}

/// Everything that is asked for.
pub(super) struct Request<A: Aggregate> {
    pub(super) command: A::Command,
    pub(super) command_id: Option<CommandId>,
    pub(super) fingerprint: Vec<u8>,
    pub(super) expected: Option<Version>,
    pub(super) condition: Option<Condition>,
    correlation_id: Option<CorrelationId>,
    causation_id: Option<CausationId>,
    actor: Option<String>,
    trace: Option<TraceContext>,
    extra: BTreeMap<String, String>,
}

impl<'a, A: Aggregate> Execute<'a, A> {
    pub(crate) fn new(commands: &'a Commands, id: &A::Id, command: A::Command) -> Self {
        let request = Request {
            command,
            command_id: None,
            fingerprint: Vec::new(),
            expected: None,
            condition: None,
            correlation_id: None,
            causation_id: None,
            actor: None,
            trace: None,
            extra: BTreeMap::new(),
        };
        let stream = stream_of::<A>(id);
        Self {
            commands,
            stream,
            request,
        }
    }

    /// Names the command, so that the same id again appends nothing and answers as this time.
    ///
    /// Only what was carried out is remembered: a rejected command has changed nothing and is
    /// decided anew when it comes again.
    pub fn command_id(mut self, id: CommandId) -> Self {
        self.request.command_id = Some(id);
        self
    }

    /// What the command id stands for, such as the bytes of the request: the same id with
    /// another fingerprint is [`ExecuteError::CommandIdReused`].
    pub fn fingerprint(mut self, request: impl AsRef<[u8]>) -> Self {
        self.request.fingerprint = request.as_ref().to_vec();
        self
    }

    /// Carries the command out only if the stream is at this version.
    pub fn expect_version(mut self, version: Version) -> Self {
        self.request.expected = Some(version);
        self
    }

    /// Carries the command out only if no event matching `query` came after `after`: a decision
    /// that also rests on other streams, or on a read model as of a position, stays valid.
    ///
    /// What such an event means is up to the caller: see [`AppendError::ConditionFailed`].
    pub fn unless(mut self, query: impl Into<Query>, after: Position) -> Self {
        self.request.condition = Some(Condition {
            query: query.into(),
            after,
        });
        self
    }

    /// On whose behalf, in the application's own terms.
    pub fn actor(mut self, actor: impl Into<String>) -> Self {
        self.request.actor = Some(actor.into());
        self
    }

    /// Joins the events to what an earlier request brought about. The command's own id otherwise.
    pub fn correlation_id(mut self, id: CorrelationId) -> Self {
        self.request.correlation_id = Some(id);
        self
    }

    /// What made somebody send the command, such as an event. The command's own id otherwise.
    pub fn caused_by(mut self, id: impl Into<CausationId>) -> Self {
        self.request.causation_id = Some(id.into());
        self
    }

    /// The distributed trace that the events belong to.
    pub fn trace(mut self, trace: TraceContext) -> Self {
        self.request.trace = Some(trace);
        self
    }

    /// An entry of the events' free metadata.
    pub fn extra(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.request.extra.insert(key.into(), value.into());
        self
    }
}

impl<A: Aggregate> Request<A> {
    /// The metadata of the events that the command leads to.
    pub(super) fn metadata(&self, command_id: CommandId) -> Metadata {
        Metadata {
            correlation_id: self.correlation_id.unwrap_or(command_id.into()),
            causation_id: self.causation_id.unwrap_or(command_id.into()),
            actor: self.actor.clone(),
            trace: self.trace.clone(),
            extra: self.extra.clone(),
        }
    }
}

impl<'a, A: Aggregate> IntoFuture for Execute<'a, A> {
    type Output = Result<Executed<A>, ExecuteError<A::Error>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.commands.execute(self.stream, self.request))
    }
}

impl<A: Aggregate> std::fmt::Debug for Execute<'_, A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Execute")
            .field("command_id", &self.request.command_id)
            .finish_non_exhaustive()
    }
}
