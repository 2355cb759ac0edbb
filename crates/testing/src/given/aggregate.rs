//! Given events, when a command, then events or a rejection.

use std::fmt::Debug;

use annals_core::{Aggregate, Event, EventSet};

use super::difference::{difference, numbered, section};

/// What happened to an aggregate before the command under test.
///
/// ```
/// use annals_core::{Aggregate, Event};
/// use annals_testing::given::Scenario;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Event, Serialize, Deserialize, Clone, Debug, PartialEq)]
/// #[event(crate = annals_core, category = "account")]
/// enum AccountEvent { Deposited { cents: i64 }, Withdrawn { cents: i64 } }
///
/// #[derive(Clone, Debug)]
/// enum AccountCommand { Deposit { cents: i64 }, Withdraw { cents: i64 } }
///
/// #[derive(Debug, PartialEq, thiserror::Error)]
/// enum AccountError { #[error("{missing} cents are missing")] InsufficientFunds { missing: i64 } }
///
/// #[derive(Clone, Debug, Default)]
/// struct Account { balance: i64 }
///
/// impl Aggregate for Account {
///     type Id = String;
///     type Command = AccountCommand;
///     type Event = AccountEvent;
///     type Error = AccountError;
///
///     fn decide(&self, command: AccountCommand) -> Result<Vec<AccountEvent>, AccountError> {
///         match command {
///             AccountCommand::Deposit { cents } => Ok(vec![AccountEvent::Deposited { cents }]),
///             AccountCommand::Withdraw { cents: 0 } => Ok(vec![]),
///             AccountCommand::Withdraw { cents } if cents > self.balance => {
///                 Err(AccountError::InsufficientFunds { missing: cents - self.balance })
///             }
///             AccountCommand::Withdraw { cents } => Ok(vec![AccountEvent::Withdrawn { cents }]),
///         }
///     }
///
///     fn evolve(&mut self, event: &AccountEvent) {
///         match event {
///             AccountEvent::Deposited { cents } => self.balance += cents,
///             AccountEvent::Withdrawn { cents } => self.balance -= cents,
///         }
///     }
/// }
///
/// // A withdrawal of what is there:
/// Scenario::<Account>::given([AccountEvent::Deposited { cents: 500 }])
///     .when(AccountCommand::Withdraw { cents: 200 })
///     .then([AccountEvent::Withdrawn { cents: 200 }])
///     .then_state(|account| assert_eq!(account.balance, 300));
///
/// // An overdraft is rejected:
/// Scenario::<Account>::given([AccountEvent::Deposited { cents: 500 }])
///     .when(AccountCommand::Withdraw { cents: 700 })
///     .then_rejected(AccountError::InsufficientFunds { missing: 200 });
///
/// // Nothing to do, and nothing happened before:
/// Scenario::<Account>::given([])
///     .when(AccountCommand::Withdraw { cents: 0 })
///     .then_nothing();
/// # Scenario::<Account>::given([])
/// #     .when(AccountCommand::Deposit { cents: 1 })
/// #     .then([AccountEvent::Deposited { cents: 1 }]);
/// ```
///
/// Every event of a scenario must survive the log: it is written as a payload, read back, and
/// must be the same.
#[derive(Debug)]
pub struct Scenario<A: Aggregate> {
    history: Vec<A::Event>,
    state: A,
}

/// What a command brought about, to be compared with what it should have.
#[derive(Debug)]
pub struct Outcome<A: Aggregate> {
    history: Vec<A::Event>,
    command: String,
    decided: Result<Vec<A::Event>, A::Error>,
    state: A,
}

