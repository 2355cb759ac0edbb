//! A name that is used again for another command: what becomes of the one is not taken for the other.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use annals_core::{
    Append, AppendError, AppendId, Appended, CausationId, CommandId, CorrelationId, EventId,
    EventStore as _, LogRead, MemoryStore, Metadata, Position, ProjectionStore as _, Recorded,
    Store,
    saga::{
        Actions, Cause, Correlation, Input, Instance, NoEvents, ProcessManager, ReactError,
        SagaEvent, SagaStatus,
    },
};
use annals_runtime::App;
use annals_testing::{
    clock::{ManualClock, dawn},
    delegating::{Delegating, Hooks},
};
use async_trait::async_trait;
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::{
    accounts::{Account, AccountCommand, AccountEvent},
    bank::{PATIENCE, builder, until},
};

/// Pays into account `a` until it was done `times` times, whenever it was taken back once more.
#[derive(Clone, Debug, Default)]
struct Payer {
    times: u32,
    done: u32,
}

impl ProcessManager for Payer {
    const NAME: &'static str = "payer";
    type Id = String;
    /// How often, and whether a payment into account `b` at the same time takes the first back.
    type Start = (u32, bool);
    type Event = NoEvents;
    type SendsTo = (Account,);

    fn correlate(event: &Recorded<NoEvents>) -> Correlation<String> {
        match event.event {}
    }

    fn evolve(&mut self, input: &Input<'_, (u32, bool), NoEvents>) {
        match input {
            Input::Started((times, _)) => self.times = *times,
            Input::Succeeded { step: "pay" } => self.done += 1,
            _ => {}
        }
    }

    fn react(
        &self,
        input: &Input<'_, (u32, bool), NoEvents>,
        actions: &mut Actions,
    ) -> Result<(), ReactError> {
        let deposit = AccountCommand::Deposit { cents: 1 };
        match input {
            Input::Started((_, true)) => {
                actions.send::<Account>("other", &"b".to_owned(), deposit.clone());
            }
            Input::Succeeded { step: "other" } => {
                actions.recall("pay", "the other was quicker");
                return Ok(());
            }
            Input::Succeeded { .. } if self.done == self.times => {
                actions.complete();
                return Ok(());
            }
            _ => {}
        }
        actions.send::<Account>("pay", &"a".to_owned(), deposit);
        Ok(())
    }
}

/// The id of the command that is sent as `pay` for this time, counted from 0.
fn payment(number: u32) -> CommandId {
    CommandId::from_key("saga saga-payer:1", &format!("pay#{number}"))
}

/// What holds appends up, by their ids.
type Gates = Mutex<HashMap<AppendId, Arc<Semaphore>>>;

/// A store to which some appends are held up, on the way there or on the way back.
#[derive(Debug, Default)]
struct Slow {
    store: Arc<MemoryStore>,
    there: Gates,
    back: Gates,
}

fn hold(gates: &Gates, command: CommandId) -> Arc<Semaphore> {
    let gate = Arc::new(Semaphore::new(0));
    gates
        .lock()
        .unwrap()
        .insert(command.into(), Arc::clone(&gate));
    gate
}

async fn pass(gates: &Gates, append: &Append) {
    let gate = {
        let gates = gates.lock().unwrap();
        append.id.and_then(|id| gates.get(&id)).cloned()
    };
    // What takes a command back has the command's id: it goes to the saga, and is not held up.
    let to_saga = append.writes[0].stream.category() == "saga";
    if let Some(gate) = gate.filter(|_| !to_saga) {
        drop(gate.acquire().await.unwrap());
    }
}

#[async_trait]
impl Hooks for Slow {
    fn store(&self) -> &dyn Store {
        &*self.store
    }

    async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        pass(&self.there, &append).await;
        let appended = self.store.append(append.clone()).await;
        pass(&self.back, &append).await;
        appended
    }
}

struct Node {
    app: App,
}

impl Node {
    fn on(store: &Arc<MemoryStore>) -> Arc<Delegating<Slow>> {
        Arc::new(Delegating(Slow {
            store: Arc::clone(store),
            ..Slow::default()
        }))
    }

    async fn start(slow: Arc<Delegating<Slow>>) -> Self {
        let builder = builder(slow, Arc::new(ManualClock::default()));
        let builder = builder.process_manager::<Payer>();
        let app = builder.start().await.unwrap();
        Self { app }
    }

    async fn pay(&self, times: u32, with_other: bool) {
        let started = self
            .app
            .start_process::<Payer>(&"1".to_owned(), &(times, with_other));
        started.await.unwrap();
    }

    async fn saga(&self) -> Instance<Payer> {
        let saga = self.app.process::<Payer>(&"1".to_owned()).await.unwrap();
        saga.unwrap()
    }

