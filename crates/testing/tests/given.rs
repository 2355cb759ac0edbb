//! The given/when/then kit says what went another way, and catches what would break in a log.

use std::panic::{AssertUnwindSafe, catch_unwind};

use annals_core::{
    Aggregate, Event, EventSet, Position, Projection, ProjectionError, ReadModel, Recorded,
};
use annals_testing::given::{ProjectionScenario, Scenario};
use serde::{Deserialize, Serialize};

#[derive(Event, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[event(crate = annals_core, category = "lamp")]
enum LampEvent {
    Lit,
    PutOut,
    Moved {
        #[serde(skip)]
        place: u8,
    },
}

#[derive(Clone, Debug)]
enum LampCommand {
    Toggle,
    Break,
    Move(u8),
}

#[derive(Debug, PartialEq, thiserror::Error)]
enum LampError {
    #[error("it is made of steel")]
    Unbreakable,
}

#[derive(Clone, Debug, Default)]
struct Lamp {
    burning: bool,
}

impl Aggregate for Lamp {
    type Id = String;
    type Command = LampCommand;
    type Event = LampEvent;
    type Error = LampError;

    fn decide(&self, command: LampCommand) -> Result<Vec<LampEvent>, LampError> {
        match command {
            LampCommand::Toggle if self.burning => Ok(vec![LampEvent::PutOut]),
            LampCommand::Toggle => Ok(vec![LampEvent::Lit]),
            LampCommand::Break => Err(LampError::Unbreakable),
            LampCommand::Move(place) => Ok(vec![LampEvent::Moved { place }]),
        }
    }

    fn evolve(&mut self, event: &LampEvent) {
        self.burning = *event == LampEvent::Lit;
    }
}

#[derive(Event, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[event(crate = annals_core, category = "door")]
enum DoorEvent {
    Opened,
}

#[derive(EventSet, Clone, Debug, PartialEq)]
#[event_set(crate = annals_core)]
enum HouseEvent {
    Lamp(LampEvent),
    Door(DoorEvent),
}

#[derive(ReadModel, Debug, PartialEq)]
#[read_model(crate = annals_core)]
struct Activity {
    #[key]
    stream: String,
    events: i64,
    last: Position,
}

impl Projection for Activity {
    type Event = HouseEvent;

    fn keys(event: &Recorded<HouseEvent>) -> impl IntoIterator<Item = String> {
        [event.stream.to_string()]
    }

    fn fold(
        stream: &String,
        row: Option<Self>,
        event: &Recorded<HouseEvent>,
    ) -> Result<Option<Self>, ProjectionError> {
        if event.event == HouseEvent::Lamp(LampEvent::PutOut) {
            return Err("darkness is not an activity".into());
        }
        Ok(Some(Self {
            stream: stream.clone(),
            events: row.map_or(0, |row| row.events) + 1,
            last: event.position,
        }))
    }
}

fn activity(stream: &str, events: i64, last: u64) -> Activity {
    Activity {
        stream: stream.into(),
        events,
        last: Position::new(last),
    }
}

/// The message that the scenario fails with.
fn failure<T>(scenario: impl FnOnce() -> T) -> String {
    let Err(panic) = catch_unwind(AssertUnwindSafe(scenario)) else {
        panic!("the scenario should have failed");
    };
    match panic.downcast::<String>() {
        Ok(message) => *message,
        Err(_) => panic!("the scenario failed without a message"),
    }
}

#[test]
fn other_events_than_expected_are_shown_side_by_side() {
    let message = failure(|| {
        Scenario::<Lamp>::given([LampEvent::Lit])
            .when(LampCommand::Toggle)
            .then([LampEvent::Lit, LampEvent::PutOut])
    });
    let expected = "\
the scenario went another way

given
    1. Lit
when
    Toggle
expected (-) and actual (+) events
    - 1. Lit
    + 1. PutOut
    - 2. PutOut
";
    assert_eq!(message, expected);
}

#[test]
fn a_rejection_that_was_not_expected_is_shown() {
    let message = failure(|| {
        Scenario::<Lamp>::given([])
            .when(LampCommand::Break)
            .then([LampEvent::PutOut])
    });
    assert!(
        message.contains("but it was rejected: Unbreakable (it is made of steel)"),
        "{message}"
    );
}

#[test]
fn a_rejection_that_did_not_come_is_missed() {
    let message = failure(|| {
        Scenario::<Lamp>::given([])
            .when(LampCommand::Toggle)
            .then_rejected(LampError::Unbreakable)
    });
    assert!(message.contains("- rejected: Unbreakable"), "{message}");
    assert!(message.contains("+ 1. Lit"), "{message}");
}

#[test]
fn something_where_nothing_should_happen_is_shown() {
    let message = failure(|| {
        Scenario::<Lamp>::given([])
            .when(LampCommand::Toggle)
            .then_nothing()
    });
    assert!(message.contains("+ 1. Lit"), "{message}");
}

#[test]
fn an_event_that_loses_a_field_in_the_log_is_caught() {
    let moved = Scenario::<Lamp>::given([]).when(LampCommand::Move(0));
    moved.then([LampEvent::Moved { place: 0 }]);
    let message = failure(|| Scenario::<Lamp>::given([]).when(LampCommand::Move(7)));
    assert!(
        message.contains("must come out of the log as it went in"),
        "{message}"
    );
}

#[test]
fn a_projection_takes_in_the_events_of_several_aggregates() {
    ProjectionScenario::<Activity>::given([("lamp-1", LampEvent::Lit)])
        .and([("door-1", DoorEvent::Opened)])
        .when("lamp-1", LampEvent::Lit)
        .then([activity("door-1", 1, 2), activity("lamp-1", 2, 3)])
        .then_row("lamp-1".to_owned(), Some(activity("lamp-1", 2, 3)))
        .then_row("lamp-2".to_owned(), None);
}

#[test]
fn a_failed_event_leaves_the_rows_and_gives_its_reason() {
    let failed = ProjectionScenario::<Activity>::given([("lamp-1", LampEvent::Lit)])
        .when("lamp-1", LampEvent::PutOut);
    failed
        .then_fails_with("darkness is not an activity")
        .then([activity("lamp-1", 1, 1)]);
}

#[test]
fn other_rows_than_expected_are_shown_side_by_side() {
    let message = failure(|| {
        ProjectionScenario::<Activity>::given([("lamp-1", LampEvent::Lit)])
            .then([activity("lamp-1", 2, 1)])
    });
    let expected = "\
the scenario of `activity` went another way

given
    1 lamp-1 Lit
expected (-) and actual (+) rows
    - Activity { stream: \"lamp-1\", events: 2, last: Position(1) }
    + Activity { stream: \"lamp-1\", events: 1, last: Position(1) }
";
    assert_eq!(message, expected);
}

#[test]
fn a_failure_that_was_not_expected_fails_the_scenario() {
    let given =
        failure(|| ProjectionScenario::<Activity>::given([("lamp-1", LampEvent::PutOut)]).then([]));
    let when = failure(|| {
        ProjectionScenario::<Activity>::given([("lamp-1", LampEvent::Lit)])
            .when("lamp-1", LampEvent::PutOut)
            .then([])
    });
    for message in [given, when] {
        assert!(message.contains("darkness is not an activity"), "{message}");
    }
}

#[test]
fn an_event_in_a_stream_of_another_category_is_refused() {
    let message =
        failure(|| ProjectionScenario::<Activity>::given([("door-1", LampEvent::Lit)]).then([]));
    assert!(message.contains("another category"), "{message}");
}
