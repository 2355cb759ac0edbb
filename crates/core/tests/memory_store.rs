//! What the memory store promises beyond the conformance suite: nothing is left behind by a
//! future that is dropped while an inline projection folds.

// Helpers of tests fail them as the tests themselves do.
#![allow(clippy::unwrap_used)]

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use annals_core::{
    Append, AppendError, Changes, Column, ColumnType, EventId, EventStore, EventType, Expected,
    Fence, FoldError, InlineProjection, MemoryStore, Metadata, NewEvent, Position, ProjectionSpec,
    ProjectionState, ProjectionStore, Query, Row, RowAccess, StoredEvent, StreamName, SwapRequest,
    TableSpec, Target, Value, Version,
};
use chrono::{DateTime, Utc};
use uuid::Uuid;

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

const LENGTHS: TableSpec = TableSpec {
    name: "lengths",
    columns: &[
        Column {
            name: "stream",
            column_type: ColumnType::Text,
            nullable: false,
            key: true,
        },
        Column {
            name: "events",
            column_type: ColumnType::Integer,
            nullable: false,
            key: false,
        },
    ],
};

/// Counts each stream's events, yields between the steps, and refuses the type `refused`.
#[derive(Debug)]
struct Lengths(ProjectionSpec);

impl Lengths {
    fn inline(inline: bool) -> Arc<Self> {
        Arc::new(Self(ProjectionSpec {
            name: "lengths".to_owned(),
            fingerprint: "1".to_owned(),
            table: Some(LENGTHS),
            inline,
        }))
    }
}

#[async_trait::async_trait]
impl InlineProjection for Lengths {
    fn spec(&self) -> &ProjectionSpec {
        &self.0
    }

    async fn fold(
        &self,
        events: &[StoredEvent],
        rows: &mut dyn RowAccess,
    ) -> Result<(), FoldError> {
        for event in events {
            tokio::task::yield_now().await;
            let key = Value::Text(event.stream.to_string());
            let row = rows.load(&[vec![key.clone()]]).await?.pop();
            let before = match row.as_deref() {
                Some([_, Value::Integer(before)]) => *before,
                _ => 0,
            };
            let changes = Changes {
                upserts: vec![vec![key, Value::Integer(before + 1)]],
                deletes: vec![],
            };
            rows.write(changes).await?;
            if event.event_type.as_str() == "refused" {
                return Err(FoldError::event("lengths", event, "it is refused"));
            }
        }
        Ok(())
    }
}

fn now() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH
}

fn stream(name: &str) -> StreamName {
    StreamName::parse(name).unwrap()
}

fn event(event_type: &str) -> NewEvent {
    let id = EventId::new(Uuid::from_u128(
        NEXT_ID.fetch_add(1, Ordering::Relaxed).into(),
    ));
    NewEvent {
        id,
        event_type: EventType::new(event_type).unwrap(),
        schema_version: 1,
        payload: b"{}".to_vec(),
        tags: vec![],
        metadata: Metadata::caused_by(id.into(), id.uuid().into()),
    }
}

fn done(name: &str, count: usize) -> Append {
    let events = (0..count).map(|_| event("done")).collect();
    Append::to(stream(name), Expected::Any, events, now())
}

/// A store with `lengths` folded within every append.
async fn inline_store() -> MemoryStore {
    let store = MemoryStore::new();
    let lengths = Lengths::inline(true);
    store.register(&lengths.0, now()).await.unwrap();
    store.install_inline(lengths).await.unwrap();
    store
}

async fn rows(store: &MemoryStore) -> Vec<Row> {
    let rows = store.scan_rows(&LENGTHS, Target::Live, None, 100).await;
    rows.unwrap()
}

fn row(name: &str, events: i64) -> Row {
    vec![Value::Text(name.to_owned()), Value::Integer(events)]
}

/// The future's answer, unless it needs more polls than these.
fn within<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    (0..polls).find_map(|_| match future.as_mut().poll(&mut context) {
        Poll::Ready(answer) => Some(answer),
        Poll::Pending => None,
    })
}

