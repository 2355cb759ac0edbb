//! Given a saga, when this comes back, then that is sent: the clock included, without a store.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use annals_core::{
    CausationId, CommandId, CorrelationId, Event, EventId, EventSet, Id, Metadata, NewEvent,
    Position, Recorded,
    saga::{
        Cause, Instance, Linear, LinearStart, ProcessManager, ReceivedEvent, Saga, SagaCommand,
        SagaEvent, SagaStatus, SendsTo, saga_stream,
    },
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use super::difference::{difference, section};
use crate::clock::dawn;

/// A saga on its way, as a test tells its story.
///
/// ```
/// # use annals_core::{Aggregate, Event, saga::{Plan, Saga}};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Event, Serialize, Deserialize, Clone, Debug)]
/// # #[event(crate = annals_core, category = "account")]
/// # enum AccountEvent { Deposited, Withdrawn }
/// # #[derive(Serialize, Deserialize, Clone, Debug)]
/// # enum AccountCommand { Deposit { cents: i64 }, Withdraw { cents: i64 } }
/// # #[derive(Clone, Debug, Default)] struct Account;
/// # impl Aggregate for Account {
/// #     type Id = String; type Command = AccountCommand; type Event = AccountEvent; type Error = std::convert::Infallible;
/// #     fn decide(&self, _: AccountCommand) -> Result<Vec<AccountEvent>, Self::Error> { Ok(vec![]) }
/// #     fn evolve(&mut self, _: &AccountEvent) {}
/// # }
/// # #[derive(Clone, Debug, Serialize, Deserialize)]
/// # struct Transfer { from: String, to: String, cents: i64 }
/// # impl Saga for Transfer {
/// #     const NAME: &'static str = "transfer";
/// #     type Id = String;
/// #     type SendsTo = (Account,);
/// #     fn plan(&self, _id: &String, plan: &mut Plan) {
/// #         let cents = self.cents;
/// #         plan.step("debit").command::<Account>(&self.from, AccountCommand::Withdraw { cents })
/// #             .undo(AccountCommand::Deposit { cents });
/// #         plan.step("credit").command::<Account>(&self.to, AccountCommand::Deposit { cents })
/// #             .deadline(std::time::Duration::from_secs(30));
/// #     }
/// # }
/// use annals_core::saga::SagaStatus;
/// use annals_testing::given::SagaScenario;
/// use std::time::Duration;
///
/// let transfer = Transfer { from: "alice".into(), to: "bob".into(), cents: 30 };
/// SagaScenario::started(&"t-1".to_owned(), transfer)
///     .then_waits_for(["debit"])
///     .when_done("debit")
///     .then_sends::<Account>("credit", "bob", &AccountCommand::Deposit { cents: 30 })
///     .when_time_passes(Duration::from_secs(30))
///     .then_waits_for(["undo:debit"])
///     .when_done("undo:debit")
///     .then_stands(SagaStatus::Compensated, Some("credit: not done within 30s"));
/// ```
///
/// Every event of the saga must survive its stream: it is written, read back, and must be the same.
#[derive(Debug)]
pub struct SagaScenario<P: ProcessManager> {
    instance: Instance<P>,
    now: DateTime<Utc>,
    story: Vec<String>,
    /// How far the log has come, as far as the story tells.
    position: Position,
    /// The commands that were carried out without the saga knowing.
    unnoticed: HashSet<CommandId>,
}

impl<S: Saga> SagaScenario<Linear<S>> {
    /// This was asked for.
    ///
    /// # Panics
    /// When the plan can't be carried out.
    #[must_use]
    #[track_caller]
    pub fn started(id: &S::Id, saga: S) -> Self {
        let start = LinearStart::of(id, saga);
        if let Err(error) = start.plan.check(&S::SendsTo::categories()) {
            panic!("saga `{}` can't be carried out: {error}", S::NAME);
        }
        Self::process(id).when_started(&start)
    }
}

impl<P: ProcessManager> SagaScenario<P> {
    /// A process manager to which nothing has happened yet.
    ///
    /// # Panics
    /// When the name or the id can't name a stream.
    #[must_use]
    #[track_caller]
    pub fn process(id: &P::Id) -> Self {
        let stream = saga_stream(P::NAME, &id.to_text());
        Self {
            instance: Instance::new(stream.unwrap_or_else(|error| panic!("{error}"))),
            now: dawn(),
            story: Vec::new(),
            position: Position::START,
            unnoticed: HashSet::new(),
        }
    }

