//! Appends that are committed together, and handles that append against each other.

use std::sync::Arc;

use annals_core::{
    AppendError, Direction, EventStore as _, Expected, LogRead, Position, StoreErrorKind,
    StoredEvent, Version,
};
use annals_postgres::PostgresOptions;
use annals_testing::postgres::TestSchema;
use futures_util::future::join_all;

use crate::sample::{append, idle_in_transaction, open, open_with, places, plain, stream};

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_in_a_group_fails_its_own_caller_only() {
    let schema = TestSchema::create().await;
    let store = open(&schema).await;
    let appends = (0..200).map(|number| {
        let expected = match number % 4 {
            0 => Expected::Exact(Version::new(7)),
            _ => Expected::NoStream,
        };
        let new = append(&format!("account-{number}"), expected, &[b"{}"]);
        let store = store.clone();
        tokio::spawn(async move { store.append(new).await })
    });
    let mut conflicts = 0;
    for (number, outcome) in join_all(appends).await.into_iter().enumerate() {
        match outcome.expect("the task ends") {
            Ok(appended) => assert_eq!(appended.versions, [Version::new(1)]),
            Err(AppendError::Conflict { actual, .. }) => {
                assert_eq!((number % 4, actual), (0, Version::NONE));
                conflicts += 1;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(conflicts, 50);
    assert_eq!(store.head().await.unwrap(), Position::new(150));
    store.close().await;
}

/// A page leaves payloads of more than 16,384 bytes out.
#[tokio::test(flavor = "multi_thread")]
async fn payloads_come_back_whether_or_not_they_are_packed_with_their_page() {
    let schema = TestSchema::create().await;
    let store = open(&schema).await;
    let payloads: Vec<Vec<u8>> = [16_385, 0, 16_383, 16_384, 1, 40_000, 16_384, 0]
        .into_iter()
        .map(|length| (0..length).map(|index| (index % 251) as u8).collect())
        .collect();
    let all: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
    let appended = store
        .append(append("account-1", Expected::NoStream, &all))
        .await;
    assert_eq!(appended.unwrap().position, Position::new(all.len() as u64));
    let contents = |events: Vec<StoredEvent>| -> Vec<_> {
        events.into_iter().map(|event| event.payload).collect()
    };
    let forwards = LogRead::after(Position::START, 100);
    let backwards = LogRead {
        direction: Direction::Backwards,
        ..forwards.clone()
    };
    let log = contents(store.read_log(forwards).await.unwrap().events);
    assert!(log == payloads, "in order of position");
    let mut log = contents(store.read_log(backwards).await.unwrap().events);
    log.reverse();
    assert!(log == payloads, "against it");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_event_id_in_a_group_fails_its_own_caller_only() {
    let schema = TestSchema::create().await;
    let store = open(&schema).await;
    let taken = append("account-0", Expected::Any, &[b"1"]);
    store.append(taken.clone()).await.unwrap();
    let appends = (0..100).map(|number| {
        let mut new = append(&format!("account-{number}"), Expected::Any, &[b"2"]);
        if number == 50 {
            new.writes[0].events[0].id = taken.writes[0].events[0].id;
        }
        let store = store.clone();
        tokio::spawn(async move { store.append(new).await })
    });
    for (number, outcome) in join_all(appends).await.into_iter().enumerate() {
        match outcome.unwrap() {
            Ok(appended) => assert!(!appended.repeated),
            Err(AppendError::IdReused { kind, .. }) => assert_eq!((number, kind), (50, "event")),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(store.head().await.unwrap(), Position::new(100));
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handles_race_for_one_stream_without_a_hole_or_an_error() {
    let schema = TestSchema::create().await;
    let stores = [
        open(&schema).await,
        open(&schema).await,
        open(&schema).await,
    ];
    let writers = stores.iter().cycle().take(12).cloned().map(|store| {
        tokio::spawn(async move {
            for _ in 0..25 {
                let new = append("account-a", Expected::Any, &[b"{}"]);
                store.append(new).await.unwrap();
            }
        })
    });
    for writer in join_all(writers).await {
        writer.unwrap();
    }
    let expected: Vec<_> = (1..=300).map(|place| (place, place)).collect();
    assert_eq!(places(&stores[0]).await, expected);
    join_all(stores.iter().map(|store| store.close())).await;
}

/// What a store remembers of streams must not let a check pass that another store has overtaken.
#[tokio::test]
async fn a_stream_that_another_store_has_moved_on_is_not_taken_for_what_is_remembered() {
    let schema = TestSchema::create().await;
    let (one, other) = (open(&schema).await, open(&schema).await);
    for store in [&one, &other, &one] {
        let new = append("account-a", Expected::Any, &[b"{}"]);
        store.append(new).await.unwrap();
    }
    // The other store remembers version 2, and the stream is at 3.
    let stale = append("account-a", Expected::Exact(Version::new(2)), &[b"{}"]);
    let checked = append("account-b", Expected::NoStream, &[b"{}"]).and(
        stream("account-a"),
        Expected::Exact(Version::new(2)),
        Vec::new(),
    );
    for refused in [stale, checked] {
        match other.append(refused).await {
            Err(AppendError::Conflict { actual, .. }) => assert_eq!(actual, Version::new(3)),
            outcome => panic!("{outcome:?}"),
        }
    }
    let fresh = append("account-a", Expected::Exact(Version::new(3)), &[b"{}"]);
    assert_eq!(
        other.append(fresh).await.unwrap().position,
        Position::new(4)
    );
    join_all([one.close(), other.close()]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_finishes_what_was_accepted() {
    let schema = TestSchema::create().await;
    let store = open(&schema).await;
    let appends = (0..50).map(|number| {
        let new = append(&format!("account-{number}"), Expected::Any, &[b"{}"]);
        let store = store.clone();
        async move { store.append(new).await }
    });
    // Polled in this order, so every append is in the queue before the store is asked to close.
    let (outcomes, ()) = tokio::join!(biased; join_all(appends), store.close());
    assert_eq!(outcomes.into_iter().filter(Result::is_ok).count(), 50);
    let refused = store.append(append("account-z", Expected::Any, &[b"{}"]));
    let Err(AppendError::Store(error)) = refused.await else {
        panic!("a closed store accepted an append");
    };
    assert_eq!(error.kind(), StoreErrorKind::Closed);
    assert_eq!(
        store.head().await.unwrap_err().kind(),
        StoreErrorKind::Closed
    );
}

/// The control is `sqlx` itself: a `begin` that is cancelled half-way leaves such a session.
#[tokio::test(flavor = "multi_thread")]
async fn cancelled_operations_leave_no_session_in_a_transaction_and_lose_nothing() {
    let schema = TestSchema::create().await;
    let options = PostgresOptions {
        max_connections: 2,
        ..PostgresOptions::default()
    };
    let named = format!("{}&application_name={}", schema.url(), schema.name());
    let store = annals_postgres::PostgresStore::open(&named, options);
    let store = Arc::new(store.await.unwrap());
    let mut acknowledged = Vec::new();
    for number in 0..400_u64 {
        let new = append(&format!("account-{number}"), Expected::NoStream, &[b"{}"]);
        let id = new.writes[0].events[0].id;
        let patience = std::time::Duration::from_micros(number * 37 % 1500);
        let appended = tokio::time::timeout(patience, store.append(new)).await;
        let first = stream("account-0");
        let read = store.stream_version(&first);
        tokio::time::timeout(patience, read).await.ok();
        if let Ok(Ok(_)) = appended {
            acknowledged.push(id);
        }
    }
    // The last one waits behind all of them.
    let last = append("account-last", Expected::NoStream, &[b"{}"]);
    store.append(last).await.unwrap();
    let page = store.read_log(annals_core::LogRead::after(Position::START, 10_000));
    let found: Vec<_> = page.await.unwrap().events.iter().map(|e| e.id).collect();
    assert!(acknowledged.iter().all(|id| found.contains(id)));
    assert!(!acknowledged.is_empty() && acknowledged.len() < 400);
    let mut conn = plain(&schema).await;
    assert_eq!(idle_in_transaction(&mut conn, schema.name()).await, 0);
    store.close().await;
}

#[tokio::test]
async fn a_lock_that_is_never_released_ends_in_busy() {
    let schema = TestSchema::create().await;
    let store = open_with(
        &schema,
        PostgresOptions {
            lock_timeout: std::time::Duration::from_millis(50),
            ..PostgresOptions::default()
        },
    )
    .await;
    let holder = open(&schema).await;
    let mut conn = plain(&schema).await;
    crate::sample::run(&mut conn, "BEGIN").await;
    let own = append("account-a", Expected::Any, &[b"{}"]);
    holder.append_in(&mut conn, own).await.unwrap();
    let refused = store.append(append("account-b", Expected::Any, &[b"{}"]));
    let Err(AppendError::Store(error)) = refused.await else {
        panic!("the lock was not waited for");
    };
    assert_eq!(error.kind(), StoreErrorKind::Busy);
    assert!(error.is_transient());
    crate::sample::run(&mut conn, "ROLLBACK").await;
    let accepted = store.append(append("account-b", Expected::Any, &[b"{}"]));
    assert_eq!(accepted.await.unwrap().position, Position::new(1));
    join_all([store.close(), holder.close()]).await;
}
