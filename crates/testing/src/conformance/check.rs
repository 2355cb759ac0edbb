//! What scenarios look at after the deed.

use std::{collections::HashMap, fmt::Debug, future::Future, time::Duration};

use annals_core::{
    AppendError, EventId, LogRead, NewEvent, Position, Query, Store, StoreErrorKind, StoredEvent,
    StreamName, StreamRead, Version,
};

/// Pages of an awkward size, so that reading a log crosses their borders.
const PAGE: usize = 97;

/// The whole log by pages, checked: positions dense, each stream's versions dense.
pub(super) async fn whole_log(store: &dyn Store) -> Vec<StoredEvent> {
    let log = matching(store, Query::any(), PAGE).await;
    let mut versions: HashMap<StreamName, Version> = HashMap::new();
    let mut expected = Position::START;
    for event in &log {
        expected = expected.next();
        assert_eq!(event.position, expected, "positions have no holes");
        let version = versions.entry(event.stream.clone()).or_default();
        *version = version.next();
        assert_eq!(
            event.version, *version,
            "versions of `{}` have no holes",
            event.stream
        );
    }
    log
}

/// Everything that matches, by pages of `limit`, checking that each page leads to the next.
pub(super) async fn matching(store: &dyn Store, query: Query, limit: usize) -> Vec<StoredEvent> {
    let mut found = Vec::new();
    let mut from = Position::START;
    loop {
        let read = LogRead::after(from, limit).matching(query.clone());
        let page = store.read_log(read).await.expect("the log can be read");
        assert!(page.events.len() <= limit, "a page keeps to its limit");
        if let Some(last) = page.events.last() {
            assert!(
                page.scanned_to >= last.position,
                "a page was looked through at least up to its last event"
            );
        }
        found.extend(page.events);
        if page.at_end {
            return found;
        }
        assert!(page.scanned_to > from, "each page leads further");
        from = page.scanned_to;
    }
}

pub(super) async fn whole_stream(store: &dyn Store, stream: &StreamName) -> Vec<StoredEvent> {
    let read = StreamRead::after(stream.clone(), Version::NONE, 100_000);
    store
        .read_stream(read)
        .await
        .expect("the stream can be read")
}

pub(super) fn ids(events: &[StoredEvent]) -> Vec<EventId> {
    events.iter().map(|event| event.id).collect()
}

pub(super) fn new_ids(events: &[NewEvent]) -> Vec<EventId> {
    events.iter().map(|event| event.id).collect()
}

pub(super) fn positions(events: &[StoredEvent]) -> Vec<u64> {
    events.iter().map(|event| event.position.get()).collect()
}

pub(super) fn versions_of(events: &[StoredEvent]) -> Vec<u64> {
    events.iter().map(|event| event.version.get()).collect()
}

/// Asserts a conflict on this stream at this version.
#[track_caller]
pub(super) fn assert_conflict<T: Debug>(
    result: Result<T, AppendError>,
    on: &StreamName,
    at: Version,
) {
    match result {
        Err(AppendError::Conflict { stream, actual, .. }) => {
            assert_eq!((&stream, actual), (on, at), "the conflict names its stream");
        }
        other => panic!("expected a conflict on `{on}` at {at}, got {other:?}"),
    }
}

#[track_caller]
pub(super) fn assert_id_reused<T: Debug>(result: Result<T, AppendError>, of: &str) {
    match result {
        Err(AppendError::IdReused { kind, .. }) => assert_eq!(kind, of),
        other => panic!("expected a reused {of} id, got {other:?}"),
    }
}

#[track_caller]
pub(super) fn assert_invalid<T: Debug>(result: Result<T, AppendError>, says: &str) {
    match result {
        Err(AppendError::Invalid { problem }) => {
            assert!(problem.contains(says), "{problem:?} says {says:?}");
        }
        other => panic!("expected an invalid append ({says}), got {other:?}"),
    }
}

pub(super) fn is_closed<T>(result: &Result<T, AppendError>) -> bool {
    matches!(result, Err(AppendError::Store(error)) if error.kind() == StoreErrorKind::Closed)
}

/// Asks until the answer is there, and fails after ten seconds.
pub(super) async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut ask: impl FnMut() -> F,
) -> T {
    for _ in 0..1_000 {
        if let Some(answer) = ask().await {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} did not happen within ten seconds");
}
