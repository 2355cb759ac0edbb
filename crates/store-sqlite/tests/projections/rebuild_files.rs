//! The file beside the store's that a projection written in SQL is rebuilt in.

use annals_core::{CommitError, FoldError, Position};
use annals_testing::conformance::database::{Database as _, cursed};

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