#[tokio::test]
async fn an_append_dropped_at_any_poll_leaves_nothing() {
    let store = inline_store().await;
    let append = done("thing-1", 3).and(stream("thing-2"), Expected::Any, vec![event("done")]);
    let mut polls = 0;
    let appended = loop {
        if let Some(appended) = within(polls, store.append(append.clone())) {
            break appended.unwrap();
        }
        polls += 1;
        assert_eq!(store.head().await.unwrap(), Position::START);
        assert_eq!(rows(&store).await, [[]; 0]);
        let record = store.projection("lengths").await.unwrap().unwrap();
        assert_eq!(record.checkpoint.position, Position::START);
    };
    assert!(polls > 4, "the fold yields before each of the four events");
    assert!(!appended.repeated);
    assert_eq!(appended.position, Position::new(4));
    assert_eq!(rows(&store).await, [row("thing-1", 3), row("thing-2", 1)]);
}

#[tokio::test]
async fn an_event_that_an_inline_projection_refuses_leaves_nothing() {
    let store = inline_store().await;
    store.append(done("thing-1", 1)).await.unwrap();
    let events = vec![event("done"), event("refused")];
    let append = Append::to(stream("thing-1"), Expected::Any, events, now());
    let refused = store.append(append).await.unwrap_err();
    assert!(
        matches!(&refused, AppendError::InlineProjection { projection, message }
            if projection == "lengths" && message == "it is refused"),
        "{refused:?}"
    );
    assert_eq!(store.head().await.unwrap(), Position::new(1));
    assert_eq!(rows(&store).await, [row("thing-1", 1)]);
    let next = store.append(done("thing-1", 1)).await.unwrap();
    assert_eq!(next.versions, [Version::new(2)]);
}

#[tokio::test]
async fn a_conflict_or_a_failed_condition_folds_nothing() {
    let store = inline_store().await;
    store.append(done("thing-1", 1)).await.unwrap();
    let mut late = done("thing-1", 1);
    late.writes[0].expected = Expected::NoStream;
    let conflict = store.append(late).await.unwrap_err();
    assert!(matches!(conflict, AppendError::Conflict { .. }));
    let stale = done("thing-1", 1).unless(Query::any(), Position::START);
    let failed = store.append(stale).await.unwrap_err();
    assert!(matches!(failed, AppendError::ConditionFailed { .. }));
    assert_eq!(rows(&store).await, [row("thing-1", 1)]);
}

#[tokio::test]
async fn an_inline_projection_that_was_paused_catches_up_with_the_next_append() {
    let store = inline_store().await;
    let paused = store.set_state("lengths", ProjectionState::Paused, now());
    paused.await.unwrap();
    store.append(done("thing-1", 2)).await.unwrap();
    assert_eq!(rows(&store).await, [[]; 0]);
    let running = store.set_state("lengths", ProjectionState::Running, now());
    running.await.unwrap();
    store.append(done("thing-1", 1)).await.unwrap();
    assert_eq!(rows(&store).await, [row("thing-1", 3)]);
}

#[tokio::test]
async fn a_swap_dropped_at_any_poll_leaves_the_old_table() {
    let store = inline_store().await;
    store.append(done("thing-1", 3)).await.unwrap();
    let lengths = Lengths::inline(true);
    let lease = Duration::from_secs(60);
    let rebuild = store.begin_rebuild(&lengths.0, "test", lease, false, now());
    let rebuild = rebuild.await.unwrap();
    let request = SwapRequest {
        spec: lengths.0.clone(),
        fence: Fence {
            epoch: rebuild.epoch,
            checkpoint: rebuild.checkpoint.position,
        },
        verify: Some(10),
        now: now(),
    };
    let before = store.projection("lengths").await.unwrap().unwrap();
    let mut polls = 0;
    let swapped = loop {
        let swap = store.swap(request.clone(), lengths.clone());
        if let Some(swapped) = within(polls, swap) {
            break swapped.unwrap();
        }
        polls += 1;
        let record = store.projection("lengths").await.unwrap().unwrap();
        assert_eq!(record, before);
    };
    assert!(polls > 3, "the fold yields before each of the three events");
    assert_eq!((swapped.rows, swapped.differences.unwrap().count), (1, 0));
    let after = store.projection("lengths").await.unwrap().unwrap();
    assert_eq!((after.epoch, after.rebuild), (before.epoch + 1, None));
}
