//! Following the log while others write.

use std::{collections::HashSet, sync::Arc, time::Duration};

use annals_core::{EventId, LogRead, Position, Query, Store, StoreError, StoredEvent};
use chrono::{DateTime, TimeDelta, Utc};
use tokio::task::JoinSet;

use super::{Subject, check::*, sample::*};
use crate::{
    seed::Seed,
    tail::{TailFault, check_tail},
};

const WRITERS: usize = 8;

/// Follows the log the way engines do, until it stands at `end`.
async fn follow(store: Arc<dyn Store>, end: Position) -> Result<Vec<StoredEvent>, StoreError> {
    let mut seen = Vec::new();
    let mut at = Position::START;
    while at < end {
        let head = store.wait_beyond(at).await?;
        assert!(head > at, "a waiter is woken for something");
        let page = store.read_log(LogRead::after(at, 7)).await?;
        at = page.scanned_to;
        seen.extend(page.events);
    }
    Ok(seen)
}

/// How a naive reader orders the log, and where it believes to stand.
type Cursor<T> = fn(&StoredEvent) -> T;

/// Follows the log by something other than positions, until told that there will be no more.
async fn follow_naively<T: Ord + Copy>(
    store: Arc<dyn Store>,
    cursor: Cursor<T>,
    mut finished: tokio::sync::watch::Receiver<bool>,
    mut begun: Option<tokio::sync::oneshot::Sender<()>>,
) -> Vec<StoredEvent> {
    let mut seen: Vec<StoredEvent> = Vec::new();
    loop {
        let last_look = *finished.borrow_and_update();
        let mut log = matching(&*store, Query::any(), 1_000).await;
        log.sort_by_key(cursor);
        let after = seen.last().map(cursor);
        log.retain(|event| after.is_none_or(|after| cursor(event) > after));
        seen.extend(log);
        if let Some(begun) = begun.take_if(|_| !seen.is_empty()) {
            begun.send(()).expect("the test waits for the reader");
        }
        if last_look {
            return seen;
        }
        // A reader that is too slow to look in between would not be naive enough.
        let pause = tokio::time::sleep(Duration::from_millis(2));
        tokio::select! {
            () = pause => {}
            changed = finished.changed() => changed.expect("the test is still there"),
        }
    }
}

async fn write(store: Arc<dyn Store>, writer: usize, count: usize, mut seed: Seed) {
    let name = format!("thing-{writer}");
    let mut left = count;
    while left > 0 {
        let batch = (1 + seed.below(3)).min(left);
        left -= batch;
        let mut append = any(&name, batch);
        // Each writer's clock is a minute behind the one before it.
        append.recorded_at -= TimeDelta::minutes(i64::try_from(writer).unwrap());
        if seed.below(4) == 0 {
            tokio::task::yield_now().await;
        }
        store.append(append).await.expect("nobody is in the way");
    }
}

/// Appends an event with a clock and an id ahead of all others, for naive readers to trust.
async fn append_ahead(store: &dyn Store) {
    let mut ahead = any("ahead-1", 1);
    ahead.recorded_at += TimeDelta::days(1);
    let late_id = uuid::Builder::from_unix_timestamp_millis(1 << 47, &[0; 10]).into_uuid();
    ahead.writes[0].events[0].id = EventId::new(late_id);
    store.append(ahead).await.unwrap();
}

