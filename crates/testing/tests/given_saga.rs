//! The kit for sagas: stories that hold, and what a failing one says.
#![allow(clippy::expect_used, clippy::unwrap_used)] // a test fails by panicking

use std::{convert::Infallible, panic::catch_unwind, time::Duration};

use annals_core::{
    Aggregate, Event,
    saga::{Linear, Plan, Retry, Saga, SagaStatus},
};
use annals_testing::given::SagaScenario;
use serde::{Deserialize, Serialize};

#[derive(Event, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[event(crate = annals_core, category = "room")]
enum RoomEvent {
    Booked,
}

#[derive(Clone, Debug, Default)]
struct Room;

impl Aggregate for Room {
    type Id = String;
    type Command = String;
    type Event = RoomEvent;
    type Error = Infallible;

    fn decide(&self, _: String) -> Result<Vec<RoomEvent>, Infallible> {
        Ok(vec![])
    }

    fn evolve(&mut self, _: &RoomEvent) {}
}

/// Two rooms at the same time, and then a third.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Trip;

impl Saga for Trip {
    const NAME: &'static str = "trip";
    type Id = String;
    type SendsTo = (Room,);

    fn plan(&self, _: &String, plan: &mut Plan) {
        let room = "r".to_owned();
        plan.deadline(Duration::from_secs(60));
        plan.step("north")
            .command::<Room>(&room, "book".into())
            .undo("cancel".into());
        plan.also("south")
            .command::<Room>(&room, "book".into())
            .undo("cancel".into());
        plan.step("west")
            .command::<Room>(&room, "book".into())
            .retry(Retry::times(2).waiting(Duration::from_secs(5), Duration::from_secs(5)));
    }
}

/// Three rooms, one after the other, of which all can be cancelled.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Tour;

impl Saga for Tour {
    const NAME: &'static str = "tour";
    type Id = String;
    type SendsTo = (Room,);

