//! A clock that is set forwards and back while deadlines are pending.

use std::{sync::Arc, time::Duration};

use annals::{
    Annals, App, Clock as _, LogRead, Position, Store,
    saga::{SagaEvent, SagaStatus},
};
use annals_testing::clock::{ManualClock, dawn};

use crate::accounts::{AccountCommand, Transfer, cents, ended, tell, transfer};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
/// How many transfers wait for their deadline.
const PENDING: usize = 10;

on_every_store! {
    a_clock_set_forwards_by_an_hour_fires_each_deadline_once
    a_clock_set_back_by_an_hour_neither_fires_a_deadline_early_nor_loses_it
}

async fn open(store: &Arc<dyn Store>, clock: &Arc<ManualClock>) -> App {
    let builder = Annals::on(Arc::clone(store)).clock(clock.clone());
    builder.saga::<Transfer>().start().await.unwrap()
}

fn ids() -> impl Iterator<Item = String> {
    (0..PENDING).map(|number| number.to_string())
}

/// Begins a transfer to an account that is frozen, and lets it be refused there once.
async fn begin(app: &App, id: &str, within: Duration) {
    let transfer = Transfer {
        within,
        ..transfer("a", "frozen", 10)
    };
    let id = id.to_owned();
    let mut head = app.start_saga(&id, transfer).await.unwrap().position;
    while !is_refused(app, &id).await {
        head = app.store().wait_beyond(head).await.unwrap();
    }
}

/// Begins transfers that may take half an hour.
async fn pending(app: &App) {
    tell(app, "a", AccountCommand::Change(1_000)).await;
    tell(app, "frozen", AccountCommand::Freeze).await;
    for id in ids() {
        begin(app, &id, HOUR / 2).await;
    }
}

async fn is_refused(app: &App, id: &String) -> bool {
    let saga = app.saga::<Transfer>(id).await.unwrap().unwrap();
    let credit = saga.outstanding().get("credit");
    credit.is_some_and(|credit| credit.refusals > 0)
}

/// The sagas whose deadlines have fired, once for each time.
async fn fired(app: &App) -> Vec<String> {
    let mut fired = Vec::new();
    let mut after = Position::START;
    loop {
        let page = app.store().read_log(LogRead::after(after, 1_000)).await;
        let events = page.unwrap().events;
        let Some(last) = events.last() else {
            return fired;
        };
        after = last.position;
        for stored in &events {
            let event = stored.decode::<SagaEvent>().unwrap();
            let has_fired = |event: &SagaEvent| matches!(event, SagaEvent::Fired { .. });
            if event.is_some_and(|event| has_fired(&event.event)) {
                let id = stored.stream.id();
                fired.push(id.trim_start_matches("transfer:").to_owned());
            }
        }
    }
}

async fn a_clock_set_forwards_by_an_hour_fires_each_deadline_once(store: Arc<dyn Store>) {
    let clock = Arc::new(ManualClock::default());
    let app = open(&store, &clock).await;
    pending(&app).await;
    clock.advance(HOUR);
    for id in ids() {
        comes_back(&app, &id).await;
    }
    clock.set(dawn());
    begin(&app, "next", MINUTE).await;
    clock.advance(MINUTE);
    comes_back(&app, "next").await;
    let mut fired = fired(&app).await;
    fired.sort();
    assert_eq!(fired, ids().chain(["next".to_owned()]).collect::<Vec<_>>());
    assert_eq!(cents(&app, "a").await, 1_000);
    app.shutdown().await;
}

async fn a_clock_set_back_by_an_hour_neither_fires_a_deadline_early_nor_loses_it(
    store: Arc<dyn Store>,
) {
    let clock = Arc::new(ManualClock::default());
    let app = open(&store, &clock).await;
    pending(&app).await;
    let due = clock.now() + HOUR / 2;
    clock.set(dawn() - HOUR);
    // Deadlines that come before those of the others, so that it is seen when these are not fired.
    begin(&app, "during", MINUTE).await;
    clock.advance(MINUTE);
    comes_back(&app, "during").await;
    assert_eq!(fired(&app).await, ["during"]);

    app.sagas().shutdown().await;
    app.projections().shutdown().await;
    let app = open(&store, &clock).await;
    begin(&app, "before", HOUR).await;
    clock.set(due - Duration::from_micros(1));
    comes_back(&app, "before").await;
    assert_eq!(fired(&app).await, ["during", "before"]);

    clock.set(due);
    for id in ids() {
        comes_back(&app, &id).await;
    }
    let mut fired = fired(&app).await;
    fired.sort();
    let others = ["before", "during"].map(str::to_owned);
    assert_eq!(fired, ids().chain(others).collect::<Vec<_>>());
    assert_eq!(cents(&app, "a").await, 1_000);
    app.shutdown().await;
}

/// Waits until a transfer has come back.
async fn comes_back(app: &App, id: &str) {
    assert_eq!(ended(app, id).await.status(), SagaStatus::Compensated);
}
