//! Deadlines: durable, by the clock that the application is given, fired once.

use std::{sync::Arc, time::Duration};

use annals_core::{
    EventStore as _, LogRead, ProjectionState, ProjectionStore as _,
    saga::{SagaEvent, SagaStatus},
};

use crate::{
    accounts::{AccountCommand, transfer},
    bank::{Bank, until},
};

async fn fired(bank: &Bank) -> usize {
    let page = bank
        .store
        .read_log(LogRead::after(0.into(), 10_000))
        .await
        .unwrap();
    let events = page
        .events
        .iter()
        .filter_map(|event| event.decode::<SagaEvent>().unwrap());
    events
        .filter(|event| matches!(event.event, SagaEvent::Fired { .. }))
        .count()
}

async fn frozen() -> Bank {
    let bank = Bank::open().await;
    bank.tell("a", AccountCommand::Deposit { cents: 100 }).await;
    bank.tell("b", AccountCommand::Freeze).await;
    bank
}

async fn until_credit_is_refused(bank: &Bank, id: &str) {
    until(async || {
        let saga = bank.saga(id).await;
        let credit = saga.outstanding().get("credit");
        credit.is_some_and(|credit| credit.refusals > 0)
    })
    .await;
}

#[tokio::test]
async fn a_step_that_is_not_done_in_time_is_taken_back_and_the_rest_undone() {
    let bank = frozen().await;
    bank.start("1", transfer("a", "b", 30)).await;
    let ended = bank.ended_in_time("1", Duration::from_secs(1)).await;
    assert_eq!(ended.status(), SagaStatus::Compensated);
    assert_eq!(
        ended.reason(),
        Some("credit: not done within 30s (the account is frozen)")
    );
    assert_eq!((bank.cents("a").await, bank.cents("b").await), (100, 0));
    assert_eq!(fired(&bank).await, 1);
}

#[tokio::test]
async fn a_deadline_survives_a_restart_and_a_step_of_the_clock() {
    let bank = frozen().await;
    bank.start("1", transfer("a", "b", 30)).await;
    until_credit_is_refused(&bank, "1").await;
    let due = bank.saga("1").await.deadlines()["step:credit"];
    bank.app.sagas().shutdown().await;
    bank.app.projections().shutdown().await;

    bank.clock.set(due - Duration::from_secs(3_600));
    let bank = Bank::on(Arc::clone(&bank.store), Arc::clone(&bank.clock)).await;
    bank.clock.set(due - Duration::from_micros(1));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(fired(&bank).await, 0);
    bank.clock.set(due + Duration::from_secs(3_600));
    assert_eq!(bank.ended("1").await.status(), SagaStatus::Compensated);
    bank.clock.set(due);
    assert_eq!(fired(&bank).await, 1);
    assert_eq!(bank.cents("a").await, 100);
}

#[tokio::test]
async fn two_nodes_that_run_a_saga_fire_its_deadline_once() {
    let one = frozen().await;
    one.start("1", transfer("a", "b", 30)).await;
    until_credit_is_refused(&one, "1").await;
    let two = Bank::on(Arc::clone(&one.store), Arc::clone(&one.clock)).await;
    one.clock.advance(Duration::from_secs(31));
    assert_eq!(two.ended("1").await.status(), SagaStatus::Compensated);
    assert_eq!(fired(&one).await, 1);
    let leading = [&one, &two].map(|bank| bank.app.sagas().health()[0].leading);
    assert_eq!(leading.iter().filter(|leads| **leads).count(), 1);
}

/// What is due after more than a moment stands in the table alone.
#[tokio::test(start_paused = true)]
async fn a_table_of_deadlines_that_stands_still_is_shown_in_health() {
    let bank = frozen().await;
    let table = "annals_saga_deadlines";
    let set = async |state| {
        let set = bank.store.set_state(table, state, chrono::Utc::now());
        set.await.unwrap();
    };
    let problem = || bank.app.sagas().health()[0].problem.clone();
    set(ProjectionState::Paused).await;
    bank.start("1", transfer("a", "b", 30)).await;
    let mut seen = None;
    for _ in 0..100 {
        bank.clock.advance(Duration::from_secs(1));
        tokio::time::sleep(Duration::from_millis(100)).await;
        seen = seen.or(problem());
    }
    let seen = seen.expect("nothing is shown");
    assert!(seen.contains(table), "{seen}");
    assert_eq!(bank.saga("1").await.status(), SagaStatus::Running);

    set(ProjectionState::Running).await;
    assert_eq!(bank.ended("1").await.status(), SagaStatus::Compensated);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(problem(), None);
}
