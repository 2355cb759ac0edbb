//! What a plan of two steps does, and how it is undone.

use std::time::Duration;

use annals_core::saga::SagaStatus;

use crate::{
    accounts::{AccountCommand, transfer},
    bank::{Bank, until},
};

#[tokio::test]
async fn all_steps_of_a_plan_are_taken() {
    let bank = Bank::open().await;
    bank.tell("a", AccountCommand::Deposit { cents: 100 }).await;
    bank.start("1", transfer("a", "b", 30)).await;
    let ended = bank.ended("1").await;
    assert_eq!(ended.status(), SagaStatus::Completed);
    assert_eq!(ended.reason(), None);
    assert!(ended.outstanding().is_empty() && ended.deadlines().is_empty());
    assert_eq!(ended.process().saga(), Some(&transfer("a", "b", 30)));
    assert_eq!((bank.cents("a").await, bank.cents("b").await), (70, 30));
}

#[tokio::test]
async fn a_saga_whose_first_step_is_refused_has_failed() {
    let bank = Bank::open().await;
    bank.start("1", transfer("a", "b", 30)).await;
    let ended = bank.ended("1").await;
    assert_eq!(ended.status(), SagaStatus::Failed);
    assert_eq!(ended.reason(), Some("debit: 30 cents are missing"));
    assert_eq!((bank.cents("a").await, bank.cents("b").await), (0, 0));
}

#[tokio::test]
async fn what_was_done_is_undone_when_a_later_step_is_refused() {
    let bank = Bank::open().await;
    bank.tell("a", AccountCommand::Deposit { cents: 100 }).await;
    bank.tell("b", AccountCommand::Close).await;
    bank.start("1", transfer("a", "b", 30)).await;
    let ended = bank.ended("1").await;
    assert_eq!(ended.status(), SagaStatus::Compensated);
    assert_eq!(ended.reason(), Some("credit: the account is closed"));
    assert!(ended.outstanding().is_empty() && ended.deadlines().is_empty());
    assert_eq!((bank.cents("a").await, bank.cents("b").await), (100, 0));
}

#[tokio::test]
async fn a_refused_step_is_tried_again_where_the_plan_says_so() {
    let bank = Bank::open().await;
    bank.tell("a", AccountCommand::Deposit { cents: 100 }).await;
    bank.tell("b", AccountCommand::Freeze).await;
    bank.start("1", transfer("a", "b", 30)).await;
    while bank
        .saga("1")
        .await
        .outstanding()
        .values()
        .all(|command| command.refusals < 2)
    {
        bank.clock.advance(Duration::from_millis(250));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    bank.tell("b", AccountCommand::Unfreeze).await;
    let ended = bank.ended_in_time("1", Duration::from_millis(500)).await;
    assert_eq!(ended.status(), SagaStatus::Completed);
    assert_eq!((bank.cents("a").await, bank.cents("b").await), (70, 30));
}

#[tokio::test]
async fn a_compensation_that_keeps_failing_leaves_the_saga_stuck_until_an_operator_retries() {
    let bank = Bank::open().await;
    bank.tell("a", AccountCommand::Deposit { cents: 100 }).await;
    bank.tell("b", AccountCommand::Freeze).await;
    bank.start("1", transfer("a", "b", 30)).await;
    until(async || bank.saga("1").await.outstanding().contains_key("credit")).await;
    bank.tell("a", AccountCommand::Close).await;
    let stuck = bank.ended_in_time("1", Duration::from_secs(1)).await;
    assert_eq!(stuck.status(), SagaStatus::Stuck);
    assert_eq!(stuck.reason(), Some("the account is closed"));
    assert_eq!(bank.cents("a").await, 70);
    bank.app
        .sagas()
        .abandon("transfer", "1", "paid out by hand")
        .await
        .unwrap();
    let ended = bank.ended("1").await;
    assert_eq!(ended.status(), SagaStatus::Abandoned);
}
