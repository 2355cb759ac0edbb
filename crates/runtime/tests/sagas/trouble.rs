//! Sagas in trouble, beside others that are not.

use std::time::Duration;

use annals_core::saga::SagaStatus;

use crate::{
    accounts::{AccountCommand, Transfer, transfer},
    bank::until,
    unsteady::Bank,
};

/// No more sagas than this may wait.
const WAITING: usize = 4;
/// So many are in trouble.
const TROUBLED: usize = 5 * WAITING;

async fn open() -> Bank {
    let bank = Bank::open(WAITING, |builder| builder.saga::<Transfer>()).await;
    bank.tell("a", AccountCommand::Deposit { cents: 100 }).await;
    bank
}

fn troubled() -> impl Iterator<Item = String> {
    (0..TROUBLED).map(|number| format!("troubled-{number}"))
}

/// Starts more transfers to the account `broken` than may wait, and waits until all of them have
/// come to grief.
async fn trouble(bank: &Bank) {
    for id in troubled() {
        bank.start(&id, transfer("a", "broken", 1)).await;
    }
    for id in troubled() {
        let sends =
            |saga: &annals_core::saga::Instance<_>| saga.outstanding().contains_key("credit");
        bank.until::<Transfer>(&id, sends).await;
    }
    bank.until_read().await;
}

#[tokio::test(start_paused = true)]
async fn sagas_in_trouble_keep_no_other_from_its_deadline_or_its_end() {
    let bank = open().await;
    bank.tell("frozen", AccountCommand::Freeze).await;
    bank.start("late", transfer("a", "frozen", 30)).await;
    trouble(&bank).await;

    bank.start("well", transfer("a", "b", 30)).await;
    let ended = bank.ended::<Transfer>("well").await;
    assert_eq!(ended.status(), SagaStatus::Completed);
    bank.clock.advance(Duration::from_secs(31));
    let ended = bank.ended::<Transfer>("late").await;
    assert_eq!(ended.status(), SagaStatus::Compensated);
}

#[tokio::test(start_paused = true)]
async fn sagas_in_trouble_go_on_when_it_is_over_however_many_there_are() {
    let bank = open().await;
    trouble(&bank).await;
    let health = bank.app.sagas().health().remove(0);
    let problem = health.problem.unwrap();
    assert!(problem.starts_with("saga `troubled-"), "{problem}");

    bank.mend();
    for id in troubled() {
        let ended = bank.ended::<Transfer>(&id).await;
        assert_eq!(ended.status(), SagaStatus::Completed);
    }
    until(async || bank.app.sagas().health()[0].problem.is_none()).await;
}
