//! Steps that are taken at the same time, and undone one after the other.

use std::sync::Arc;

use annals::{
    Annals, Append, AppendError, Appended, Event, Expected, Store, StoreError, StoredEvent,
    StreamRead, Version,
    saga::{Plan, Saga, SagaEvent, SagaStatus},
};
use annals_testing::delegating::{Delegating, Hooks};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{Barrier, watch},
    time::timeout,
};

use crate::accounts::{Account, AccountCommand, PATIENCE, cents, tell};

on_every_store! {
    steps_of_one_stage_are_in_flight_at_once_and_undone_one_by_one_the_last_first
    a_step_that_is_done_while_the_other_of_its_stage_is_refused_is_undone_first
    many_journeys_at_the_same_time_all_end
}

/// A journey: a train, then two rooms at the same time, then a tour; each costs an account 10.
#[derive(Serialize, Deserialize, Clone, Debug)]
struct Journey;

const STEPS: [&str; 4] = ["train", "north", "south", "tour"];

impl Saga for Journey {
    const NAME: &'static str = "journey";
    type Id = String;
    type SendsTo = (Account,);

    fn plan(&self, _: &String, plan: &mut Plan) {
        for name in STEPS {
            let step = match name {
                "south" => plan.also(name),
                _ => plan.step(name),
            };
            step.command::<Account>(&name.to_owned(), AccountCommand::Change(-10))
                .undo(AccountCommand::Change(10));
        }
    }
}

/// Whether an append pays for a step, rather than gives back what was paid.
fn pays(append: &Append, step: &str) -> bool {
    let mut writes = append.writes.iter();
    writes.any(|write| {
        write.stream.id() == step && write.expected == Expected::Exact(Version::new(1))
    })
}

/// Lets the rooms be paid for only when both are about to be.
#[derive(Debug)]
struct Together {
    store: Arc<dyn Store>,
    both: Barrier,
}

#[async_trait]
impl Hooks for Together {
    fn store(&self) -> &dyn Store {
        &*self.store
    }

    async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        if pays(&append, "north") || pays(&append, "south") {
            let both = timeout(PATIENCE, self.both.wait()).await;
            both.expect("the other room is paid for at the same time");
        }
        self.store.append(append).await
    }
}

/// Lets nobody look at what is there for the north room until the south room is paid for.
#[derive(Debug)]
struct OneAfterTheOther {
    store: Arc<dyn Store>,
    paid: watch::Sender<bool>,
}

#[async_trait]
impl Hooks for OneAfterTheOther {
    fn store(&self) -> &dyn Store {
        &*self.store
    }

    async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        let pays = pays(&append, "south");
        let appended = self.store.append(append).await?;
        if pays {
            self.paid.send_replace(true);
        }
        Ok(appended)
    }

    async fn read_stream(&self, read: StreamRead) -> Result<Vec<StoredEvent>, StoreError> {
        if read.stream.id() == "north" {
            let mut paid = self.paid.subscribe();
            let paid = timeout(PATIENCE, paid.wait_for(|paid| *paid)).await;
            paid.expect("the south room is paid for meanwhile").unwrap();
        }
        self.store.read_stream(read).await
    }
}

/// What a saga sent, and what became of it, in the order of its stream.
async fn told(store: &dyn Store, id: &str) -> Vec<String> {
    let stream = format!("saga-journey:{id}").parse().unwrap();
    let read = StreamRead::after(stream, Version::NONE, 1_000);
    let events = store.read_stream(read).await.unwrap().into_iter();
    let events = events.map(|stored| stored.decode::<SagaEvent>().unwrap().unwrap().event);
    let told = events.filter_map(|event| match event {
        SagaEvent::Sent { step, .. } => Some(format!("{step} sent")),
        SagaEvent::Succeeded { step, .. } => Some(format!("{step} done")),
        SagaEvent::Rejected { step, .. } => Some(format!("{step} refused")),
        SagaEvent::Started { .. } | SagaEvent::Compensating { .. } => None,
        event => Some(event.schema().name.to_owned()),
    });
    told.collect()
}

/// Carries a journey out, seen through hooks; each account has 10, but not this one.
async fn journey(store: &Arc<dyn Store>, hooked: Arc<dyn Store>, broke: &str) -> Vec<String> {
    let funds = |account: &str| if account == broke { 1 } else { 10 };
    let outside = Annals::on(Arc::clone(store)).connect().await.unwrap();
    for account in STEPS {
        tell(&outside, account, AccountCommand::Change(funds(account))).await;
    }
    let app = Annals::on(hooked).saga::<Journey>().start().await.unwrap();
    let id = "j".to_owned();
    app.start_saga(&id, Journey).await.unwrap();
    let ended = app.saga_ended::<Journey>(&id, PATIENCE).await.unwrap();
    assert_eq!(ended.status(), SagaStatus::Compensated);
    let reason = format!("{broke}: 9 cents are missing");
    assert_eq!(ended.reason(), Some(reason.as_str()));
    for account in STEPS {
        assert_eq!(cents(&outside, account).await, funds(account), "{account}");
    }
    let told = told(&**store, &id).await;
    app.shutdown().await;
    told
}

async fn steps_of_one_stage_are_in_flight_at_once_and_undone_one_by_one_the_last_first(
    store: Arc<dyn Store>,
) {
    let together = Together {
        store: Arc::clone(&store),
        both: Barrier::new(2),
    };
    let mut told = journey(&store, Arc::new(Delegating(together)), "tour").await;
    told[4..6].sort(); // the rooms' outcomes, whichever came first
    let expected = [
        "train sent",
        "train done",
        "north sent",
        "south sent",
        "north done",
        "south done",
        "tour sent",
        "tour refused",
        "undo:south sent",
        "undo:south done",
        "undo:north sent",
        "undo:north done",
        "undo:train sent",
        "undo:train done",
        "saga.compensated",
    ];
    assert_eq!(told, expected);
}

async fn a_step_that_is_done_while_the_other_of_its_stage_is_refused_is_undone_first(
    store: Arc<dyn Store>,
) {
    let one_after_the_other = OneAfterTheOther {
        store: Arc::clone(&store),
        paid: watch::Sender::new(false),
    };
    let mut told = journey(&store, Arc::new(Delegating(one_after_the_other)), "north").await;
    // The south room is paid for, but that may be noticed after the refusal, and so when the room
    // is to be taken back.
    told.retain(|line| line != "saga.recalled");
    told[4..6].sort();
    let expected = [
        "train sent",
        "train done",
        "north sent",
        "south sent",
        "north refused",
        "south done",
        "undo:south sent",
        "undo:south done",
        "undo:train sent",
        "undo:train done",
        "saga.compensated",
    ];
    assert_eq!(told, expected);
}

/// A command that waits for its turn at the store must not keep the record of another from it.
async fn many_journeys_at_the_same_time_all_end(store: Arc<dyn Store>) {
    const JOURNEYS: i64 = 300;
    let app = Annals::on(store).saga::<Journey>().start().await.unwrap();
    for account in STEPS {
        tell(&app, account, AccountCommand::Change(10 * JOURNEYS)).await;
    }
    let ids: Vec<String> = (0..JOURNEYS).map(|number| format!("j{number}")).collect();
    for id in &ids {
        app.start_saga(id, Journey).await.unwrap();
    }
    for id in &ids {
        let ended = app.saga_ended::<Journey>(id, PATIENCE).await.unwrap();
        assert_eq!(ended.status(), SagaStatus::Completed, "{id}");
    }
    for account in STEPS {
        assert_eq!(cents(&app, account).await, 0, "{account}");
    }
    app.shutdown().await;
}