    fn plan(&self, _: &String, plan: &mut Plan) {
        plan.deadline(Duration::from_secs(60));
        for stop in ["first", "second", "third"] {
            plan.step(stop)
                .command::<Room>(&"r".to_owned(), "book".into())
                .undo("cancel".into())
                .deadline(Duration::from_secs(50));
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("full")]
struct Full;

fn trip() -> SagaScenario<Linear<Trip>> {
    SagaScenario::started(&"1".to_owned(), Trip)
}

#[test]
fn steps_at_the_same_time_are_sent_together_and_the_next_waits_for_both() {
    let done = trip()
        .then_waits_for(["north", "south"])
        .then_deadlines([("plan", Duration::from_secs(60))])
        .when_done("south")
        .then_waits_for(["north"])
        .when_done("north")
        .then_waits_for(["west"])
        .when_done("west")
        .then_deadlines([]);
    let _done = done.then_stands(SagaStatus::Completed, None);
}

#[test]
fn a_refused_step_takes_the_others_back_and_undoes_what_was_done_the_last_first() {
    let undone = trip()
        .when_done("north")
        .when_done("south")
        .when_refused("west", &Full)
        .then_waits_for(["west"]) // it has another attempt
        .when_refused("west", &Full)
        .then_waits_for(["undo:south"])
        .then_stands(SagaStatus::Compensating, Some("west: full"))
        .when_done("undo:south")
        .then_waits_for(["undo:north"])
        .when_done("undo:north");
    let _undone = undone.then_stands(SagaStatus::Compensated, Some("west: full"));
    let nothing = trip().when_refused("north", &Full).then_waits_for([]);
    let _nothing = nothing.then_stands(SagaStatus::Failed, Some("north: full"));
}

#[test]
fn a_compensation_that_keeps_being_refused_leaves_the_saga_stuck() {
    let mut story = trip().when_done("north").when_refused("south", &Full);
    for _ in 0..10 {
        story = story
            .then_waits_for(["undo:north"])
            .when_refused("undo:north", &Full);
    }
    let _stuck = story.then_stands(SagaStatus::Stuck, Some("full"));
}

#[test]
fn the_deadline_of_the_plan_takes_back_what_is_under_way() {
    let late = trip()
        .when_done("north")
        .when_time_passes(Duration::from_secs(61));
    let late = late.then_waits_for(["undo:north"]).when_done("undo:north");
    let _late = late.then_stands(SagaStatus::Compensated, Some("not done within 60s"));
}

fn tour() -> SagaScenario<Linear<Tour>> {
    SagaScenario::started(&"1".to_owned(), Tour)
}

#[test]
fn a_plan_whose_last_step_was_done_unnoticed_is_complete_though_its_deadline_passes() {
    let all = trip()
        .when_done("north")
        .when_done("south")
        .when_done_unnoticed("west")
        .when_time_passes(Duration::from_secs(61));
    let _all = all
        .then_waits_for([])
        .then_stands(SagaStatus::Completed, None);
    // Also where the steps could be undone: nobody is to be told that what is all done is not.
    let all = tour()
        .when_done("first")
        .when_time_passes(Duration::from_secs(20))
        .when_done("second")
        .when_done_unnoticed("third")
        .when_time_passes(Duration::from_secs(41));
    let _all = all
        .then_deadlines([])
        .then_stands(SagaStatus::Completed, None);
}

#[test]
fn a_first_step_that_was_done_unnoticed_is_undone_when_the_deadline_of_the_plan_passes() {
    let late = trip()
        .when_done_unnoticed("north")
        .when_done_unnoticed("south")
        .when_time_passes(Duration::from_secs(61));
    let late = late
        .then_waits_for(["undo:south"])
        .when_done("undo:south")
        .when_done("undo:north");
    let _late = late.then_stands(SagaStatus::Compensated, Some("not done within 60s"));
}

#[test]
fn a_step_in_the_middle_that_was_done_unnoticed_is_undone_when_the_deadline_of_the_plan_passes() {
    let late = tour()
        .when_time_passes(Duration::from_secs(20))
        .when_done("first")
        .when_done_unnoticed("second")
        .when_time_passes(Duration::from_secs(41));
    let late = late
        .then_waits_for(["undo:second"])
        .when_done("undo:second")
        .when_done("undo:first");
    let _late = late.then_stands(SagaStatus::Compensated, Some("not done within 60s"));
}

#[test]
fn of_two_steps_at_a_time_the_one_that_was_done_unnoticed_is_undone() {
    let late = trip()
        .when_done_unnoticed("south")
        .when_time_passes(Duration::from_secs(61))
        .then_waits_for(["undo:south"])
        .when_done("undo:south");
    let reason = "not done within 60s";
    let _late = late.then_stands(SagaStatus::Compensated, Some(reason));
    let refused = trip()
        .when_done_unnoticed("south")
        .when_refused("north", &Full)
        .then_waits_for(["undo:south"])
        .when_done("undo:south");
    let _refused = refused.then_stands(SagaStatus::Compensated, Some("north: full"));
}

#[test]
fn a_step_that_was_done_unnoticed_when_its_own_deadline_passes_is_done() {
    let done = tour()
        .when_done_unnoticed("first")
        .when_time_passes(Duration::from_secs(51));
    let _done = done
        .then_waits_for(["second"])
        .then_stands(SagaStatus::Running, None);
}

#[test]
fn a_story_that_does_not_hold_is_told_with_what_differs() {
    let wrong = catch_unwind(|| trip().then_waits_for(["north"])).unwrap_err();
    let message = wrong.downcast_ref::<String>().unwrap();
    assert!(message.contains("given\n    it is started"), "{message}");
    assert!(message.contains("+ 2. \"south\""), "{message}");
    let never_sent = catch_unwind(|| trip().when_done("west")).unwrap_err();
    let message = never_sent.downcast_ref::<String>().unwrap();
    assert!(message.contains("- 1. \"west\""), "{message}");
}
