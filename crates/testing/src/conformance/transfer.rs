//! Moving a log from one store to another: it arrives as it was, or not at all.

use std::sync::Arc;

use annals_core::{
    Append, AppendId, EventId, EventStore, Expected, Fingerprint, InlineProjection, MemoryStore,
    NewEvent, Position, RecordedAppend, Store, StoreError, StoreErrorKind, StoredEvent, Target,
    TraceContext, Version,
    append::{MAX_EVENTS, MAX_PAYLOAD_BYTES},
};

use super::{
    Subject,
    cancellation::{Drop, until},
    check::*,
    races::race_on,
    sample::*,
    table::*,
    tally::*,
};
use crate::seed::Seed;

/// Pages of an awkward size.
const PAGE: usize = 7;

/// All that `appends` answers, by pages.
async fn whole_appends(store: &dyn Store, limit: usize) -> Vec<RecordedAppend> {
    let mut all: Vec<RecordedAppend> = Vec::new();
    loop {
        let after = all.last().map(|append| append.id);
        let page = store.appends(after, limit).await.expect("they can be read");
        assert!(page.len() <= limit, "a page keeps to its limit");
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

/// An event with everything that an event can have.
fn rich_event(number: u8) -> NewEvent {
    let mut event = tagged("thing.done", &["b:2", "a:1", "a:1", "c:\u{e9}'\"\\"]);
    event.payload = vec![number, 0, 255, b'\n', b'"', b'\\'];
    event.schema_version = 7;
    event.metadata.actor = Some("o'brien \u{1f9fe}".to_owned());
    event.metadata.trace = Some(TraceContext {
        traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned(),
        tracestate: Some("a=1".to_owned()),
    });
    let entry = ("reason".to_owned(), "line\nbreak".to_owned());
    event.metadata.extra = [entry].into();
    event
}

/// A log as an application writes it: several streams, appends over several of them, with and
/// without ids, and one without events.
async fn fill(store: &dyn Store) -> Vec<Append> {
    let mut sent = Vec::new();
    for number in 0..12_u8 {
        let name = format!("thing-{}", number % 5);
        let events = vec![rich_event(number), event("thing.done")];
        let append = append(&name, Expected::Any, events)
            .and(stream("other-1"), Expected::Any, events_of(number))
            .once(append_id(), [number; 16]);
        store.append(append.clone()).await.unwrap();
        store.append(any("loose-1", 1)).await.unwrap();
        sent.push(append);
    }
    let nothing = append("thing-1", Expected::Any, Vec::new()).once(append_id(), [99; 16]);
    store.append(nothing.clone()).await.unwrap();
    sent.push(nothing);
    sent
}

fn events_of(number: u8) -> Vec<NewEvent> {
    events(usize::from(number % 3))
}

/// A filled store in memory to import from, with the appends that filled it.
async fn origin() -> (Arc<dyn Store>, Vec<Append>) {
    let origin: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let sent = fill(&*origin).await;
    (origin, sent)
}

/// Moves everything from one store to the other, piece by piece.
async fn transfer(from: &dyn Store, to: &dyn Store) {
    for piece in whole_log(from).await.chunks(PAGE) {
        let head = to.import(piece.to_vec(), Vec::new()).await.unwrap();
        assert_eq!(Some(head), piece.last().map(|event| event.position));
    }
    for piece in whole_appends(from, PAGE).await.chunks(PAGE) {
        to.import(Vec::new(), piece.to_vec()).await.unwrap();
    }
}

async fn assert_same(one: &dyn Store, other: &dyn Store) {
    assert_eq!(whole_log(one).await, whole_log(other).await);
    assert_eq!(
        whole_appends(one, 100).await,
        whole_appends(other, 100).await
    );
}

#[track_caller]
fn assert_refused(result: Result<Position, StoreError>, says: &str) {
    let error = result.expect_err("it is refused");
    assert_eq!(error.kind(), StoreErrorKind::Invalid, "{error:?}");
    let told = format!("{error:?}");
    assert!(told.contains(says), "{told:?} says {says:?}");
}

pub async fn an_imported_log_comes_back_as_it_was(subject: Subject) {
    let (origin, _) = origin().await;
    let store = &*subject.store;
    transfer(&*origin, store).await;
    assert_same(&*origin, store).await;
    let log = whole_log(&*origin).await;
    let head = log.last().unwrap().position;
    assert_eq!(store.head().await.unwrap(), head);
    let name = stream("other-1");
    let of_stream: Vec<StoredEvent> = log
        .iter()
        .filter(|event| event.stream == name)
        .cloned()
        .collect();
    assert_eq!(whole_stream(store, &name).await, of_stream);
    let version = store.stream_version(&name).await.unwrap();
    assert_eq!(version, Version::new(of_stream.len() as u64));
    assert_eq!(matching(store, with_tag("a:1"), 5).await.len(), 12);
    let other = subject.open_again().await;
    assert_same(&*origin, &*other).await;
}

pub async fn a_store_that_is_exported_equals_the_one_it_is_imported_into(subject: Subject) {
    let store = &*subject.store;
    fill(store).await;
    let there = MemoryStore::new();
    transfer(store, &there).await;
    assert_same(store, &there).await;
}

pub async fn an_import_keeps_microseconds_of_any_year(subject: Subject) {
    let origin = MemoryStore::new();
    for micros in [-62_135_596_799_999_999, -1, 0, 1, 1_704_067_200_123_456] {
        let recorded_at = chrono::DateTime::from_timestamp_micros(micros).expect("in range");
        let append = Append {
            recorded_at,
            ..any("thing-1", 1)
        };
        origin.append(append).await.unwrap();
    }
    transfer(&origin, &*subject.store).await;
    assert_same(&origin, &*subject.store).await;
}

pub async fn a_repeated_append_answers_as_the_first_time_after_a_move(subject: Subject) {
    let (origin, sent) = origin().await;
    let store = &*subject.store;
    transfer(&*origin, store).await;
    let head = store.head().await.unwrap();
    for append in sent {
        let first = origin.append(append.clone()).await.unwrap();
        assert!(first.repeated);
        assert_eq!(store.append(append.clone()).await.unwrap(), first);
        let (found, fingerprint) = store
            .find_append(append.id.unwrap())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(found.position, first.position);
        assert_eq!(fingerprint, append.fingerprint);
        let other = append.once(append_id(), [1; 16]);
        if other.event_count() > 0 {
            let answer = store.append(other).await.unwrap();
            assert!(answer.repeated, "its events are known by their ids too");
        }
    }
    assert_eq!(store.head().await.unwrap(), head, "nothing was written");
}

pub async fn appends_after_an_import_are_dense(subject: Subject) {
    let (origin, _) = origin().await;
    let store = &*subject.store;
    transfer(&*origin, store).await;
    let head = store.head().await.unwrap();
    let version = store.stream_version(&stream("thing-1")).await.unwrap();
    let appended = store
        .append(append("thing-1", exact(version.get()), events(2)))
        .await
        .unwrap();
    assert_eq!(appended.position, head.plus(2));
    assert_eq!(appended.versions, [version.plus(2)]);
    let other = subject.open_again().await;
    let handles = [Arc::clone(&subject.store), other];
    let appends = (0..8).map(|_| any("thing-2", 2)).collect();
    for result in race_on(&handles, appends).await {
        result.expect("nobody is in the way");
    }
    assert_eq!(whole_log(store).await.len() as u64, head.get() + 18);
}

pub async fn an_import_with_a_gap_is_refused_and_writes_nothing(subject: Subject) {
    let (origin, _) = origin().await;
    let store = &*subject.store;
    let log = whole_log(&*origin).await;
    assert_refused(
        store.import(log[1..].to_vec(), Vec::new()).await,
        "1 should",
    );
    let mut holed = log.clone();
    holed.remove(4);
    assert_refused(store.import(holed, Vec::new()).await, "5 should");
    let mut turned = log.clone();
    turned.swap(4, 5);
    assert_refused(store.import(turned, Vec::new()).await, "5 should");
    assert_eq!(whole_log(store).await, []);
    store.import(log[..4].to_vec(), Vec::new()).await.unwrap();
    assert_refused(
        store.import(log[5..].to_vec(), Vec::new()).await,
        "5 should",
    );
    assert_eq!(whole_log(store).await, log[..4], "it is what it was");
}

pub async fn an_import_into_a_store_with_events_goes_on_at_its_head_only(subject: Subject) {
    let (origin, _) = origin().await;
    let store = &*subject.store;
    let log = whole_log(&*origin).await;
    let head = store.import(log[..10].to_vec(), Vec::new()).await.unwrap();
    assert_eq!(head, position(10));
    let again = store.import(log[..10].to_vec(), Vec::new()).await;
    assert_refused(again, "11 should follow");
    let overlapping = store.import(log[9..].to_vec(), Vec::new()).await;
    assert_refused(overlapping, "11 should follow");
    assert_eq!(whole_log(store).await, log[..10]);
    store.import(log[10..].to_vec(), Vec::new()).await.unwrap();
    assert_eq!(whole_log(store).await, log);
}

/// The same events with another stream version at one place.
fn with_version(log: &[StoredEvent], index: usize, version: Version) -> Vec<StoredEvent> {
    let mut log = log.to_vec();
    Arc::make_mut(&mut log[index].header).version = version;
    log
}

pub async fn an_import_with_a_version_that_does_not_follow_is_refused(subject: Subject) {
    let (origin, _) = origin().await;
    let store = &*subject.store;
    let log = whole_log(&*origin).await;
    let last = log.len() - 1;
    let version = log[last].version;
    for wrong in [version.next(), version.minus(1), Version::NONE] {
        let wrong = with_version(&log, last, wrong);
        assert_refused(store.import(wrong, Vec::new()).await, "of stream `");
        assert_eq!(whole_log(store).await, []);
    }
    store
        .import(log[..last].to_vec(), Vec::new())
        .await
        .unwrap();
    let wrong = with_version(&log, last, version.next());
    let import = store.import(wrong[last..].to_vec(), Vec::new()).await;
    assert_refused(import, "of stream `");
    assert_eq!(whole_log(store).await, log[..last]);
}

pub async fn an_import_of_an_id_that_is_there_already_is_refused(subject: Subject) {
    let (origin, _) = origin().await;
    let store = &*subject.store;
    let log = whole_log(&*origin).await;
    let appends = whole_appends(&*origin, 100).await;
    let with_id_of = |index: usize, of: usize| {
        let mut log = log.clone();
        Arc::make_mut(&mut log[index].header).id = log[of].id;
        log
    };
    let twins = store.import(with_id_of(5, 3), Vec::new()).await;
    assert_refused(twins, "twice");
    assert_eq!(whole_log(store).await, []);
    store.import(log[..5].to_vec(), Vec::new()).await.unwrap();
    let known = store.import(with_id_of(6, 3)[5..].to_vec(), Vec::new());
    assert_refused(known.await, "already");
    assert_eq!(whole_log(store).await, log[..5]);
    store
        .import(log[5..].to_vec(), appends.clone())
        .await
        .unwrap();
    let known = store.import(Vec::new(), appends[..1].to_vec()).await;
    assert_refused(known, "already");
    let twins = vec![recorded(position(1)); 2];
    assert_refused(store.import(Vec::new(), twins).await, "twice");
    assert_same(&*origin, store).await;
}

fn recorded(position: Position) -> RecordedAppend {
    RecordedAppend {
        id: append_id(),
        fingerprint: Fingerprint::default(),
        position,
        versions: versions(&[1]),
    }
}

pub async fn an_append_beyond_the_end_of_an_import_is_refused(subject: Subject) {
    let (origin, _) = origin().await;
    let store = &*subject.store;
    let log = whole_log(&*origin).await;
    let beyond = store.import(log[..4].to_vec(), vec![recorded(position(5))]);
    assert_refused(beyond.await, "ends at 4");
    assert_eq!(whole_log(store).await, []);
    let at_end = store.import(log[..4].to_vec(), vec![recorded(position(4))]);
    assert_eq!(at_end.await.unwrap(), position(4));
}

pub async fn an_import_beyond_a_limit_is_refused(subject: Subject) {
    let store = &*subject.store;
    let origin = MemoryStore::new();
    origin.append(any("thing-1", MAX_EVENTS)).await.unwrap();
    let mut log = whole_log(&origin).await;
    let mut surplus = log[MAX_EVENTS - 1].clone();
    let header = Arc::make_mut(&mut surplus.header);
    header.position = header.position.next();
    header.version = header.version.next();
    header.id = EventId::new(uuid());
    log.push(surplus);
    let import = store.import(log.clone(), Vec::new()).await;
    assert_refused(import, "10001 events");
    log.pop();
    log[7].payload = vec![b'x'; MAX_PAYLOAD_BYTES + 1];
    let import = store.import(log.clone(), Vec::new()).await;
    assert_refused(import, "8388609 bytes");
    assert_eq!(whole_log(store).await, []);
    log[7].payload.clear();
    store.import(log.clone(), Vec::new()).await.unwrap();
    assert_eq!(
        whole_log(store).await,
        log,
        "as much as is allowed comes in"
    );
}

pub async fn appends_are_paged_in_the_order_of_their_ids(subject: Subject) {
    let store = &*subject.store;
    assert_eq!(store.appends(None, 10).await.unwrap(), []);
    let mut expected = Vec::new();
    for number in [3, 1, 255, 128, 0, 2, 127] {
        let id = AppendId::new(uuid::Uuid::from_bytes([number; 16]));
        let append = any("thing-1", 1).once(id, [number; 16]);
        let appended = store.append(append).await.unwrap();
        expected.push(RecordedAppend::new(id, [number; 16], &appended));
    }
    expected.sort_by_key(|append| append.id);
    for limit in [1, 2, 3, 6, 7, 8, 1_000_000] {
        assert_eq!(
            whole_appends(store, limit).await,
            expected,
            "pages of {limit}"
        );
    }
    assert_eq!(store.appends(None, 0).await.unwrap(), []);
    let between = AppendId::new(uuid::Uuid::from_bytes([4; 16]));
    assert_eq!(
        store.appends(Some(between), 10).await.unwrap(),
        expected[4..],
        "an id that is not there is a place as well"
    );
}

pub async fn an_import_wakes_those_who_wait(subject: Subject) {
    let (origin, _) = origin().await;
    let log = whole_log(&*origin).await;
    let waiting = tokio::spawn({
        let store = Arc::clone(&subject.store);
        async move { store.wait_beyond(Position::START).await }
    });
    let head = subject.store.import(log, Vec::new()).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap(), head);
}

pub async fn an_import_counts_in_inline_rows(subject: Subject) {
    let (origin, _) = origin().await;
    let store = &*subject.store;
    store.register(Tally::inline().spec(), now()).await.unwrap();
    store
        .install_inline(Arc::new(Tally::inline()))
        .await
        .unwrap();
    transfer(&*origin, store).await;
    let rows = all_rows(store, &COUNTS, Target::Live).await;
    assert_eq!(rows, tallied(&whole_log(&*origin).await));
    let record = record(store, "counts").await;
    assert_eq!(record.checkpoint.position, origin.head().await.unwrap());
}

pub async fn a_cancelled_import_is_there_wholly_or_not_at_all(subject: Subject) {
    let mut seed = Seed::printed();
    let origin = MemoryStore::new();
    for _ in 0..subject.effort.cancelled {
        let append = any("thing-1", 1 + seed.below(3)).once(append_id(), [1; 16]);
        origin.append(append).await.unwrap();
    }
    let log = whole_log(&origin).await;
    let mut appends = whole_appends(&origin, 1_000).await;
    appends.sort_by_key(|append| append.position);
    let store = &*subject.store;
    let mut there = 0;
    let mut given_up = 0;
    while there < log.len() {
        let end = log.len().min(there + 1 + seed.below(9));
        let events = &log[there..end];
        let (first, last) = (events[0].position, log[end - 1].position);
        let of_piece = appends.iter().cloned();
        let of_piece: Vec<RecordedAppend> = of_piece
            .filter(|append| append.position >= first && append.position <= last)
            .collect();
        let import = store.import(events.to_vec(), of_piece.clone());
        let answer = until(Drop::random(&mut seed), import).await;
        // Now it comes in, unless it has come in whole: a part of it would be in the way.
        let again = store.import(events.to_vec(), of_piece.clone()).await;
        match answer {
            Some(answer) => {
                assert_eq!(answer.unwrap(), last);
                assert_refused(again, "should follow");
            }
            None => given_up += 1,
        }
        assert_eq!(store.head().await.unwrap(), last);
        for append in of_piece {
            let found = store.find_append(append.id).await.unwrap();
            assert!(found.is_some(), "its appends come with it");
        }
        there = end;
    }
    assert!(given_up > 0, "some imports were cancelled");
    assert_same(&origin, store).await;
}
