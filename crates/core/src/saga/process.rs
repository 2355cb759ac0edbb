//! Process managers: state that reacts to events, outcomes and deadlines with commands.

use std::fmt;

use serde::{Serialize, de::DeserializeOwned};

use super::{actions::Actions, targets::SendsTo};
use crate::{
    event::{DecodeError, EventSchema, EventSet, Recorded},
    id::Id,
    projection::UnknownEvents,
};

/// State that reacts: to its start, to events, to the outcome of its commands and to deadlines.
///
/// Use it for processes that are not a line of steps; for those that are, a
/// [`Saga`](super::Saga) is shorter, and derives the compensation.
///
/// Each input is first recorded in the saga's stream and [evolved](Self::evolve) into the state,
/// and then [reacted](Self::react) to. What a reaction decides is recorded with its input, in one
/// append, and never decided again; the state is replayed from the inputs. Both functions are
/// synchronous and pure, so an input can be tried out again after a conflict or crash.
///
/// ```
/// # use annals_core::{Aggregate, Event, EventSet, Recorded};
/// use annals_core::saga::{Actions, Correlation, Input, ProcessManager, ReactError};
/// use serde::{Deserialize, Serialize};
/// use std::time::Duration;
/// # #[derive(Event, Serialize, Deserialize, Clone, Debug)]
/// # #[event(crate = annals_core, category = "order")]
/// # enum OrderEvent { Placed { order: String }, Paid { order: String } }
/// # #[derive(Clone, Debug, Default)] struct Order;
/// # #[derive(Serialize, Deserialize, Clone, Debug)] enum OrderCommand { Ship, Cancel }
/// # impl Aggregate for Order {
/// #     type Id = String; type Command = OrderCommand; type Event = OrderEvent; type Error = std::convert::Infallible;
/// #     fn decide(&self, _: OrderCommand) -> Result<Vec<OrderEvent>, Self::Error> { Ok(vec![]) }
/// #     fn evolve(&mut self, _: &OrderEvent) {}
/// # }
///
/// /// An order that is not paid within a day is cancelled.
/// #[derive(Clone, Debug, Default)]
/// struct Payment { order: String }
///
/// impl ProcessManager for Payment {
///     const NAME: &'static str = "payment";
///     type Id = String;
///     type Start = ();
///     type Event = OrderEvent;
///     type SendsTo = (Order,);
///
///     fn correlate(event: &Recorded<OrderEvent>) -> Correlation<String> {
///         match &event.event {
///             OrderEvent::Placed { order } => Correlation::Start(order.clone()),
///             OrderEvent::Paid { order } => Correlation::Continue(order.clone()),
///         }
///     }
///
///     fn evolve(&mut self, input: &Input<'_, (), OrderEvent>) {
///         if let Input::Event(Recorded { event: OrderEvent::Placed { order }, .. }) = input {
///             self.order.clone_from(order);
///         }
///     }
///
///     fn react(
///         &self,
///         input: &Input<'_, (), OrderEvent>,
///         actions: &mut Actions,
///     ) -> Result<(), ReactError> {
///         match input {
///             Input::Event(event) => match &event.event {
///                 OrderEvent::Placed { .. } => actions.schedule("payment", Duration::from_secs(86_400)),
///                 OrderEvent::Paid { .. } => {
///                     actions.cancel("payment");
///                     actions.send::<Order>("ship", &self.order, OrderCommand::Ship);
///                 }
///             },
///             Input::Deadline { .. } => {
///                 actions.send::<Order>("cancel", &self.order, OrderCommand::Cancel);
///             }
///             Input::Succeeded { .. } => actions.complete(),
///             Input::Rejected { reason, .. } => actions.fail(*reason),
///             Input::Started(()) => {}
///         }
///         Ok(())
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a process manager",
    note = "implement `ProcessManager` for it, or `Saga` where it is a line of steps"
)]
pub trait ProcessManager: Clone + Default + Send + Sync + 'static {
    /// What this kind of saga is called, in streams and by operators: lower-case ASCII letters,
    /// digits and `_`. It must never change.
    const NAME: &'static str;

    /// Identifies one saga of this kind.
    type Id: Id;
    /// What a request to start one carries; `()` for those that events start.
    type Start: Serialize + DeserializeOwned + Send + Sync + 'static;
    /// The events it takes in; [`NoEvents`] for none.
    type Event: EventSet;
    /// The aggregates it sends commands to, as a tuple: `(Account,)`.
    type SendsTo: SendsTo;

    /// What happens with an event of a known category whose type [`Self::Event`] does not have:
    /// all sagas of this kind stop before it, unless it is to be ignored.
    const UNKNOWN: UnknownEvents = UnknownEvents::Fail;

    /// Which saga an event is for, if any.
    fn correlate(event: &Recorded<Self::Event>) -> Correlation<Self::Id>;

    /// Takes an input into the state.
    fn evolve(&mut self, input: &Input<'_, Self::Start, Self::Event>);

    /// Decides what follows from an input that the state includes by now.
    ///
    /// # Errors
    /// When it makes no sense to go on: the saga is then stuck, for an operator to look at.
    fn react(
        &self,
        input: &Input<'_, Self::Start, Self::Event>,
        actions: &mut Actions,
    ) -> Result<(), ReactError>;

    /// Whether to send a refused command again, where its step has attempts left.
    ///
    /// `rejection` is the aggregate's own error, to be downcast. Always, unless implemented.
    fn retries(step: &str, rejection: &(dyn std::error::Error + 'static)) -> bool {
        let _ = (step, rejection);
        true
    }
}

/// Which saga an event is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Correlation<Id> {
    /// None.
    None,
    /// This one; it begins with the event, unless it is there already.
    Start(Id),
    /// This one, if it is there.
    Continue(Id),
}

/// What a saga takes in.
#[derive(Debug)]
pub enum Input<'a, S, E> {
    /// It was asked to start.
    Started(&'a S),
    /// An event that it is interested in.
    Event(&'a Recorded<E>),
    /// A command was carried out.
    Succeeded {
        /// The name under which it was sent.
        step: &'a str,
    },
    /// A command was refused for good, or taken back: it has no effect and never will.
    Rejected {
        /// The name under which it was sent.
        step: &'a str,
        /// What the aggregate said.
        reason: &'a str,
    },
    /// A deadline was reached.
    Deadline {
        /// Its name.
        name: &'a str,
    },
}

/// Why a saga can't go on; made from a text or from any error with `?`.
pub struct ReactError(String);

impl ReactError {
    /// An error with this message.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for ReactError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ReactError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// Not an `Error` itself, so that this conversion can take every error (as anyhow's does).
impl<E: Into<Box<dyn std::error::Error + Send + Sync>>> From<E> for ReactError {
    fn from(error: E) -> Self {
        let error = error.into();
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message = format!("{message}: {cause}");
            source = cause.source();
        }
        Self(message)
    }
}

/// The events of a saga that takes in none: there are no values of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoEvents {}

impl EventSet for NoEvents {
    fn schemas() -> Vec<&'static EventSchema> {
        Vec::new()
    }

    fn categories() -> Vec<&'static str> {
        Vec::new()
    }

    fn decode(_: &str, _: u32, _: &[u8]) -> Result<Option<Self>, DecodeError> {
        Ok(None)
    }
}