pub async fn a_reader_sees_the_log_in_order_and_a_naive_one_is_caught(subject: Subject) {
    let mut seed = Seed::printed();
    let count = subject.effort.tail_events;
    append_ahead(&*subject.store).await;
    let total = u64::try_from(WRITERS * count + 1).unwrap();
    let (finish, finished) = tokio::sync::watch::channel(false);
    let other = subject.open_again().await;
    let readers = [&subject.store, &other]
        .map(|store| tokio::spawn(follow(Arc::clone(store), position(total))));
    let (by_time, time_begun) = tokio::sync::oneshot::channel();
    let by_time = {
        let cursor: Cursor<DateTime<Utc>> = |event| event.recorded_at;
        let store = Arc::clone(&subject.store);
        tokio::spawn(follow_naively(
            store,
            cursor,
            finished.clone(),
            Some(by_time),
        ))
    };
    let (by_id, id_begun) = tokio::sync::oneshot::channel();
    let by_id = {
        let cursor: Cursor<EventId> = |event| event.id;
        let store = Arc::clone(&subject.store);
        tokio::spawn(follow_naively(store, cursor, finished, Some(by_id)))
    };
    time_begun.await.unwrap();
    id_begun.await.unwrap();

    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let store = if writer % 2 == 0 {
            &subject.store
        } else {
            &other
        };
        let seed = Seed::new(seed.number());
        writers.spawn(write(Arc::clone(store), writer, count, seed));
    }
    writers.join_all().await;
    finish.send(true).unwrap();

    let log = whole_log(&*subject.store).await;
    assert_eq!(log.last().unwrap().position, position(total));
    for reader in readers {
        let seen = reader.await.unwrap().expect("the log can be read");
        assert_eq!(check_tail(&seen, &log), Ok(()));
    }
    for naive in [by_time.await.unwrap(), by_id.await.unwrap()] {
        assert!(
            matches!(check_tail(&naive, &log), Err(TailFault::Missed(_))),
            "the check catches a reader that trusts clocks or ids"
        );
    }
}

pub async fn every_reader_sees_the_same_prefix_at_any_moment(subject: Subject) {
    let store = Arc::clone(&subject.store);
    let writing = tokio::spawn(async move {
        for number in 0..60 {
            let append = any(&format!("thing-{}", number % 4), 1 + number % 3);
            store.append(append).await.unwrap();
        }
    });
    let other = subject.open_again().await;
    let mut known: Vec<EventId> = Vec::new();
    let mut at_end = false;
    while !at_end {
        at_end = writing.is_finished();
        for store in [&subject.store, &other] {
            let now = ids(&whole_log(&**store).await);
            assert!(now.starts_with(&known), "what was seen stays where it was");
            known = now;
        }
    }
    writing.await.unwrap();
}

pub async fn a_waiter_is_answered_at_once_when_there_is_something(subject: Subject) {
    let store = &*subject.store;
    store.append(any("thing-1", 5)).await.unwrap();
    assert_eq!(
        store.wait_beyond(Position::START).await.unwrap(),
        position(5)
    );
    assert_eq!(store.wait_beyond(position(4)).await.unwrap(), position(5));
}

pub async fn an_append_wakes_all_who_wait(subject: Subject) {
    let other = subject.open_again().await;
    let mut waiters = JoinSet::new();
    for waiter in 0..10 {
        let store = if waiter < 5 { &subject.store } else { &other };
        let store = Arc::clone(store);
        waiters.spawn(async move { store.wait_beyond(position(2)).await });
    }
    subject.store.append(any("thing-1", 2)).await.unwrap();
    tokio::task::yield_now().await;
    assert!(
        waiters.try_join_next().is_none(),
        "position 2 is not beyond 2"
    );
    subject.store.append(any("thing-1", 1)).await.unwrap();
    for reached in waiters.join_all().await {
        assert_eq!(reached.unwrap(), position(3));
    }
}

pub async fn an_append_that_fails_wakes_nobody(subject: Subject) {
    let store = Arc::clone(&subject.store);
    let waiter = tokio::spawn(async move { store.wait_beyond(Position::START).await });
    let conflict = append("thing-1", exact(5), events(1));
    subject.store.append(conflict).await.unwrap_err();
    assert!(!waiter.is_finished());
    subject.store.append(any("thing-1", 1)).await.unwrap();
    assert_eq!(waiter.await.unwrap().unwrap(), position(1));
}

pub async fn events_on_both_handles_have_distinct_positions(subject: Subject) {
    let other = subject.open_again().await;
    let mut positions = HashSet::new();
    for _ in 0..20 {
        for store in [&subject.store, &other] {
            let appended = store.append(any("thing-1", 1)).await.unwrap();
            assert!(positions.insert(appended.position));
        }
    }
    assert_eq!(whole_log(&*subject.store).await.len(), 40);
}
