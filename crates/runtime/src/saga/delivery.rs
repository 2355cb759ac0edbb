//! A stored command on its way to its aggregate.

use std::{collections::HashMap, marker::PhantomData, panic::AssertUnwindSafe, sync::Arc};

use annals_core::{
    Aggregate, AppendError, Event, Id, Metadata, Position,
    saga::{Outstanding, ProcessManager, SendsTo, TargetVisitor},
};
use async_trait::async_trait;
use futures_util::FutureExt as _;
use serde::{Serialize, de::DeserializeOwned};

use super::canonical::Canonical;
use crate::{
    command::{Commands, Execute, ExecuteError},
    projection::{panic_message, with_causes},
};

/// What came of sending a command.
#[derive(Debug)]
pub(super) enum Delivery {
    /// It is carried out, now or before.
    Done(Position),
    /// The aggregate refused it.
    Refused { reason: String, again: bool },
    /// It was taken back by somebody else.
    Recalled,
    /// It can't be sent, until somebody does something about it.
    Unsendable(String),
    /// It could not be sent just now.
    Trouble(String),
}

/// What a saga says about sending refused commands again.
type AskRetries = fn(&str, &(dyn std::error::Error + 'static)) -> bool;

/// Whether to send a refused command again.
#[derive(Clone, Copy)]
struct Retries<'a> {
    step: &'a str,
    ask: AskRetries,
}

/// The aggregates that one kind of saga sends to.
#[derive(Clone)]
pub(super) struct Receivers {
    by_category: HashMap<&'static str, Arc<dyn Receiver>>,
    double: Option<&'static str>,
    retries: AskRetries,
}

impl Receivers {
    pub(super) fn of<P: ProcessManager>() -> Self {
        let mut receivers = Self {
            by_category: HashMap::new(),
            double: None,
            retries: P::retries,
        };
        P::SendsTo::visit(&mut receivers);
        receivers
    }

    /// A category that two of the aggregates have, if there is one.
    pub(super) fn double(&self) -> Option<&'static str> {
        self.double
    }

    /// Sends a command.
    pub(super) async fn deliver(
        &self,
        commands: &Commands,
        step: &str,
        outstanding: &Outstanding,
        origin: Option<&Metadata>,
    ) -> Delivery {
        let aggregate = outstanding.command.aggregate.as_str();
        let Some(receiver) = self.by_category.get(aggregate) else {
            return Delivery::Unsendable(format!(
                "the saga does not send to `{aggregate}` any more: it is not in its `SendsTo`"
            ));
        };
        let retries = Retries {
            step,
            ask: self.retries,
        };
        let sending = receiver.send(commands, outstanding, origin, retries);
        // The aggregate's code is the application's own.
        match AssertUnwindSafe(sending).catch_unwind().await {
            Ok(delivery) => delivery,
            Err(panic) => Delivery::Unsendable(panic_message(panic.as_ref())),
        }
    }
}

impl TargetVisitor for Receivers {
    fn aggregate<A>(&mut self)
    where
        A: Aggregate,
        A::Command: Serialize + DeserializeOwned,
    {
        let category = A::Event::CATEGORY;
        let receiver = Arc::new(TypedReceiver::<A>(PhantomData));
        if self.by_category.insert(category, receiver).is_some() {
            self.double = Some(category);
        }
    }
}

impl std::fmt::Debug for Receivers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.by_category.keys()).finish()
    }
}

#[async_trait]
trait Receiver: Send + Sync {
    async fn send(
        &self,
        commands: &Commands,
        outstanding: &Outstanding,
        origin: Option<&Metadata>,
        retries: Retries<'_>,
    ) -> Delivery;
}

struct TypedReceiver<A>(PhantomData<fn() -> A>);

#[async_trait]
impl<A> Receiver for TypedReceiver<A>
where
    A: Aggregate,
    A::Command: DeserializeOwned,
{
    async fn send(
        &self,
        commands: &Commands,
        outstanding: &Outstanding,
        origin: Option<&Metadata>,
        retries: Retries<'_>,
    ) -> Delivery {
        let stored = &outstanding.command;
        let id = match A::Id::from_text(&stored.id) {
            Ok(id) => id,
            Err(error) => return Delivery::Unsendable(error.to_string()),
        };
        let command: A::Command = match serde_json::from_value(stored.body.clone()) {
            Ok(command) => command,
            Err(error) => {
                let aggregate = &stored.aggregate;
                return Delivery::Unsendable(format!(
                    "`{aggregate}` can't read its command: {error}"
                ));
            }
        };
        let fingerprint = match Canonical(&stored.body).text() {
            Ok(text) => text,
            Err(error) => return Delivery::Unsendable(error.to_string()),
        };
        let execute = Execute::<A>::new(commands, &id, command)
            .command_id(outstanding.command_id)
            .fingerprint(fingerprint)
            .caused_by(outstanding.sent_by);
        let execute = match origin {
            Some(origin) => on_behalf_of(execute, origin),
            None => execute,
        };
        match execute.await {
            Ok(executed) => Delivery::Done(executed.position),
            Err(error) => delivery_of(error, retries),
        }
    }
}

/// The command with what its saga began with.
fn on_behalf_of<'a, A: Aggregate>(command: Execute<'a, A>, origin: &Metadata) -> Execute<'a, A> {
    let mut command = command.correlation_id(origin.correlation_id);
    if let Some(actor) = &origin.actor {
        command = command.actor(actor);
    }
    if let Some(trace) = &origin.trace {
        command = command.trace(trace.clone());
    }
    for (key, value) in &origin.extra {
        command = command.extra(key, value);
    }
    command
}

fn delivery_of<E: std::error::Error + Send + Sync + 'static>(
    error: ExecuteError<E>,
    retries: Retries<'_>,
) -> Delivery {
    match error {
        ExecuteError::Rejected(rejection) => Delivery::Refused {
            again: (retries.ask)(retries.step, &rejection),
            reason: with_causes(&rejection),
        },
        ExecuteError::CommandIdReused { .. } => Delivery::Recalled,
        // Refused as well, by an inline projection or for its size: nothing was appended.
        ExecuteError::Append(
            error @ (AppendError::InlineProjection { .. } | AppendError::Invalid { .. }),
        ) => Delivery::Refused {
            again: false,
            reason: with_causes(&error),
        },
        error @ ExecuteError::Conflict { .. } => Delivery::Trouble(error.to_string()),
        error if error.store_error().is_some() => Delivery::Trouble(with_causes(&error)),
        error => Delivery::Unsendable(with_causes(&error)),
    }
}
