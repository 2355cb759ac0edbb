//! Projections written in SQL that follow the log, or commit with each append.

use annals_core::{
    AppendError, CommitError, FoldError, Position, ProjectionState, StoreErrorKind, Target,
};

use super::{Bank, Database, append_to, cursed, deposited};
use crate::conformance::{sample::now, table::assert_fenced};

pub async fn statements_and_checkpoint_commit_together<D: Database>(bank: Bank<D>) {
    bank.append("account-1", &[deposited("alice", 5), deposited("bob", 7)])
        .await;
    let mut live = bank.live(&*D::totals(false)).await;
    live.run(&bank, 1).await.unwrap();
    live.run(&bank, 1).await.unwrap();
    assert_eq!(bank.totals().await, ["alice|5", "bob|7"]);
    assert_eq!(bank.record("totals").await.checkpoint, live.checkpoint);
}

pub async fn a_reopened_projection_goes_on_with_its_tables<D: Database>(bank: Bank<D>) {
    bank.append("account-1", &[deposited("alice", 5), deposited("alice", 6)])
        .await;
    for _ in 0..2 {
        let mut live = bank.live(&*D::totals(false)).await;
        live.run(&bank, 1).await.unwrap();
    }
    assert_eq!(bank.totals().await, ["alice|11"]);
}

pub async fn a_failing_event_is_named_and_nothing_of_its_batch_is_applied<D: Database>(
    bank: Bank<D>,
) {
    let events = [deposited("alice", 5), cursed("alice"), deposited("bob", 1)];
    bank.append("account-1", &events).await;
    let mut live = bank.live(&*D::totals(false)).await;
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
    assert_eq!(bank.query("SELECT '' || factor FROM factors").await, ["1"]);
    live.run(&bank, 1).await.unwrap();
    assert_eq!(bank.totals().await, ["alice|5"]);
}

pub async fn a_step_that_was_overtaken_applies_nothing<D: Database>(bank: Bank<D>) {
    bank.append("account-1", &[deposited("alice", 5)]).await;
    let factory = D::totals(false);
    let mut slow = bank.live(&*factory).await;
    bank.live(&*factory).await.run(&bank, 1).await.unwrap();
    assert_fenced(slow.run(&bank, 1).await);
    assert_eq!(bank.totals().await, ["alice|5"]);
}

pub async fn tables_that_are_somebody_elses_are_left_alone<D: Database>(bank: Bank<D>) {
    bank.execute("CREATE TABLE movements (mine bigint)").await;
    let factory = D::totals(false);
    bank.store.register(factory.spec(), now()).await.unwrap();
    let refused = factory.open(&bank.store, Target::Live).await;
    assert_eq!(refused.unwrap_err().kind(), StoreErrorKind::Invalid);
    let still = bank.query("SELECT '' || mine FROM movements").await;
    assert_eq!(still, [""; 0]);
}

pub async fn an_inline_projection_is_there_with_the_append<D: Database>(bank: Bank<D>) {
    bank.append("account-1", &[deposited("alice", 5)]).await;
    bank.install(&*D::totals(true)).await;
    assert_eq!(bank.totals().await, ["alice|5"]);
    bank.append("account-1", &[deposited("alice", 6)]).await;
    assert_eq!(bank.totals().await, ["alice|11"]);
    let append = append_to("account-2", &[deposited("bob", 1), cursed("bob")]);
    let refused = bank.store.append(append).await;
    assert!(
        matches!(refused, Err(AppendError::InlineProjection { .. })),
        "{refused:?}"
    );
    assert_eq!(bank.totals().await, ["alice|11"]);
    let record = bank.record("totals").await;
    assert_eq!(record.checkpoint.position, Position::new(2));
    assert_eq!(record.state, ProjectionState::Running);
}

pub async fn an_inline_projection_takes_in_what_others_appended_without_it<D: Database>(
    bank: Bank<D>,
) {
    bank.install(&*D::totals(true)).await;
    let paused = (bank.store).set_state("totals", ProjectionState::Paused, now());
    paused.await.unwrap();
    for amount in 1..=3 {
        bank.append("account-1", &[deposited("alice", amount)])
            .await;
    }
    assert_eq!(bank.totals().await, [""; 0]);
    let resumed = (bank.store).set_state("totals", ProjectionState::Running, now());
    resumed.await.unwrap();
    bank.append("account-1", &[deposited("alice", 4)]).await;
    assert_eq!(bank.totals().await, ["alice|10"]);
}