impl<A> Scenario<A>
where
    A: Aggregate,
    A::Event: Debug + PartialEq,
    A::Command: Debug,
{
    /// These events happened; none stands for an aggregate that does not exist yet.
    ///
    /// # Panics
    /// When an event does not survive the log.
    #[must_use]
    #[track_caller]
    pub fn given(history: impl IntoIterator<Item = A::Event>) -> Self {
        let history: Vec<A::Event> = history.into_iter().collect();
        let mut state = A::default();
        for event in &history {
            assert_survives_the_log(event);
            state.evolve(event);
        }
        Self { history, state }
    }

    /// This is asked for.
    ///
    /// # Panics
    /// When an event that the aggregate decided on does not survive the log.
    #[must_use = "say what should happen then"]
    #[track_caller]
    pub fn when(mut self, command: A::Command) -> Outcome<A> {
        let shown = format!("{command:?}");
        let decided = self.state.decide(command);
        for event in decided.iter().flatten() {
            assert_survives_the_log(event);
            self.state.evolve(event);
        }
        Outcome {
            history: self.history,
            command: shown,
            decided,
            state: self.state,
        }
    }
}

#[track_caller]
fn assert_survives_the_log<E: Event + Debug + PartialEq>(event: &E) {
    let schema = event.schema();
    let written = event
        .encode()
        .unwrap_or_else(|error| panic!("{event:?} can't be written: {error}"));
    if let Err(error) = event.tags() {
        panic!("{event:?} can't be tagged: {error}");
    }
    let text = String::from_utf8_lossy(&written);
    match <E as EventSet>::decode(schema.name, schema.version, &written) {
        Ok(Some(read)) => assert!(
            read == *event,
            "an event must come out of the log as it went in\nwritten\n    {event:?}\nas\n    {text}\nread\n    {read:?}"
        ),
        Ok(None) => panic!(
            "{event:?} is written as `{}`, which is unknown",
            schema.name
        ),
        Err(error) => panic!("{event:?} is written as {text}, which can't be read: {error}"),
    }
}

impl<A> Outcome<A>
where
    A: Aggregate,
    A::Event: Debug + PartialEq,
{
    /// Exactly these events happen, in this order.
    ///
    /// # Panics
    /// When something else happened.
    #[track_caller]
    pub fn then(self, events: impl IntoIterator<Item = A::Event>) -> Self {
        let expected: Vec<A::Event> = events.into_iter().collect();
        match &self.decided {
            Ok(decided) if *decided == expected => self,
            Ok(decided) => self.fail(
                "expected (-) and actual (+) events",
                difference(&expected, decided),
            ),
            Err(error) => {
                let mut lines = numbered(&expected);
                lines.push(format!("but it was rejected: {error:?} ({error})"));
                self.fail("expected", lines)
            }
        }
    }

    /// The command is fine and has nothing to do.
    ///
    /// # Panics
    /// When something happened, or the command was rejected.
    #[track_caller]
    pub fn then_nothing(self) -> Self {
        self.then([])
    }

    /// The command is rejected, with this error.
    ///
    /// # Panics
    /// When it was not rejected, or with another error.
    #[track_caller]
    pub fn then_rejected(self, error: A::Error) -> Self
    where
        A::Error: PartialEq,
    {
        let expected = format!("- rejected: {error:?}");
        match &self.decided {
            Err(actual) if *actual == error => self,
            Err(actual) => {
                let lines = vec![expected, format!("+ rejected: {actual:?}")];
                self.fail("expected (-) and actual (+) rejection", lines)
            }
            Ok(decided) => {
                let mut lines = vec![expected];
                lines.extend(difference(&[], decided));
                if decided.is_empty() {
                    lines.push("+ nothing happened".to_owned());
                }
                self.fail("expected (-) and actual (+)", lines)
            }
        }
    }

    /// Looks at the state after the command, whatever it brought about.
    pub fn then_state(self, check: impl FnOnce(&A)) -> Self {
        check(&self.state);
        self
    }

    #[track_caller]
    fn fail(&self, title: &str, lines: Vec<String>) -> ! {
        let mut message = "the scenario went another way\n\n".to_owned();
        section(&mut message, "given", numbered(&self.history));
        section(&mut message, "when", [self.command.clone()]);
        section(&mut message, title, lines);
        panic!("{message}");
    }
}
