//! What the writer survives.

use annals_core::{
    Append, AppendError, CausationId, CorrelationId, EventId, EventStore, EventType, Expected,
    LogRead, Metadata, NewEvent, Position, StoreError, StoreErrorKind, StreamName,
};
use chrono::DateTime;
use tempfile::TempDir;
use uuid::Uuid;

use crate::{SqliteOptions, SqliteStore, error::failed};

fn append(payload: Vec<u8>) -> Append {
    let cause = Uuid::now_v7();
    let event = NewEvent {
        id: EventId::new(Uuid::now_v7()),
        event_type: EventType::new("account.opened").unwrap(),
        schema_version: 1,
        payload,
        tags: Vec::new(),
        metadata: Metadata::caused_by(CausationId::new(cause), CorrelationId::new(cause)),
    };
    let stream = StreamName::parse("account-a").unwrap();
    Append::to(stream, Expected::Any, vec![event], DateTime::UNIX_EPOCH)
}

async fn open() -> (TempDir, SqliteStore) {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("store.db");
    let options = SqliteOptions::default();
    let store = SqliteStore::open(&file.to_string_lossy(), options)
        .await
        .unwrap();
    (directory, store)
}

/// Sets a limit on the size of the file, which SQLite treats as it does a full disk.
async fn limit_pages(store: &SqliteStore, pragma: &'static str) {
    let limited = store.transaction("limit the file", move |conn| {
        Box::pin(async move {
            let limited = sqlx::query(pragma).fetch_one(conn).await;
            limited.map(drop).map_err(failed("limit the file"))
        })
    });
    let limited: Result<(), StoreError> = limited.await;
    limited.unwrap();
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_later_appends_work() {
    let (_directory, store) = open().await;
    store.append(append(b"before".to_vec())).await.unwrap();
    for _ in 0..3 {
        // Again each time, as the writer goes on with a new connection.
        limit_pages(&store, "PRAGMA max_page_count = 1").await;
        match store.append(append(vec![0; 100_000])).await {
            Err(AppendError::Store(error)) => {
                assert_eq!(error.kind(), StoreErrorKind::StorageFull);
                assert!(error.is_transient());
            }
            other => panic!("{other:?}"),
        }
    }
    limit_pages(&store, "PRAGMA max_page_count = 1000000").await;
    let after = store.append(append(b"after".to_vec())).await.unwrap();
    assert_eq!(after.position, Position::new(2));
    let page = store
        .read_log(LogRead::after(Position::START, 10))
        .await
        .unwrap();
    let payloads: Vec<_> = page
        .events
        .iter()
        .map(|event| event.payload.as_slice())
        .collect();
    assert_eq!(payloads, [b"before".as_slice(), b"after"]);
}

#[tokio::test]
async fn work_that_panics_is_undone_and_the_writer_goes_on() {
    let (_directory, store) = open().await;
    let panicked: Result<(), StoreError> = store
        .transaction("panic", |conn| {
            Box::pin(async move {
                let deleted = sqlx::query("DELETE FROM annals_migrations")
                    .execute(conn)
                    .await;
                panic!("{deleted:?}")
            })
        })
        .await;
    assert_eq!(panicked.unwrap_err().kind(), StoreErrorKind::Other);
    store.append(append(b"after".to_vec())).await.unwrap();
    let row: (i64,) = sqlx::query_as("SELECT count(*) FROM annals_migrations")
        .fetch_one(store.readers())
        .await
        .unwrap();
    assert!(row.0 > 0);
}

#[tokio::test]
async fn work_that_fails_is_rolled_back() {
    let (_directory, store) = open().await;
    let failure = store.transaction("fail", |conn| {
        Box::pin(async move {
            let delete = sqlx::query("DELETE FROM annals_migrations")
                .execute(conn)
                .await;
            delete.map_err(failed("delete"))?;
            Err(StoreError::new(StoreErrorKind::Invalid, "go on"))
        })
    });
    let failure: Result<(), StoreError> = failure.await;
    assert_eq!(failure.unwrap_err().kind(), StoreErrorKind::Invalid);
    let row: (i64,) = sqlx::query_as("SELECT count(*) FROM annals_migrations")
        .fetch_one(store.readers())
        .await
        .unwrap();
    assert!(row.0 > 0);
}
