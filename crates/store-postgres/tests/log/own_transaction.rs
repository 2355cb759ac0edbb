//! Appending in a transaction of the user's own.

use std::error::Error as _;

use annals_core::{AppendError, AppendId, EventStore as _, Expected, Position, StoreErrorKind};
use annals_testing::postgres::TestSchema;
use sqlx::{Connection as _, Row as _};
use uuid::Uuid;

use crate::sample::{append, open, places, plain, run};

#[tokio::test]
async fn events_are_in_the_log_exactly_if_the_transaction_commits() {
    let schema = TestSchema::create().await;
    let store = open(&schema).await;
    let mut conn = plain(&schema).await;
    run(&mut conn, "CREATE TABLE orders (number int)").await;
    for commits in [false, true] {
        let mut transaction = conn.begin().await.unwrap();
        run(&mut transaction, "INSERT INTO orders VALUES (1)").await;
        let new = append("order-1", Expected::NoStream, &[b"1", b"2"]);
        let appended = store.append_in(&mut transaction, new).await.unwrap();
        assert_eq!(appended.position, Position::new(2));
        assert_eq!(store.head().await.unwrap(), Position::START);
        if commits {
            transaction.commit().await.unwrap();
        } else {
            transaction.rollback().await.unwrap();
        }
    }
    assert_eq!(places(&store).await, [(1, 1), (2, 2)]);
    let orders: i64 = sqlx::query_scalar("SELECT count(*) FROM orders")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert_eq!(orders, 1);
    store.close().await;
}

#[tokio::test]
async fn a_refused_append_leaves_the_transaction_as_it_was_and_the_lock_free() {
    let schema = TestSchema::create().await;
    let store = open(&schema).await;
    let mut conn = plain(&schema).await;
    run(&mut conn, "CREATE TABLE orders (number int)").await;
    let mut transaction = conn.begin().await.unwrap();
    run(&mut transaction, "INSERT INTO orders VALUES (1)").await;
    let refused = append("order-1", Expected::StreamExists, &[b"1"]);
    match store.append_in(&mut transaction, refused).await {
        Err(AppendError::Conflict { .. }) => {}
        outcome => panic!("{outcome:?}"),
    }
    // If it still held the lock, this one would wait for the transaction.
    let other = append("order-2", Expected::NoStream, &[b"1"]);
    store.append(other).await.unwrap();
    let accepted = append("order-1", Expected::NoStream, &[b"1"]);
    let appended = store.append_in(&mut transaction, accepted).await.unwrap();
    assert_eq!(appended.position, Position::new(2));
    transaction.commit().await.unwrap();
    let row = sqlx::query("SELECT count(*) FROM orders");
    assert_eq!(row.fetch_one(&mut conn).await.unwrap().get::<i64, _>(0), 1);
    assert_eq!(store.head().await.unwrap(), Position::new(2));
    store.close().await;
}

#[tokio::test]
async fn a_repeated_append_is_answered_as_the_first_time() {
    let schema = TestSchema::create().await;
    let store = open(&schema).await;
    let mut conn = plain(&schema).await;
    let id = AppendId::new(Uuid::now_v7());
    let new = append("order-1", Expected::NoStream, &[b"1"]).once(id, [7; 16]);
    let first = store.append(new.clone()).await.unwrap();
    let mut transaction = conn.begin().await.unwrap();
    let again = store.append_in(&mut transaction, new).await.unwrap();
    transaction.commit().await.unwrap();
    assert!(again.repeated);
    assert_eq!(
        (again.position, again.versions),
        (first.position, first.versions)
    );
    store.close().await;
}

#[tokio::test]
async fn other_isolation_levels_and_no_transaction_at_all_are_refused() {
    let schema = TestSchema::create().await;
    let store = open(&schema).await;
    let mut conn = plain(&schema).await;
    let begins = [
        ("SELECT 1", "not in a transaction"),
        ("BEGIN ISOLATION LEVEL REPEATABLE READ", "READ COMMITTED"),
        ("BEGIN ISOLATION LEVEL SERIALIZABLE", "READ COMMITTED"),
    ];
    for (begin, reason) in begins {
        run(&mut conn, begin).await;
        let new = append("order-1", Expected::Any, &[b"1"]);
        let Err(AppendError::Store(error)) = store.append_in(&mut conn, new).await else {
            panic!("accepted after {begin}");
        };
        assert_eq!(error.kind(), StoreErrorKind::Invalid);
        let cause = error.source().unwrap().to_string();
        assert!(cause.contains(reason), "{cause}");
        // The transaction goes on.
        run(&mut conn, "SELECT 1; ROLLBACK").await;
    }
    store.close().await;
}
