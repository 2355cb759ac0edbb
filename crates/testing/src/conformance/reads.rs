//! Reading streams and the log, forwards and backwards, from everywhere.

use annals_core::{LogRead, Position, Store, StreamRead, Version};

use super::{Subject, check::*, sample::*};

/// Ten events of `thing-1` at the odd positions, ten of `other-1` at the even ones.
async fn fill(store: &dyn Store) {
    for _ in 0..10 {
        store.append(any("thing-1", 1)).await.unwrap();
        store.append(any("other-1", 1)).await.unwrap();
    }
}

async fn stream_versions(store: &dyn Store, read: StreamRead) -> Vec<u64> {
    versions_of(&store.read_stream(read).await.unwrap())
}

async fn log_positions(store: &dyn Store, read: LogRead) -> Vec<u64> {
    positions(&store.read_log(read).await.unwrap().events)
}

pub async fn a_stream_is_read_forwards_from_anywhere(subject: Subject) {
    let store = &*subject.store;
    fill(store).await;
    let cases: [(u64, usize, Vec<u64>); 9] = [
        (0, 0, vec![]),
        (0, 1, vec![1]),
        (0, 10, (1..=10).collect()),
        (0, 1_000, (1..=10).collect()),
        (4, 3, vec![5, 6, 7]),
        (8, 3, vec![9, 10]),
        (9, 1, vec![10]),
        (10, 5, vec![]),
        (u64::MAX, 5, vec![]),
    ];
    for (after, limit, expected) in cases {
        let read = StreamRead::after(stream("thing-1"), Version::new(after), limit);
        assert_eq!(
            stream_versions(store, read).await,
            expected,
            "{limit} after {after}"
        );
    }
}

pub async fn a_stream_is_read_backwards_from_anywhere(subject: Subject) {
    let store = &*subject.store;
    fill(store).await;
    let cases: [(u64, usize, Vec<u64>); 9] = [
        (0, 0, vec![]),
        (0, 1, vec![10]),
        (0, 1_000, (1..=10).rev().collect()),
        (5, 2, vec![4, 3]),
        (3, 5, vec![2, 1]),
        (2, 1, vec![1]),
        (1, 5, vec![]),
        (11, 1, vec![10]),
        (u64::MAX, 2, vec![10, 9]),
    ];
    for (before, limit, expected) in cases {
        let read = StreamRead::before(stream("thing-1"), Version::new(before), limit);
        assert_eq!(
            stream_versions(store, read).await,
            expected,
            "{limit} before {before}"
        );
    }
}

pub async fn a_stream_that_does_not_exist_is_empty_both_ways(subject: Subject) {
    let store = &*subject.store;
    fill(store).await;
    for name in ["thing-2", "absent-1"] {
        let forwards = StreamRead::after(stream(name), Version::NONE, 5);
        let backwards = StreamRead::before(stream(name), Version::NONE, 5);
        assert_eq!(stream_versions(store, forwards).await, [0_u64; 0]);
        assert_eq!(stream_versions(store, backwards).await, [0_u64; 0]);
    }
}

pub async fn the_log_is_read_forwards_from_anywhere(subject: Subject) {
    let store = &*subject.store;
    fill(store).await;
    let cases: [(u64, usize, Vec<u64>); 9] = [
        (0, 0, vec![]),
        (0, 1, vec![1]),
        (0, 20, (1..=20).collect()),
        (0, 1_000, (1..=20).collect()),
        (9, 3, vec![10, 11, 12]),
        (18, 3, vec![19, 20]),
        (19, 1, vec![20]),
        (20, 5, vec![]),
        (u64::MAX, 5, vec![]),
    ];
    for (after, limit, expected) in cases {
        let read = LogRead::after(position(after), limit);
        assert_eq!(
            log_positions(store, read).await,
            expected,
            "{limit} after {after}"
        );
    }
}

pub async fn the_log_is_read_backwards_from_anywhere(subject: Subject) {
    let store = &*subject.store;
    fill(store).await;
    let cases: [(u64, usize, Vec<u64>); 9] = [
        (0, 0, vec![]),
        (0, 1, vec![20]),
        (0, 1_000, (1..=20).rev().collect()),
        (11, 3, vec![10, 9, 8]),
        (3, 5, vec![2, 1]),
        (2, 1, vec![1]),
        (1, 5, vec![]),
        (21, 1, vec![20]),
        (u64::MAX, 2, vec![20, 19]),
    ];
    for (before, limit, expected) in cases {
        let read = LogRead::before(position(before), limit);
        assert_eq!(
            log_positions(store, read).await,
            expected,
            "{limit} before {before}"
        );
    }
}

pub async fn a_stream_read_answers_the_same_events_as_the_log(subject: Subject) {
    let store = &*subject.store;
    fill(store).await;
    let log = whole_log(store).await;
    for name in ["thing-1", "other-1"] {
        let mut of_log = log.clone();
        of_log.retain(|event| event.stream.as_str() == name);
        assert_eq!(whole_stream(store, &stream(name)).await, of_log);
    }
}

pub async fn both_directions_answer_the_same_events(subject: Subject) {
    let store = &*subject.store;
    fill(store).await;
    let read = LogRead::before(Position::START, 100);
    let mut backwards = store.read_log(read).await.unwrap().events;
    backwards.reverse();
    assert_eq!(backwards, whole_log(store).await);
}