    /// It is asked to start.
    ///
    /// # Panics
    /// When what it is asked for does not serialise.
    #[must_use]
    #[track_caller]
    pub fn when_started(self, start: &P::Start) -> Self {
        let start = serde_json::to_value(start);
        let start = start.unwrap_or_else(|error| panic!("the start does not serialise: {error}"));
        self.when("it is started".to_owned(), Cause::Start(start))
    }

    /// An event is for it.
    ///
    /// # Panics
    /// When the event can't be written.
    #[must_use]
    #[track_caller]
    pub fn when_received<E: Event>(mut self, stream: &str, event: &E) -> Self {
        self.position = self.position.next();
        let id = EventId::new(Uuid::from_u128(u128::from(self.position.get())));
        let metadata = metadata(id.uuid());
        let written = NewEvent::encode(event, id, metadata.clone()).unwrap();
        let received = ReceivedEvent {
            position: self.position,
            stream: stream.parse().unwrap_or_else(|error| panic!("{error}")),
            version: annals_core::Version::new(1),
            id,
            event_type: written.event_type,
            schema_version: written.schema_version,
            recorded_at: self.now,
            tags: written.tags,
            metadata,
            payload: serde_json::from_slice(&written.payload).unwrap(),
        };
        let read: Recorded<P::Event> = received.decode().unwrap_or_else(|error| panic!("{error}"));
        let told = format!("it receives `{}` of {}", received.event_type, read.stream);
        self.when(told, Cause::Event(Box::new(received)))
    }

    /// A command was carried out.
    ///
    /// # Panics
    /// When no such command waits for an outcome.
    #[must_use]
    #[track_caller]
    pub fn when_done(mut self, step: &str) -> Self {
        let command_id = self.outstanding(step);
        self.position = self.position.next();
        let done = Cause::Succeeded {
            step: step.to_owned(),
            command_id,
            position: self.position,
        };
        self.when(format!("`{step}` is done"), done)
    }

    /// A command was carried out, but the saga has not heard of it, as when its node died right then.
    ///
    /// Once the command is to be taken back, it comes back as done all the same.
    ///
    /// # Panics
    /// When no such command waits for an outcome.
    #[must_use]
    #[track_caller]
    pub fn when_done_unnoticed(mut self, step: &str) -> Self {
        let command_id = self.outstanding(step);
        self.unnoticed.insert(command_id);
        self.story.push(format!("`{step}` is done, unnoticed"));
        self
    }

    /// An aggregate refused a command.
    ///
    /// # Panics
    /// When no such command waits for an outcome.
    #[must_use]
    #[track_caller]
    pub fn when_refused<E>(self, step: &str, rejection: &E) -> Self
    where
        E: std::error::Error + 'static,
    {
        let command_id = self.outstanding(step);
        let reason = rejection.to_string();
        let refused = Cause::Refused {
            step: step.to_owned(),
            command_id,
            again: P::retries(step, rejection),
            reason,
        };
        self.when(format!("`{step}` is refused: {rejection}"), refused)
    }

    /// Time passes; deadlines that come due on the way are reached, each at its time.
    #[must_use]
    #[track_caller]
    pub fn when_time_passes(mut self, time: Duration) -> Self {
        let until = self.now + time;
        self.story.push(format!("{time:?} pass"));
        while let Some(name) = self.instance.due_deadline(until) {
            let name = name.to_owned();
            self.now = self.now.max(self.instance.deadlines()[&name]);
            self = self.when(format!("deadline `{name}` is reached"), Cause::Due { name });
        }
        self.now = until;
        self
    }

    /// Exactly these commands wait for an outcome.
    ///
    /// # Panics
    /// When others do.
    #[track_caller]
    pub fn then_waits_for<const N: usize>(self, steps: [&str; N]) -> Self {
        let mut expected: Vec<&str> = steps.to_vec();
        expected.sort_unstable();
        let actual: Vec<&str> = self
            .instance
            .outstanding()
            .keys()
            .map(String::as_str)
            .collect();
        self.compare("it should wait for these commands", &expected, &actual);
        self
    }

