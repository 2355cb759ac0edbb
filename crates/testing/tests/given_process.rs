//! The kit for process managers that are not a line of steps: events, outcomes and deadlines in any
//! order, the clock included.
#![allow(clippy::expect_used, clippy::unwrap_used)] // a test fails by panicking

use std::{convert::Infallible, panic::catch_unwind, time::Duration};

use annals_core::{
    Aggregate, Event, Recorded,
    saga::{Actions, Correlation, Input, ProcessManager, ReactError, Retry, SagaStatus, Sending},
};
use annals_testing::given::SagaScenario;
use serde::{Deserialize, Serialize};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

#[derive(Event, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[event(crate = annals_core, category = "order")]
enum OrderEvent {
    Placed,
    Paid,
}

#[derive(Clone, Debug, Default)]
struct Order;

impl Aggregate for Order {
    type Id = String;
    type Command = String;
    type Event = OrderEvent;
    type Error = Infallible;

    fn decide(&self, _: String) -> Result<Vec<OrderEvent>, Infallible> {
        Ok(vec![])
    }

    fn evolve(&mut self, _: &OrderEvent) {}
}

/// An order is reminded of after an hour and given up after a day, unless it is paid before. What
/// is paid is shipped, and paid back if that can't be done.
#[derive(Clone, Debug, Default)]
struct Checkout {
    order: String,
    paid: bool,
}

impl Checkout {
    fn send<'a>(&self, actions: &'a mut Actions, what: &str) -> Sending<'a> {
        actions.send::<Order>(what, &self.order, what.to_owned())
    }
}

impl ProcessManager for Checkout {
    const NAME: &'static str = "checkout";
    type Id = String;
    type Start = ();
    type Event = OrderEvent;
    type SendsTo = (Order,);

    fn correlate(event: &Recorded<OrderEvent>) -> Correlation<String> {
        let order = event.stream.id().to_owned();
        match event.event {
            OrderEvent::Placed => Correlation::Start(order),
            OrderEvent::Paid => Correlation::Continue(order),
        }
    }

    fn evolve(&mut self, input: &Input<'_, (), OrderEvent>) {
        if let Input::Event(event) = input {
            event.stream.id().clone_into(&mut self.order);
            self.paid |= event.event == OrderEvent::Paid;
        }
    }

    fn react(
        &self,
        input: &Input<'_, (), OrderEvent>,
        actions: &mut Actions,
    ) -> Result<(), ReactError> {
        match input {
            Input::Event(event) if event.event == OrderEvent::Placed => {
                actions.schedule("reminder", HOUR);
                actions.schedule("payment", DAY);
            }
            Input::Event(_) => {
                self.send(actions, "ship");
                actions.cancel("reminder");
                actions.cancel("payment");
            }
            Input::Deadline { name: "reminder" } => {
                self.send(actions, "remind");
            }
            Input::Deadline { .. } => {
                self.send(actions, "cancel").insist();
                actions.recall("remind", "it is too late");
            }
            Input::Rejected {
                step: "ship",
                reason,
            } => {
                self.send(actions, "refund").retry(Retry::times(2)).insist();
                actions.compensating(*reason);
            }
            Input::Succeeded { step: "ship" } => actions.complete(),
            Input::Succeeded { step: "refund" } => actions.compensated("it can't be shipped"),
            Input::Succeeded { step: "cancel" } if self.paid => return Err("paid too late".into()),
            Input::Succeeded { step: "cancel" } => actions.fail("not paid within a day"),
            // Whether the reminder got there makes no difference.
            Input::Succeeded { .. } | Input::Rejected { .. } | Input::Started(()) => {}
        }
        Ok(())
    }
}

#[derive(Debug, thiserror::Error)]
#[error("out of stock")]
struct OutOfStock;

type Story = SagaScenario<Checkout>;

fn placed() -> Story {
    SagaScenario::process(&"7".to_owned()).when_received("order-7", &OrderEvent::Placed)
}

fn paid(story: Story) -> Story {
    story.when_received("order-7", &OrderEvent::Paid)
}

#[test]
fn an_event_sets_deadlines_and_a_later_one_lifts_them_before_they_are_reached() {
    let waiting = placed()
        .then_waits_for([])
        .then_deadlines([("reminder", HOUR), ("payment", DAY)])
        .when_time_passes(HOUR / 2)
        .then_deadlines([("reminder", HOUR / 2), ("payment", DAY - HOUR / 2)]);
    let shipping = paid(waiting)
        .then_deadlines([])
        .then_sends::<Order>("ship", "7", &"ship".to_owned())
        .when_time_passes(2 * DAY)
        .then_waits_for(["ship"])
        .then_stands(SagaStatus::Running, None);
    let _shipped = shipping
        .when_done("ship")
        .then_waits_for([])
        .then_stands(SagaStatus::Completed, None);
}

#[test]
fn deadlines_are_reached_in_the_order_of_their_times() {
    let reminded = placed()
        .when_time_passes(HOUR)
        .then_waits_for(["remind"])
        .then_deadlines([("payment", DAY - HOUR)]);
    // The reminder is taken back, as it has no outcome by then.
    let too_late = "not paid within a day";
    let _cancelled = reminded
        .when_time_passes(DAY - HOUR)
        .then_deadlines([])
        .then_waits_for(["cancel"])
        .when_done("cancel")
        .then_stands(SagaStatus::Failed, Some(too_late));
    // Both within one stretch of time.
    let cancelled = placed().when_time_passes(DAY).then_waits_for(["cancel"]);
    let ended = cancelled.when_done("cancel");
    // What comes after the end changes nothing.
    let _ended = paid(ended)
        .then_waits_for([])
        .then_stands(SagaStatus::Failed, Some(too_late));
}

#[test]
fn an_event_between_a_deadline_and_its_command_is_taken_in_and_stops_what_makes_no_sense() {
    let both = paid(placed().when_time_passes(DAY))
        .then_waits_for(["cancel", "ship"])
        .when_done("cancel");
    let _stuck = both
        .then_stands(SagaStatus::Stuck, Some("paid too late"))
        .then_saga(|saga| assert!(saga.process().paid));
}

#[test]
fn what_was_taken_is_given_back_and_insisted_on() {
    let refunding = paid(placed())
        .when_refused("ship", &OutOfStock)
        .then_waits_for(["refund"])
        .then_stands(SagaStatus::Compensating, Some("out of stock"));
    let refused = refunding
        .when_refused("refund", &OutOfStock)
        .then_stands(SagaStatus::Compensating, Some("out of stock"));
    let _refunded = refused
        .when_done("refund")
        .then_stands(SagaStatus::Compensated, Some("it can't be shipped"));
    let mut story = paid(placed()).when_refused("ship", &OutOfStock);
    for _ in 0..2 {
        story = story.when_refused("refund", &OutOfStock);
    }
    let _stuck = story.then_stands(SagaStatus::Stuck, Some("out of stock"));
}

#[test]
fn a_deadline_that_should_have_been_lifted_is_told_with_the_story() {
    let wrong = catch_unwind(|| placed().when_time_passes(HOUR).then_deadlines([]));
    let message = *wrong.unwrap_err().downcast::<String>().unwrap();
    assert!(
        message.contains("it receives `order.placed` of order-7"),
        "{message}"
    );
    assert!(
        message.contains("deadline `reminder` is reached"),
        "{message}"
    );
}
