//! Sagas that send to an aggregate which is not one of those they name.

use std::{convert::Infallible, error::Error as _, sync::Arc};

use annals_core::{
    Aggregate, Event, EventStore as _, MemoryStore, Position, Recorded,
    saga::{Actions, Correlation, Input, Plan, ProcessManager, ReactError, Saga, SagaStatus},
};
use annals_runtime::{App, StartSagaError};
use annals_testing::clock::ManualClock;
use serde::{Deserialize, Serialize};

use crate::{
    accounts::{Account, AccountCommand, AccountEvent},
    bank::{PATIENCE, builder},
};

#[derive(Event, Serialize, Deserialize, Clone, Debug)]
#[event(crate = annals_core, category = "till")]
enum TillEvent {
    Emptied,
}

/// An aggregate that none of the sagas here names.
#[derive(Clone, Debug, Default)]
struct Till;

impl Aggregate for Till {
    type Id = String;
    type Command = ();
    type Event = TillEvent;
    type Error = Infallible;

    fn decide(&self, (): ()) -> Result<Vec<TillEvent>, Infallible> {
        Ok(vec![TillEvent::Emptied])
    }

    fn evolve(&mut self, _: &TillEvent) {}
}

/// A plan that ends, or is undone, at a till.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Stray {
    only_undone_there: bool,
}

impl Saga for Stray {
    const NAME: &'static str = "stray";
    type Id = String;
    type SendsTo = (Account,);

    fn plan(&self, id: &String, plan: &mut Plan) {
        plan.step("freeze")
            .command::<Account>(id, AccountCommand::Freeze);
        let step = plan.step("empty");
        match self.only_undone_there {
            true => drop(
                step.command::<Account>(id, AccountCommand::Close)
                    .undo_by::<Till>(id, ()),
            ),
            false => drop(step.command::<Till>(id, ())),
        }
    }
}

/// Sends to a till, as soon as it is started or its account is frozen.
#[derive(Clone, Debug, Default)]
struct Wanderer;

impl ProcessManager for Wanderer {
    const NAME: &'static str = "wanderer";
    type Id = String;
    type Start = ();
    type Event = AccountEvent;
    type SendsTo = (Account,);

    fn correlate(event: &Recorded<AccountEvent>) -> Correlation<String> {
        match event.event {
            AccountEvent::Frozen => Correlation::Start(event.stream.id().to_owned()),
            _ => Correlation::None,
        }
    }

    fn evolve(&mut self, _: &Input<'_, (), AccountEvent>) {}

    fn react(
        &self,
        _: &Input<'_, (), AccountEvent>,
        actions: &mut Actions,
    ) -> Result<(), ReactError> {
        actions.schedule("never", PATIENCE);
        actions.send::<Till>("empty", &"1".to_owned(), ());
        Ok(())
    }
}

async fn open(store: &Arc<MemoryStore>) -> App {
    let builder = builder(store.clone(), Arc::new(ManualClock::default()));
    let builder = builder.saga::<Stray>().process_manager::<Wanderer>();
    builder.start().await.unwrap()
}

const REFUSED: &str =
    "it sends `empty` to `till`, which is not one of the aggregates in its `SendsTo`";

#[tokio::test]
async fn a_plan_with_a_step_for_an_aggregate_it_does_not_name_never_begins() {
    let store = Arc::<MemoryStore>::default();
    let app = open(&store).await;
    for only_undone_there in [false, true] {
        let stray = Stray { only_undone_there };
        let error = app.start_saga(&"1".to_owned(), stray).await.unwrap_err();
        assert_eq!(error.to_string(), "saga `stray` can't be carried out");
        let source = error.source().unwrap().to_string();
        let expected = "step `empty` sends to `till`, which is not one of the aggregates in the saga's `SendsTo`";
        assert_eq!(source, expected);
    }
    assert_eq!(store.head().await.unwrap(), Position::START);
}

#[tokio::test]
async fn a_process_that_sends_to_an_aggregate_it_does_not_name_is_not_started() {
    let store = Arc::<MemoryStore>::default();
    let app = open(&store).await;
    let started = app.start_process::<Wanderer>(&"1".to_owned(), &()).await;
    match started {
        Err(StartSagaError::Refused { saga, reason }) => {
            assert_eq!((saga, reason.as_str()), ("wanderer", REFUSED));
        }
        other => panic!("it was not refused: {other:?}"),
    }
    assert_eq!(store.head().await.unwrap(), Position::START);
}

#[tokio::test]
async fn a_process_that_an_event_started_is_stuck_rather_than_send_to_an_aggregate_it_does_not_name()
 {
    let store = Arc::<MemoryStore>::default();
    let app = open(&store).await;
    let id = "1".to_owned();
    let frozen = app.execute::<Account>(&id, AccountCommand::Freeze);
    let mut head = frozen.await.unwrap().position;
    while app.process::<Wanderer>(&id).await.unwrap().is_none() {
        head = store.wait_beyond(head).await.unwrap();
    }
    let stuck = app.process_ended::<Wanderer>(&id, PATIENCE).await.unwrap();
    assert_eq!(
        (stuck.status(), stuck.reason()),
        (SagaStatus::Stuck, Some(REFUSED))
    );
    assert!(stuck.outstanding().is_empty() && stuck.deadlines().is_empty());
}
