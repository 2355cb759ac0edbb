//! One append at a time: expectations, atomicity, versions and positions.

use annals_core::{Expected, Position, StreamRead, Version};

use super::{Subject, check::*, sample::*};

pub async fn an_empty_store_has_no_head_and_no_events(subject: Subject) {
    let store = &*subject.store;
    assert_eq!(store.head().await.unwrap(), Position::START);
    assert_eq!(
        store.stream_version(&stream("thing-1")).await.unwrap(),
        Version::NONE
    );
    assert_eq!(whole_log(store).await, []);
    assert_eq!(whole_stream(store, &stream("thing-1")).await, []);
}

pub async fn an_append_answers_position_and_version(subject: Subject) {
    let store = &*subject.store;
    let first = store.append(any("thing-1", 3)).await.unwrap();
    assert_eq!(first.position, position(3));
    assert_eq!(first.versions, versions(&[3]));
    assert!(!first.repeated);
    let second = store.append(any("thing-1", 2)).await.unwrap();
    assert_eq!(second.position, position(5));
    assert_eq!(second.versions, versions(&[5]));
    assert_eq!(store.head().await.unwrap(), position(5));
    assert_eq!(
        store.stream_version(&stream("thing-1")).await.unwrap(),
        Version::new(5)
    );
}

async fn append_under(subject: &Subject, name: &str, expected: Expected, met: bool) {
    let store = &*subject.store;
    let before = store.head().await.unwrap();
    let actual = store.stream_version(&stream(name)).await.unwrap();
    let result = store.append(append(name, expected, events(2))).await;
    if met {
        let appended = result.unwrap_or_else(|error| panic!("{expected} is met: {error}"));
        assert_eq!(appended.versions, [actual.plus(2)]);
        assert_eq!(store.head().await.unwrap(), before.plus(2));
    } else {
        assert_conflict(result, &stream(name), actual);
        assert_eq!(
            store.head().await.unwrap(),
            before,
            "a conflict writes nothing"
        );
    }
}

pub async fn a_stream_without_events_meets_the_expectations_it_should(subject: Subject) {
    let cases = [
        (Expected::Any, true),
        (Expected::NoStream, true),
        (Expected::StreamExists, false),
        (Expected::Exact(Version::NONE), true),
        (exact(1), false),
        (exact(u64::MAX), false),
    ];
    for (index, (expected, met)) in cases.into_iter().enumerate() {
        append_under(&subject, &format!("thing-{index}"), expected, met).await;
    }
    whole_log(&*subject.store).await;
}

pub async fn a_stream_with_events_meets_the_expectations_it_should(subject: Subject) {
    let cases = [
        (Expected::Any, true),
        (Expected::NoStream, false),
        (Expected::StreamExists, true),
        (Expected::Exact(Version::NONE), false),
        (exact(2), false),
        (exact(3), true),
        (exact(4), false),
        (exact(u64::MAX), false),
    ];
    for (index, (expected, met)) in cases.into_iter().enumerate() {
        let name = format!("thing-{index}");
        subject.store.append(any(&name, 3)).await.unwrap();
        append_under(&subject, &name, expected, met).await;
    }
    whole_log(&*subject.store).await;
}

pub async fn a_conflict_says_what_was_expected(subject: Subject) {
    let store = &*subject.store;
    store.append(any("thing-1", 2)).await.unwrap();
    let error = store
        .append(append("thing-1", exact(1), events(1)))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "stream `thing-1` is at version 2, not at version 1"
    );
}

pub async fn an_append_over_several_streams_is_in_the_order_of_its_writes(subject: Subject) {
    let store = &*subject.store;
    store.append(any("thing-b", 1)).await.unwrap();
    let append = any("thing-a", 2)
        .and(stream("thing-b"), exact(1), events(1))
        .and(stream("other-c"), Expected::NoStream, events(3));
    let sent = [&append.writes[0], &append.writes[1], &append.writes[2]]
        .map(|write| new_ids(&write.events))
        .concat();
    let appended = store.append(append).await.unwrap();
    assert_eq!(appended.position, position(7));
    assert_eq!(appended.versions, versions(&[2, 2, 3]));
    assert_eq!(ids(&whole_log(store).await)[1..], sent);
}

pub async fn a_conflict_on_one_stream_leaves_nothing_on_the_others(subject: Subject) {
    let store = &*subject.store;
    store.append(any("thing-b", 1)).await.unwrap();
    let append = any("thing-a", 2)
        .and(stream("thing-b"), exact(7), events(1))
        .and(stream("thing-c"), Expected::Any, events(1));
    assert_conflict(
        store.append(append).await,
        &stream("thing-b"),
        Version::new(1),
    );
    assert_eq!(whole_log(store).await.len(), 1);
    for name in ["thing-a", "thing-c"] {
        assert_eq!(
            store.stream_version(&stream(name)).await.unwrap(),
            Version::NONE
        );
    }
}

pub async fn a_write_without_events_only_checks_its_stream(subject: Subject) {
    let store = &*subject.store;
    store.append(any("thing-a", 2)).await.unwrap();
    let good = append("thing-a", exact(2), Vec::new()).and(
        stream("thing-b"),
        Expected::NoStream,
        events(1),
    );
    let appended = store.append(good).await.unwrap();
    assert_eq!(appended.versions, versions(&[2, 1]));
    assert_eq!(appended.position, position(3));
    let bad =
        append("thing-a", exact(1), Vec::new()).and(stream("thing-b"), Expected::Any, events(1));
    assert_conflict(store.append(bad).await, &stream("thing-a"), Version::new(2));
    assert_eq!(whole_log(store).await.len(), 3);
}

pub async fn streams_that_look_alike_are_kept_apart(subject: Subject) {
    let store = &*subject.store;
    let names = [
        "thing-1",
        "thing-10",
        "thing-1 ",
        "thing--1",
        "thing_-1",
        "things-1",
        "thing-ä",
        "thing-a\u{308}",
        "thing-A",
        "thing-a",
        "thing-%",
        "thing-_",
        "thing-'",
    ];
    for name in names {
        store
            .append(append(name, Expected::NoStream, events(1)))
            .await
            .unwrap();
    }
    for name in names {
        let read = StreamRead::after(stream(name), Version::NONE, 10);
        let found = store.read_stream(read).await.unwrap();
        assert_eq!(found.len(), 1, "{name:?} has its own event only");
        assert_eq!(found[0].stream.as_str(), name);
    }
}

pub async fn what_was_appended_is_there_for_another_handle(subject: Subject) {
    let sent = events(3);
    let sent_ids = new_ids(&sent);
    let append = append("thing-1", Expected::NoStream, sent);
    subject.store.append(append).await.unwrap();
    let other = subject.open_again().await;
    assert_eq!(ids(&whole_log(&*other).await), sent_ids);
    let next = other.append(any("thing-1", 1)).await.unwrap();
    assert_eq!(next.position, position(4));
    assert_eq!(subject.store.head().await.unwrap(), position(4));
    assert_eq!(whole_log(&*subject.store).await.len(), 4);
}
