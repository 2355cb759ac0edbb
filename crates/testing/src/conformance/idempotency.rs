//! Repeating an append: once in the log, the same answer every time.

use std::sync::Arc;

use annals_core::{Append, Appended, Expected, NewEvent, Store};

use super::{Subject, check::*, races::race_on, sample::*};

fn repeated(appended: &Appended) -> Appended {
    Appended {
        repeated: true,
        ..appended.clone()
    }
}

/// The same append id and streams, with new events.
fn with_new_events(append: &Append) -> Append {
    let mut again = append.clone();
    for write in &mut again.writes {
        write.events = events(write.events.len());
    }
    again
}

async fn push_on(store: &dyn Store) {
    store.append(any("thing-1", 2)).await.unwrap();
    store.append(any("busy-9", 3)).await.unwrap();
}

pub async fn an_append_repeated_as_it_is_answers_as_the_first_time(subject: Subject) {
    let store = &*subject.store;
    push_on(store).await;
    let append = append("thing-1", exact(2), events(2)).and(
        stream("thing-2"),
        Expected::NoStream,
        events(1),
    );
    let first = store.append(append.clone()).await.unwrap();
    assert!(!first.repeated);
    assert_eq!(
        store.append(append.clone()).await.unwrap(),
        repeated(&first)
    );
    push_on(store).await;
    assert_eq!(
        store.append(append.clone()).await.unwrap(),
        repeated(&first),
        "also when others appended since"
    );
    let other = subject.open_again().await;
    assert_eq!(other.append(append).await.unwrap(), repeated(&first));
    assert_eq!(whole_log(store).await.len(), 13);
}

pub async fn a_condition_does_not_refuse_a_repeated_append(subject: Subject) {
    let store = &*subject.store;
    let taken = vec![tagged("seat.taken", &["seat:1"])];
    let append = append("thing-1", Expected::Any, taken).unless(with_tag("seat:1"), position(0));
    let first = store.append(append.clone()).await.unwrap();
    assert_eq!(store.append(append).await.unwrap(), repeated(&first));
}

pub async fn the_same_append_ten_times_at_once_is_written_once(subject: Subject) {
    let handles = [Arc::clone(&subject.store), subject.open_again().await];
    let mut total = 0;
    for round in 0..subject.effort.rounds.min(20) {
        let append = any(&format!("thing-{}", round % 3), 3);
        total += 3;
        let results = race_on(&handles, vec![append; 10]).await;
        let answers: Vec<Appended> = results.into_iter().map(Result::unwrap).collect();
        let written = answers.iter().filter(|answer| !answer.repeated).count();
        assert_eq!(written, 1, "one of the ten is the first");
        for answer in &answers {
            assert_eq!(repeated(answer), repeated(&answers[0]));
        }
        assert_eq!(whole_log(&*subject.store).await.len(), total);
    }
}

pub async fn an_append_id_answers_as_the_first_time_whatever_the_event_ids(subject: Subject) {
    let store = &*subject.store;
    push_on(store).await;
    let append = append("thing-1", exact(2), events(2)).once(append_id(), [7; 16]);
    let first = store.append(append.clone()).await.unwrap();
    push_on(store).await;
    for again in [append.clone(), with_new_events(&append)] {
        assert_eq!(store.append(again).await.unwrap(), repeated(&first));
    }
    assert_eq!(whole_log(store).await.len(), 12);
}

pub async fn an_append_id_used_ten_times_at_once_is_written_once(subject: Subject) {
    let handles = [Arc::clone(&subject.store), subject.open_again().await];
    for round in 0..subject.effort.rounds.min(20) {
        let first = any("thing-1", 2).once(append_id(), [1; 16]);
        let appends = (0..10).map(|_| with_new_events(&first)).collect();
        let results = race_on(&handles, appends).await;
        let answers: Vec<Appended> = results.into_iter().map(Result::unwrap).collect();
        assert_eq!(answers.iter().filter(|answer| !answer.repeated).count(), 1);
        for answer in &answers {
            assert_eq!(repeated(answer), repeated(&answers[0]));
        }
        assert_eq!(whole_log(&*subject.store).await.len(), (round + 1) * 2);
    }
}

pub async fn an_append_id_used_for_something_else_is_refused(subject: Subject) {
    let store = &*subject.store;
    let append = any("thing-1", 1).once(append_id(), [1; 16]);
    store.append(append.clone()).await.unwrap();
    let other = with_new_events(&append).once(append.id.unwrap(), [2; 16]);
    assert_id_reused(store.append(other).await, "append");
    assert_eq!(whole_log(store).await.len(), 1);
}

pub async fn an_event_id_used_for_something_else_is_refused(subject: Subject) {
    let store = &*subject.store;
    let first = event("thing.done");
    let append = append("thing-1", Expected::Any, vec![first.clone()]);
    store.append(append.clone()).await.unwrap();
    let reuse =
        |name: &str, event: NewEvent| super::sample::append(name, Expected::Any, vec![event]);
    let other_payload = NewEvent {
        payload: b"something else".to_vec(),
        ..first.clone()
    };
    let other_type = NewEvent {
        event_type: event_type("thing.undone"),
        ..first.clone()
    };
    assert_id_reused(store.append(reuse("thing-1", other_payload)).await, "event");
    assert_id_reused(store.append(reuse("thing-1", other_type)).await, "event");
    assert_id_reused(store.append(reuse("thing-2", first.clone())).await, "event");
    let mut mixed = append;
    mixed.writes[0].events.push(event("thing.done"));
    assert_id_reused(store.append(mixed).await, "event");
    assert_eq!(whole_log(store).await.len(), 1);
}

pub async fn an_append_without_events_is_remembered_by_its_id(subject: Subject) {
    let store = &*subject.store;
    store.append(any("thing-1", 3)).await.unwrap();
    let nothing = append("thing-1", exact(3), Vec::new()).once(append_id(), [3; 16]);
    let first = store.append(nothing.clone()).await.unwrap();
    assert_eq!(first.position, position(3));
    assert_eq!(first.versions, versions(&[3]));
    assert!(!first.repeated);
    store.append(any("thing-1", 1)).await.unwrap();
    assert_eq!(
        store.append(nothing).await.unwrap(),
        repeated(&first),
        "although the stream has moved on"
    );
    assert_eq!(whole_log(store).await.len(), 4);
}

pub async fn an_append_that_failed_did_not_use_up_its_ids(subject: Subject) {
    let store = &*subject.store;
    let mut append = append("thing-1", exact(5), events(1)).once(append_id(), [4; 16]);
    store.append(append.clone()).await.unwrap_err();
    assert_eq!(store.find_append(append.id.unwrap()).await.unwrap(), None);
    append.writes[0].expected = Expected::NoStream;
    let appended = store.append(append).await.unwrap();
    assert!(!appended.repeated);
    assert_eq!(whole_log(store).await.len(), 1);
}

pub async fn an_append_is_found_by_its_id(subject: Subject) {
    let store = &*subject.store;
    assert_eq!(store.find_append(append_id()).await.unwrap(), None);
    push_on(store).await;
    let id = append_id();
    let append = any("thing-7", 2)
        .and(stream("thing-1"), Expected::Any, events(1))
        .once(id, [9; 16]);
    let first = store.append(append).await.unwrap();
    push_on(store).await;
    let (found, fingerprint) = store.find_append(id).await.unwrap().expect("it is there");
    assert_eq!(repeated(&found), repeated(&first));
    assert_eq!(fingerprint, [9; 16]);
    let other = subject.open_again().await;
    assert!(other.find_append(id).await.unwrap().is_some());
}
