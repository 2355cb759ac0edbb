//! What a rebuild of a projection written in SQL finds when it compares the tables.

use annals_core::{ProjectionError, Recorded};
use annals_sqlite::{SqlProjection, sql_projection};
use annals_testing::conformance::database::{AccountEvent, deposited};
use sqlx::SqliteConnection;

use crate::file::Bank;

/// A list of movements, in which one row may stand twice.
struct Journal;

impl SqlProjection for Journal {
    type Event = AccountEvent;
    const NAME: &'static str = "journal";
    const TABLES: &'static [&'static str] = &["journal"];
    const SCHEMA: &'static str = "CREATE TABLE journal (owner TEXT COLLATE NOCASE, amount INTEGER)";

    async fn apply(
        event: &Recorded<AccountEvent>,
        db: &mut SqliteConnection,
    ) -> Result<(), ProjectionError> {
        if let AccountEvent::Deposited { owner, amount } = &event.event {
            sqlx::query("INSERT INTO journal VALUES (?, ?)")
                .bind(owner)
                .bind(amount)
                .execute(db)
                .await?;
        }
        Ok(())
    }
}

/// What differs after these statements on a table with two deposits of alice's and one of bob's.
async fn differences(forged: &'static str) -> Vec<[Option<String>; 2]> {
    let bank = Bank::open().await;
    let alice = deposited("alice", 5);
    bank.append("account-1", &[alice.clone(), alice, deposited("bob", 1)])
        .await;
    let factory = sql_projection::<Journal>();
    bank.live(&factory).await.run(&bank, 3).await.unwrap();
    bank.execute(forged).await;
    let mut rebuild = bank.rebuild(&factory).await;
    rebuild.run(&bank, 3).await.unwrap();
    let swapped = rebuild.swap(&factory, Some(5)).await.unwrap();
    let found = swapped.differences.unwrap();
    assert_eq!(found.count, found.samples.len() as u64);
    let samples = found.samples.into_iter();
    samples.map(|row| [row.live, row.rebuilt]).collect()
}

#[tokio::test]
async fn a_row_that_stands_once_too_often_differs() {
    assert!(differences("SELECT 1").await.is_empty());
    let [twice, thrice] =
        ["2", "3"].map(|times| format!("owner='alice', amount=5 ({times} times)"));
    assert_eq!(
        differences("INSERT INTO journal VALUES ('alice', 5)").await,
        [[Some(thrice), Some(twice)]]
    );
}

#[tokio::test]
async fn texts_that_differ_in_case_alone_differ() {
    let [live, rebuilt] = ["Bob", "bob"].map(|owner| format!("owner='{owner}', amount=1"));
    assert_eq!(
        differences("UPDATE journal SET owner = 'Bob' WHERE owner = 'bob'").await,
        [[Some(live), None], [None, Some(rebuilt)]]
    );
}