    async fn ended(&self) -> Instance<Payer> {
        let id = "1".to_owned();
        let ended = self.app.process_ended::<Payer>(&id, PATIENCE);
        ended.await.unwrap()
    }

    /// Waits until `pay` was sent for this time.
    async fn until_sent(&self, number: u32) {
        until(async || {
            let saga = self.saga().await;
            let pay = saga.outstanding().get("pay");
            pay.is_some_and(|pay| pay.command_id == payment(number))
        })
        .await;
    }
}

/// How often something was paid into account `a`.
async fn paid(store: &MemoryStore) -> usize {
    let log = store.read_log(LogRead::after(Position::START, usize::MAX));
    let events = log.await.unwrap().events;
    let paid = events.iter().filter(|event| {
        let deposited = event.decode::<AccountEvent>().unwrap();
        event.stream.as_str() == "account-a"
            && deposited.is_some_and(|event| event.event == AccountEvent::Deposited { cents: 1 })
    });
    paid.count()
}

/// How often the saga has heard that `pay` was done.
async fn heard(store: &MemoryStore) -> usize {
    let log = store.read_log(LogRead::after(Position::START, usize::MAX));
    let events = log.await.unwrap().events;
    let decoded = events
        .iter()
        .filter_map(|event| event.decode::<SagaEvent>().unwrap());
    let heard = decoded
        .filter(|event| matches!(&event.event, SagaEvent::Succeeded { step, .. } if step == "pay"));
    heard.count()
}

/// The other command takes the first payment back, while it is on its way.
#[tokio::test]
async fn a_command_that_was_taken_back_on_its_way_says_nothing_of_the_next_of_its_name() {
    let store = Arc::<MemoryStore>::default();
    let slow = Node::on(&store);
    let first = hold(&slow.there, payment(0));
    let node = Node::start(slow).await;
    node.pay(1, true).await;
    node.until_sent(1).await;
    first.add_permits(1);
    let ended = node.ended().await;
    assert_eq!(
        (ended.status(), ended.reason()),
        (SagaStatus::Completed, None)
    );
    assert_eq!((paid(&store).await, heard(&store).await), (1, 1));
}

/// The node before has had the first payment done, and is told so when the second is on its way.
#[tokio::test]
async fn what_a_node_that_was_overtaken_hears_says_nothing_of_the_next_command_of_the_name() {
    let store = Arc::<MemoryStore>::default();
    let slow = Node::on(&store);
    let answer = hold(&slow.back, payment(0));
    let stale = Node::start(slow).await;
    stale.pay(2, false).await;
    until(async || paid(&store).await == 1).await;

    let slow = Node::on(&store);
    let second = hold(&slow.there, payment(1));
    let record = store.projection("saga:payer").await.unwrap().unwrap();
    let owner = record.owner.unwrap();
    store.release("saga:payer", &owner).await.unwrap();
    let next = Node::start(slow).await;
    next.until_sent(1).await;

    answer.add_permits(1);
    stale.app.sagas().shutdown().await;
    // Until it notices that it was overtaken it may send the second itself, but must say no more.
    let heard_by_then = heard(&store).await;
    assert!(heard_by_then <= paid(&store).await, "{heard_by_then}");
    second.add_permits(1);
    assert_eq!(next.ended().await.status(), SagaStatus::Completed);
    assert_eq!((paid(&store).await, heard(&store).await), (2, 2));
}

#[test]
fn no_outcome_of_an_earlier_command_of_the_name_leads_to_anything() {
    let id = Uuid::nil();
    let metadata = Metadata::caused_by(CausationId::new(id), CorrelationId::new(id));
    let mut saga = Instance::<Payer>::new("saga-payer:1".parse().unwrap());
    let start = Cause::Start(serde_json::json!([2, false]));
    for cause in [start, outcomes(0).swap_remove(0)] {
        for event in saga.react(cause, dawn()).events {
            saga.apply(&event, EventId::new(id), &metadata).unwrap();
        }
    }
    assert!(saga.sent_as("pay", payment(1)).is_some());
    for (earlier, of_this) in outcomes(0).into_iter().zip(outcomes(1)) {
        assert_eq!(saga.react(earlier, dawn()).events, []);
        assert_ne!(saga.react(of_this, dawn()).events, []);
    }
}

/// All that can become of a payment.
fn outcomes(number: u32) -> Vec<Cause> {
    let (step, command_id) = ("pay".to_owned(), payment(number));
    vec![
        Cause::Succeeded {
            step: step.clone(),
            command_id,
            position: Position::new(1),
        },
        Cause::Refused {
            step: step.clone(),
            command_id,
            reason: "full".to_owned(),
            again: false,
        },
        Cause::Unsendable {
            step,
            command_id,
            reason: "unknown".to_owned(),
        },
    ]
}
