//! What no store accepts, and what every store must.

use annals_core::{
    Append, Expected, NewEvent, StreamRead, Version,
    append::{MAX_EVENTS, MAX_METADATA_BYTES, MAX_PAYLOAD_BYTES, MAX_TAGS},
};

use super::{Subject, check::*, sample::*};

fn event_of(bytes: usize) -> NewEvent {
    NewEvent {
        payload: vec![b'x'; bytes],
        ..event("thing.done")
    }
}

fn event_with(tags: usize) -> NewEvent {
    NewEvent {
        tags: (0..tags)
            .map(|number| tag(&format!("n:{number}")))
            .collect(),
        ..event("thing.done")
    }
}

pub async fn an_append_beyond_a_limit_is_invalid_and_writes_nothing(subject: Subject) {
    let store = &*subject.store;
    let one = |event| append("thing-1", Expected::Any, vec![event]);
    let twin = event("thing.done");
    let mut wordy = event("thing.done");
    wordy.metadata.actor = Some("x".repeat(MAX_METADATA_BYTES + 1));
    let cases: [(Append, &str); 9] = [
        (append("thing-1", Expected::Any, Vec::new()), "no events"),
        (
            Append {
                writes: Vec::new(),
                ..any("thing-1", 1)
            },
            "no events",
        ),
        (
            Append {
                writes: Vec::new(),
                ..any("thing-1", 1).once(append_id(), [0; 16])
            },
            "no events",
        ),
        (any("thing-1", MAX_EVENTS + 1), "10001 events"),
        (one(event_of(MAX_PAYLOAD_BYTES + 1)), "8388609 bytes"),
        (one(wordy), "65537 bytes"),
        (one(event_with(MAX_TAGS + 1)), "65 tags"),
        (
            any("thing-1", 1).and(stream("thing-1"), Expected::Any, events(1)),
            "twice",
        ),
        (
            append("thing-1", Expected::Any, vec![twin.clone(), twin]),
            "twice",
        ),
    ];
    for (append, says) in cases {
        assert_invalid(store.append(append).await, says);
    }
    assert_eq!(whole_log(store).await, []);
}

pub async fn an_append_of_as_many_events_as_allowed_is_written(subject: Subject) {
    let store = &*subject.store;
    let appended = store.append(any("thing-1", MAX_EVENTS)).await.unwrap();
    assert_eq!(appended.position, position(10_000));
    assert_eq!(whole_log(store).await.len(), MAX_EVENTS);
}

pub async fn a_payload_as_large_as_allowed_is_written(subject: Subject) {
    let store = &*subject.store;
    let event = event_of(MAX_PAYLOAD_BYTES);
    store
        .append(append("thing-1", Expected::Any, vec![event]))
        .await
        .unwrap();
    let log = whole_log(store).await;
    assert_eq!(log[0].payload.len(), MAX_PAYLOAD_BYTES);
}

pub async fn a_page_that_is_short_is_large_or_the_last(subject: Subject) {
    let store = &*subject.store;
    let sizes = [[1].as_slice(), &[MAX_PAYLOAD_BYTES; 5], &[1; 4]].concat();
    for size in &sizes {
        let append = append("thing-1", Expected::Any, vec![event_of(*size)]);
        store.append(append).await.unwrap();
    }
    let mut last = Version::NONE;
    loop {
        let read = StreamRead::after(stream("thing-1"), last, sizes.len() + 1);
        let page = store.read_stream(read.clone()).await.unwrap();
        last = page.last().map_or(last, |event| event.version);
        if read.ends_with(&page) {
            break;
        }
        assert!(!page.is_empty(), "an empty page is the last");
    }
    assert_eq!(last, Version::new(10));
    let read = StreamRead::after(stream("thing-1"), Version::new(6), 4);
    let whole = store.read_stream(read.clone()).await.unwrap();
    assert!(!read.ends_with(&whole), "more may follow a whole page");
}

pub async fn as_many_tags_as_allowed_are_written(subject: Subject) {
    let store = &*subject.store;
    let event = event_with(MAX_TAGS);
    let tags = event.tags.clone();
    store
        .append(append("thing-1", Expected::Any, vec![event]))
        .await
        .unwrap();
    assert_eq!(whole_log(store).await[0].tags, tags);
    assert_eq!(matching(store, with_tag("n:63"), 5).await.len(), 1);
}

pub async fn an_append_over_hundreds_of_streams_is_written(subject: Subject) {
    let store = &*subject.store;
    let mut append = any("thing-0", 1);
    for number in 1..500 {
        append = append.and(
            stream(&format!("thing-{number}")),
            Expected::NoStream,
            events(1),
        );
    }
    let appended = store.append(append).await.unwrap();
    assert_eq!(appended.versions, versions(&[1; 500]));
    assert_eq!(whole_log(store).await.len(), 500);
}
