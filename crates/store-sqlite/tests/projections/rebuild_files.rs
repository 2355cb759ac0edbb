//! The file beside the store's that a projection written in SQL is rebuilt in.

use std::time::Duration;

use annals_core::{CommitError, FoldError, Position};
use annals_testing::conformance::database::{Database as _, Driver, cursed};
use chrono::Utc;

use crate::file::{Bank, File};

#[tokio::test]
async fn a_crash_between_file_and_record_counts_no_event_twice() {
    let bank = Bank::open().await;
    bank.forge_totals().await;
    let factory = File::totals(false);
    let mut rebuild = bank.rebuild(&*factory).await;
    rebuild.run(&bank, 4).await.unwrap();
    drop(rebuild);
    bank.execute("UPDATE annals_rebuilds SET position = 0, event_id = NULL")
        .await;
    let mut rebuild = bank.reopen_rebuild(4).await;
    rebuild.run(&bank, 6).await.unwrap();
    rebuild.swap(&*factory, None).await.unwrap();
    assert_eq!(bank.totals().await, ["alice|15", "bob|5"]);
}

#[tokio::test]
async fn a_rebuild_cannot_write_to_other_tables() {
    let bank = Bank::open().await;
    bank.forge_totals().await;
    bank.append("account-1", &[cursed("alice")]).await;
    let mut rebuild = bank.rebuild(&*File::totals(false)).await;
    match rebuild.run(&bank, 11).await {
        Err(CommitError::Fold(FoldError::Event {
            position, message, ..
        })) => {
            assert_eq!(position, Position::new(11));
            assert!(message.contains("readonly"), "{message}");
        }
        other => panic!("expected the write to be refused, got {other:?}"),
    }
    rebuild.run(&bank, 10).await.unwrap();
    assert_eq!(bank.query("SELECT '' || factor FROM factors").await, ["1"]);
}

/// A rebuild up to the end, killed when its tables are swapped in and its file is still there: a
/// file with a total that is wrong by now.
async fn leave_file_behind(bank: &Bank) {
    let factory = File::totals(false);
    let mut rebuild = bank.rebuild(&*factory).await;
    rebuild.run(bank, 10).await.unwrap();
    let file = bank.database.rebuild_file();
    let kept = std::fs::read(&file).unwrap();
    rebuild.swap(&*factory, None).await.unwrap();
    assert!(!file.exists());
    std::fs::write(&file, kept).unwrap();
    let mut connection = bank.database.connect_to(&file).await;
    File::execute(&mut connection, "UPDATE totals SET total = 77").await;
}

#[tokio::test]
async fn the_file_of_a_rebuild_that_was_swapped_in_is_not_taken_for_that_of_the_next() {
    let bank = Bank::open().await;
    bank.forge_totals().await;
    leave_file_behind(&bank).await;
    // The next one is killed before it opens its file, and then resumed.
    let factory = File::totals(false);
    for resumed in [false, true] {
        let begun =
            bank.store
                .begin_rebuild(factory.spec(), "me", Duration::ZERO, false, Utc::now());
        assert_eq!(begun.await.unwrap().resumed, resumed);
    }
    let rebuild = bank.record("totals").await.rebuild.unwrap();
    let opened = factory
        .open(&bank.store, annals_core::Target::Rebuild)
        .await;
    let mut driver = Driver {
        projector: opened.unwrap(),
        epoch: rebuild.epoch,
        checkpoint: rebuild.checkpoint,
    };
    driver.run(&bank, 10).await.unwrap();
    driver.swap(&*factory, None).await.unwrap();
    assert_eq!(bank.totals().await, ["alice|15", "bob|5"]);
}
