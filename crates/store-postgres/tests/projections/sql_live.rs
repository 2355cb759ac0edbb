//! SQL projections that follow the log, or commit with each append.

use annals_core::{
    AppendError, CommitError, FoldError, Position, ProjectionState, ProjectorFactory,
};
use annals_postgres::{inline_sql_projection, sql_projection};

use crate::accounts::{Bank, Totals, cursed, deposited, now};

#[tokio::test]
async fn statements_and_checkpoint_commit_together() {
    let bank = Bank::open().await;
    bank.append("account-1", &[deposited("alice", 5), deposited("bob", 7)])
        .await;
    let factory = sql_projection::<Totals>();
    let mut live = bank.live(&factory).await;
    live.run(&bank, 1).await.unwrap();
    live.run(&bank, 1).await.unwrap();
    assert_eq!(bank.totals().await, ["alice|5", "bob|7"]);
    let record = bank.store.projection("totals").await.unwrap().unwrap();
    assert_eq!(record.checkpoint, live.checkpoint);
}

#[tokio::test]
async fn a_reopened_projection_goes_on_with_its_tables() {
    let bank = Bank::open().await;
    bank.append("account-1", &[deposited("alice", 5), deposited("alice", 6)])
        .await;
    let factory = sql_projection::<Totals>();
    bank.live(&factory).await.run(&bank, 1).await.unwrap();
    bank.live(&factory).await.run(&bank, 1).await.unwrap();
    assert_eq!(bank.totals().await, ["alice|11"]);
}

#[tokio::test]
async fn a_failing_event_is_named_and_nothing_of_its_batch_is_applied() {
    let bank = Bank::open().await;
    let events = [deposited("alice", 5), cursed("alice"), deposited("bob", 1)];
    bank.append("account-1", &events).await;
    let factory = sql_projection::<Totals>();
    let mut live = bank.live(&factory).await;
    match live.run(&bank, 3).await {
        Err(CommitError::Fold(FoldError::Event {
            position, message, ..
        })) => {
            assert_eq!((position.get(), message.as_str()), (2, "it is cursed"));
        }
        other => panic!("expected the event to be named, got {other:?}"),
    }
    assert_eq!(bank.totals().await, [""; 0]);
    assert_eq!(bank.query("SELECT owner FROM movements").await, [""; 0]);
    assert_eq!(bank.query("SELECT factor::text FROM factors").await, ["1"]);
    live.run(&bank, 1).await.unwrap();
    assert_eq!(bank.totals().await, ["alice|5"]);
}

#[tokio::test]
async fn a_step_that_was_overtaken_applies_nothing() {
    let bank = Bank::open().await;
    bank.append("account-1", &[deposited("alice", 5)]).await;
    let factory = sql_projection::<Totals>();
    let mut slow = bank.live(&factory).await;
    bank.live(&factory).await.run(&bank, 1).await.unwrap();
    let late = slow.run(&bank, 1).await;
    assert!(matches!(late, Err(CommitError::Fenced { .. })), "{late:?}");
    assert_eq!(bank.totals().await, ["alice|5"]);
}

#[tokio::test]
async fn tables_that_are_somebody_elses_are_left_alone() {
    let bank = Bank::open().await;
    bank.sql("CREATE TABLE movements (mine bigint)").await;
    let factory = sql_projection::<Totals>();
    bank.store.register(factory.spec(), now()).await.unwrap();
    let opened = factory.open(&bank.store, annals_core::Target::Live).await;
    let error = opened.unwrap_err();
    assert_eq!(error.kind(), annals_core::StoreErrorKind::Invalid);
    assert_eq!(
        bank.query("SELECT mine::text FROM movements").await,
        [""; 0]
    );
}

#[tokio::test]
async fn an_inline_projection_is_there_with_the_append() {
    let bank = Bank::open().await;
    bank.append("account-1", &[deposited("alice", 5)]).await;
    let factory = inline_sql_projection::<Totals>();
    bank.store.register(factory.spec(), now()).await.unwrap();
    factory.install_inline(&bank.store).await.unwrap();
    assert_eq!(bank.totals().await, ["alice|5"]);
    bank.append("account-1", &[deposited("alice", 6)]).await;
    assert_eq!(bank.totals().await, ["alice|11"]);
    let refused = bank
        .try_append("account-2", &[deposited("bob", 1), cursed("bob")])
        .await;
    assert!(
        matches!(refused, Err(AppendError::InlineProjection { .. })),
        "{refused:?}"
    );
    assert_eq!(bank.totals().await, ["alice|11"]);
    let record = bank.store.projection("totals").await.unwrap().unwrap();
    assert_eq!(record.checkpoint.position, Position::new(2));
    assert_eq!(record.state, ProjectionState::Running);
}

#[tokio::test]
async fn an_inline_projection_takes_in_what_others_appended_without_it() {
    let bank = Bank::open().await;
    let factory = inline_sql_projection::<Totals>();
    bank.store.register(factory.spec(), now()).await.unwrap();
    factory.install_inline(&bank.store).await.unwrap();
    let paused = ProjectionState::Paused;
    bank.store.set_state("totals", paused, now()).await.unwrap();
    for amount in 1..=3 {
        bank.append("account-1", &[deposited("alice", amount)])
            .await;
    }
    assert_eq!(bank.totals().await, [""; 0]);
    let running = ProjectionState::Running;
    bank.store
        .set_state("totals", running, now())
        .await
        .unwrap();
    bank.append("account-1", &[deposited("alice", 4)]).await;
    assert_eq!(bank.totals().await, ["alice|10"]);
}