    /// This command, to this aggregate, waits for an outcome.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn then_sends<A>(self, step: &str, id: &str, command: &A::Command) -> Self
    where
        A: annals_core::Aggregate,
        A::Command: Serialize,
    {
        let id = A::Id::from_text(id).unwrap_or_else(|error| panic!("{error}"));
        let expected = SagaCommand::to::<A>(&id, command).unwrap_or_else(|error| panic!("{error}"));
        let actual = self.instance.outstanding().get(step);
        let actual: Vec<_> = actual
            .map(|sent| sent.command.clone())
            .into_iter()
            .collect();
        self.compare(&format!("it should send as `{step}`"), &[expected], &actual);
        self
    }

    /// Exactly these deadlines are set, so long from now.
    ///
    /// # Panics
    /// When others are.
    #[track_caller]
    pub fn then_deadlines<const N: usize>(self, deadlines: [(&str, Duration); N]) -> Self {
        let expected: BTreeMap<_, _> = deadlines
            .into_iter()
            .map(|(name, after)| (name.to_owned(), self.now + after))
            .collect();
        let expected: Vec<_> = expected.iter().collect();
        let actual: Vec<_> = self.instance.deadlines().iter().collect();
        self.compare("it should have these deadlines", &expected, &actual);
        self
    }

    /// It stands like this, for this reason.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn then_stands(self, status: SagaStatus, reason: Option<&str>) -> Self {
        let expected = (status, reason);
        let actual = (self.instance.status(), self.instance.reason());
        self.compare("it should stand like this", &[expected], &[actual]);
        self
    }

    /// Looks at the saga itself.
    pub fn then_saga(self, look: impl FnOnce(&Instance<P>)) -> Self {
        look(&self.instance);
        self
    }

    #[track_caller]
    fn when(mut self, told: String, cause: Cause) -> Self {
        self.story.push(told);
        let mut cause = Some(cause);
        while let Some(next) = cause.take() {
            let reaction = self.instance.react(next, self.now);
            for event in reaction.events {
                assert_survives_the_stream(&event);
                self.story.push(format!("  {event:?}"));
                let id = EventId::new(Uuid::from_u128(u128::from(self.instance.version().get())));
                let applied = self.instance.apply(&event, id, &metadata(id.uuid()));
                applied.unwrap_or_else(|error| panic!("{error}"));
            }
            cause = self.take_back();
        }
        self
    }

    /// As the engine does: what is to be taken back is, unless it was done.
    fn take_back(&mut self) -> Option<Cause> {
        let mut outstanding = self.instance.outstanding().iter();
        let recalled = outstanding.find(|(_, command)| command.recalled.is_some());
        let (step, command) = recalled?;
        let (step, command_id) = (step.clone(), command.command_id);
        if !self.unnoticed.contains(&command_id) {
            return Some(Cause::TakenBack { step, command_id });
        }
        self.position = self.position.next();
        Some(Cause::Succeeded {
            step,
            command_id,
            position: self.position,
        })
    }

    #[track_caller]
    fn outstanding(&self, step: &str) -> CommandId {
        let outstanding = self.instance.outstanding();
        if let Some(command) = outstanding.get(step) {
            return command.command_id;
        }
        let actual: Vec<&str> = outstanding.keys().map(String::as_str).collect();
        self.compare("there should be a command of this name", &[step], &actual);
        unreachable!("it is not among them")
    }

    #[track_caller]
    fn compare<T: std::fmt::Debug + PartialEq>(&self, title: &str, expected: &[T], actual: &[T]) {
        if expected == actual {
            return;
        }
        let mut message = String::new();
        section(&mut message, "given", self.story.iter().cloned());
        section(&mut message, title, difference(expected, actual));
        panic!("{message}");
    }
}

fn metadata(id: Uuid) -> Metadata {
    Metadata::caused_by(CausationId::new(id), CorrelationId::new(id))
}

#[track_caller]
fn assert_survives_the_stream(event: &SagaEvent) {
    let schema = event.schema();
    let written = event
        .encode()
        .unwrap_or_else(|error| panic!("{event:?}: {error}"));
    let read = <SagaEvent as EventSet>::decode(schema.name, schema.version, &written);
    let read = read.unwrap_or_else(|error| panic!("{event:?}: {error}"));
    assert_eq!(
        read.as_ref(),
        Some(event),
        "an event must come out of the stream as it went in"
    );
}
