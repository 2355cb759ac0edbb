//! What SQLite adds to the definition of a store: group commit, several handles on one file, holes,
//! and the view for human eyes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "what a test does not expect fails it"
)]

use std::{path::Path, sync::Arc};

use annals_core::{
    Append, AppendError, CausationId, CorrelationId, EventId, EventStore, EventType, Expected,
    LogRead, Metadata, NewEvent, Position, Store, StoreErrorKind, StreamName, StreamRead, Tag,
    TagMismatch, Version,
};
use annals_sqlite::{SqliteOptions, SqliteStore};
use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use sqlx::{ConnectOptions, Connection, Row, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use uuid::Uuid;

struct File(TempDir);

impl File {
    fn new() -> Self {
        Self(TempDir::new().expect("a temporary directory"))
    }

    fn path(&self) -> std::path::PathBuf {
        self.0.path().join("store.db")
    }

    async fn open(&self) -> SqliteStore {
        let file = self.path();
        let store = SqliteStore::open(&file.to_string_lossy(), SqliteOptions::default()).await;
        store.expect("the store opens")
    }
}

async fn plain(file: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(file);
    options.connect().await.expect("a connection")
}

fn event(payload: &[u8]) -> NewEvent {
    let cause = Uuid::now_v7();
    NewEvent {
        id: EventId::new(Uuid::now_v7()),
        event_type: EventType::new("account.deposited").unwrap(),
        schema_version: 1,
        payload: payload.to_vec(),
        tags: vec![Tag::parse("owner:alice").unwrap()],
        metadata: Metadata::caused_by(CausationId::new(cause), CorrelationId::new(cause)),
    }
}

fn stream(name: &str) -> StreamName {
    StreamName::parse(name).unwrap()
}

fn append(name: &str, expected: Expected, payloads: &[&[u8]]) -> Append {
    let events = payloads.iter().map(|payload| event(payload)).collect();
    let time: DateTime<Utc> = "2024-02-03T04:05:06.000789Z".parse().unwrap();
    Append::to(stream(name), expected, events, time)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_in_a_group_fails_its_own_caller_only() {
    let file = File::new();
    let store = Arc::new(file.open().await);
    let appends = (0..200).map(|number| {
        let store = Arc::clone(&store);
        let (name, expected) = match number % 4 {
            0 => (
                format!("account-{number}"),
                Expected::Exact(Version::new(7)),
            ),
            _ => (format!("account-{number}"), Expected::NoStream),
        };
        tokio::spawn(async move { store.append(append(&name, expected, &[b"{}"])).await })
    });
    let outcomes = join_all(appends).await;
    let conflicts = outcomes.iter().enumerate().filter(|(number, outcome)| {
        match outcome.as_ref().expect("the task ends") {
            Ok(_) => false,
            Err(AppendError::Conflict { .. }) => {
                assert_eq!(number % 4, 0, "only those that expect too much fail");
                true
            }
            Err(error) => panic!("{error}"),
        }
    });
    assert_eq!(conflicts.count(), 50);
    assert_eq!(store.head().await.unwrap(), Position::new(150));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_event_id_in_a_group_fails_its_own_caller_only() {
    let file = File::new();
    let store = Arc::new(file.open().await);
    let taken = append("account-0", Expected::Any, &[b"1"]);
    store.append(taken.clone()).await.unwrap();
    let appends = (0..100).map(|number| {
        let store = Arc::clone(&store);
        let mut new = append(&format!("account-{number}"), Expected::Any, &[b"2"]);
        if number == 50 {
            new.writes[0].events[0].id = taken.writes[0].events[0].id;
        }
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
}

#[tokio::test(flavor = "multi_thread")]
async fn handles_on_one_file_tail_each_other() {
    let file = File::new();
    let (one, other) = (file.open().await, file.open().await);
    for number in 0..10 {
        let (writer, reader) = if number % 2 == 0 {
            (&one, &other)
        } else {
            (&other, &one)
        };
        let (seen, appended) = tokio::join!(
            reader.wait_beyond(Position::new(number)),
            writer.append(append("account-a", Expected::Any, &[b"{}"])),
        );
        assert_eq!(seen.unwrap(), appended.unwrap().position);
    }
    one.close().await;
    assert_eq!(other.head().await.unwrap(), Position::new(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn handles_on_one_file_race_without_a_hole_or_a_busy_error() {
    let file = File::new();
    let stores = [file.open().await, file.open().await, file.open().await];
    let writers = stores.iter().cycle().take(12).cloned().map(|store| {
        tokio::spawn(async move {
            for _ in 0..25 {
                store
                    .append(append("account-a", Expected::Any, &[b"{}"]))
                    .await
                    .unwrap();
            }
        })
    });
    join_all(writers)
        .await
        .into_iter()
        .for_each(|writer| writer.unwrap());
    let page = stores[0]
        .read_log(LogRead::after(Position::START, 1000))
        .await
        .unwrap();
    let places: Vec<_> = page
        .events
        .iter()
        .map(|e| (e.position.get(), e.version.get()))
        .collect();
    assert_eq!(
        places,
        (1..=300).map(|place| (place, place)).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_hole_in_the_log_is_corruption() {
    let file = File::new();
    let store = file.open().await;
    store
        .append(append(
            "account-a",
            Expected::Any,
            &[b"1", b"2", b"3", b"4"],
        ))
        .await
        .unwrap();
    let mut conn = plain(&file.path()).await;
    sqlx::query("DELETE FROM events WHERE position = 3")
        .execute(&mut conn)
        .await
        .unwrap();
    conn.close().await.unwrap();
    let reads = [
        LogRead::after(Position::START, 10),
        LogRead::after(Position::new(2), 10),
        LogRead::before(Position::START, 10),
        LogRead::before(Position::new(4), 10),
    ];
    for read in reads {
        let error = store.read_log(read.clone()).await.expect_err("a hole");
        assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{read:?}");
        assert!(format!("{error:?}").contains("position 3"), "{error:?}");
    }
    let read = StreamRead::after(stream("account-a"), Version::NONE, 10);
    let error = store.read_stream(read).await.expect_err("a hole");
    assert_eq!(error.kind(), StoreErrorKind::Corrupt);
}

#[tokio::test]
async fn large_payloads_come_back_and_pages_of_them_stay_bounded() {
    let file = File::new();
    let store = file.open().await;
    let large = vec![b'\n'; 8 * 1024 * 1024];
    for _ in 0..6 {
        store
            .append(append("account-a", Expected::Any, &[&large, b"small"]))
            .await
            .unwrap();
    }
    let (mut from, mut pages, mut count) = (Position::START, 0, 0);
    loop {
        let page = store.read_log(LogRead::after(from, 100)).await.unwrap();
        let bytes: usize = page.events.iter().map(|event| event.payload.len()).sum();
        assert!(bytes <= 33 * 1024 * 1024, "a page of {bytes} bytes");
        assert!(
            page.events
                .iter()
                .all(|e| e.payload == large || e.payload == b"small")
        );
        (from, pages, count) = (page.scanned_to, pages + 1, count + page.events.len());
        if page.at_end {
            break;
        }
    }
    assert_eq!((pages, count), (2, 12));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_store_is_one_file() {
    let file = File::new();
    for round in 0..20 {
        let store = file.open().await;
        store
            .append(append("account-a", Expected::Any, &[b"{}"]))
            .await
            .unwrap();
        let heads = (0..8).map(|_| store.head());
        assert!(join_all(heads).await.into_iter().all(|head| head.is_ok()));
        store.close().await;
        let wal = file.0.path().join("store.db-wal");
        assert!(
            !wal.exists(),
            "round {round}: the write-ahead log was left behind"
        );
    }
}

#[tokio::test]
async fn the_view_shows_events_as_text() {
    let file = File::new();
    let store = file.open().await;
    let new = append(
        "account-a",
        Expected::Any,
        &[br#"{"amount":5}"#, b"\xff\x00"],
    );
    store.append(new.clone()).await.unwrap();
    store.close().await;
    let mut conn = plain(&file.path()).await;
    let rows = sqlx::query(
        "SELECT id, recorded_at, causation_id, payload, payload_hex, tags FROM events_json \
         ORDER BY position",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap();
    let text = |row: usize, column: usize| rows[row].get::<Option<String>, _>(column);
    let first = &new.writes[0].events[0];
    assert_eq!(text(0, 0), Some(first.id.to_string()));
    assert_eq!(text(0, 1).as_deref(), Some("2024-02-03T04:05:06.000789Z"));
    assert_eq!(text(0, 2), Some(first.metadata.causation_id.to_string()));
    assert_eq!(text(0, 3).as_deref(), Some(r#"{"amount":5}"#));
    assert_eq!(text(0, 4), None);
    assert_eq!(text(0, 5).as_deref(), Some(r#"["owner:alice"]"#));
    assert_eq!(text(1, 3), None);
    assert_eq!(text(1, 4).as_deref(), Some("FF00"));
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_finishes_what_was_accepted_and_empties_the_write_ahead_log() {
    let file = File::new();
    let store = file.open().await;
    let appends = (0..50).map(|number| {
        let store = store.clone();
        let new = append(&format!("account-{number}"), Expected::Any, &[b"{}"]);
        async move { store.append(new).await }
    });
    // Polled in this order, so every append is in the queue before the store is asked to close.
    let (outcomes, ()) = tokio::join!(biased; join_all(appends), store.close());
    assert_eq!(outcomes.into_iter().filter(Result::is_ok).count(), 50);
    let refused = store
        .append(append("account-z", Expected::Any, &[b"{}"]))
        .await;
    let Err(AppendError::Store(error)) = refused else {
        panic!("a closed store accepted an append");
    };
    assert_eq!(error.kind(), StoreErrorKind::Closed);
    assert!(!file.0.path().join("store.db-wal").exists());
}

#[tokio::test]
async fn tags_that_the_index_lacks_or_makes_up_are_found() {
    let file = File::new();
    let store = file.open().await;
    let new = append("account-a", Expected::Any, &[b"{}", b"{}"]);
    store.append(new).await.unwrap();
    assert_eq!(store.tag_mismatches(10).await.unwrap(), []);
    let mut conn = plain(&file.path()).await;
    let planted = "DELETE FROM event_tags WHERE position = 2; \
         INSERT INTO event_tags VALUES ('owner:eve', 1), ('owner:alice', 4)";
    sqlx::raw_sql(planted).execute(&mut conn).await.unwrap();
    let mismatch = |position, tag: &str, missing| TagMismatch {
        position: Position::new(position),
        tag: tag.to_owned(),
        missing,
    };
    let found = [
        mismatch(1, "owner:eve", false),
        mismatch(2, "owner:alice", true),
        mismatch(4, "owner:alice", false),
    ];
    assert_eq!(store.tag_mismatches(10).await.unwrap(), found);
    assert_eq!(store.tag_mismatches(1).await.unwrap(), found[..1]);
    store.close().await;
}
