//! A future may be dropped at any point: the operation happens wholly or not at all.

use std::{
    collections::{HashMap, HashSet},
    future::Future,
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use annals_core::{
    Append, Appended, EventId, Expected, InlineProjection, LogRead, Position, Store, StoredEvent,
    Target,
};
use tokio::task::JoinSet;

use super::{Subject, check::*, sample::*, table::*, tally::*};
use crate::seed::Seed;

/// When a future is dropped.
#[derive(Clone, Copy)]
pub(super) enum Drop {
    AfterPolls(usize),
    AfterMicros(u64),
    Never,
}

impl Drop {
    pub(super) fn random(seed: &mut Seed) -> Self {
        match seed.below(4) {
            0 => Self::AfterPolls(seed.below(4)),
            1 => Self::AfterMicros(seed.number() % 300),
            2 => Self::AfterMicros(seed.number() % 10_000),
            _ => Self::Never,
        }
    }
}

/// The future's answer, unless it is dropped first.
pub(super) async fn until<T>(drop: Drop, future: impl Future<Output = T>) -> Option<T> {
    match drop {
        Drop::Never => Some(future.await),
        Drop::AfterMicros(micros) => tokio::time::timeout(Duration::from_micros(micros), future)
            .await
            .ok(),
        Drop::AfterPolls(polls) => {
            let mut future = pin!(future);
            let mut left = polls;
            std::future::poll_fn(|context| {
                if left == 0 {
                    return Poll::Ready(None);
                }
                left -= 1;
                // Whatever the future waits for, it is polled again and then dropped.
                context.waker().wake_by_ref();
                future.as_mut().poll(context).map(Some)
            })
            .await
        }
    }
}

fn random_append(seed: &mut Seed) -> Append {
    let a = format!("thing-{}", seed.below(5));
    let b = format!("other-{}", seed.below(5));
    let (count, more) = (1 + seed.below(3), seed.below(3));
    append(&a, Expected::Any, events(count)).and(stream(&b), Expected::Any, events(more))
}

fn event_ids(append: &Append) -> Vec<EventId> {
    let events = append.writes.iter().flat_map(|write| &write.events);
    events.map(|event| event.id).collect()
}

/// Asserts that each append is in the log wholly, in one piece, or not at all; answers which are.
fn whole_appends(log: &[StoredEvent], appends: &[Append]) -> HashSet<EventId> {
    let places: HashMap<EventId, u64> = log
        .iter()
        .map(|event| (event.id, event.position.get()))
        .collect();
    let mut there = HashSet::new();
    for append in appends {
        let ids = event_ids(append);
        let found: Vec<u64> = ids
            .iter()
            .filter_map(|id| places.get(id).copied())
            .collect();
        if found.is_empty() {
            continue;
        }
        assert_eq!(found.len(), ids.len(), "an append is there wholly");
        assert!(
            found.windows(2).all(|pair| pair[1] == pair[0] + 1),
            "and in one piece: {found:?}"
        );
        there.insert(ids[0]);
    }
    there
}

pub async fn a_cancelled_append_is_there_wholly_or_not_at_all(subject: Subject) {
    let mut seed = Seed::printed();
    let appends: Vec<Append> = (0..subject.effort.cancelled)
        .map(|_| random_append(&mut seed))
        .collect();
    let mut acknowledged: Vec<(EventId, Appended)> = Vec::new();
    for burst in appends.chunks(20) {
        let mut running = JoinSet::new();
        for append in burst.iter().cloned() {
            let store = subject.store.clone();
            let drop = Drop::random(&mut seed);
            running.spawn(async move {
                let id = event_ids(&append)[0];
                let answer = until(drop, store.append(append)).await?;
                Some((id, answer.expect("nothing is in the way")))
            });
        }
        acknowledged.extend(running.join_all().await.into_iter().flatten());
        whole_appends(&whole_log(&*subject.store).await, &appends);
    }
    let there = whole_appends(&whole_log(&*subject.store).await, &appends);
    assert!(
        acknowledged.iter().all(|(id, _)| there.contains(id)),
        "what was acknowledged is there"
    );
    assert!(
        acknowledged.len() < appends.len(),
        "some appends were cancelled"
    );
    settle(&*subject.store, &appends, &acknowledged).await;
}

/// Repeats all appends: now each is there once, and the acknowledged ones answer as before.
async fn settle(store: &dyn Store, appends: &[Append], acknowledged: &[(EventId, Appended)]) {
    let first: HashMap<EventId, &Appended> = acknowledged
        .iter()
        .map(|(id, answer)| (*id, answer))
        .collect();
    for append in appends {
        let answer = store
            .append(append.clone())
            .await
            .expect("it can be settled");
        if let Some(first) = first.get(&event_ids(append)[0]) {
            assert!(answer.repeated);
            assert_eq!(
                (answer.position, answer.versions),
                (first.position, first.versions.clone())
            );
        }
    }
    let log = whole_log(store).await;
    assert_eq!(whole_appends(&log, appends).len(), appends.len());
    let events: usize = appends.iter().map(Append::event_count).sum();
    assert_eq!(log.len(), events, "each append is there once");
}

pub async fn a_cancelled_read_disturbs_nobody(subject: Subject) {
    let mut seed = Seed::printed();
    let store = &subject.store;
    store.append(any("thing-1", 500)).await.unwrap();
    for _ in 0..subject.effort.cancelled {
        let polls = seed.below(4);
        let read = store.read_log(LogRead::after(Position::START, 500));
        until(Drop::AfterPolls(polls), read).await;
        let waiting = store.wait_beyond(position(1_000_000));
        until(Drop::AfterPolls(polls), waiting).await;
    }
    store.append(any("thing-1", 1)).await.unwrap();
    assert_eq!(whole_log(&**store).await.len(), 501);
}

/// Moves the checkpoint on, after which no step that was given up on can come through; answers
/// from where it moved.
async fn settle_steps(store: &dyn Store) -> i64 {
    eventually("a step comes through", async || {
        let standing = record(store, "counts").await;
        let from = standing.checkpoint.position;
        let step = live_step(&standing, from.next().get(), upserts(&[]));
        let from = i64::try_from(from.get()).unwrap();
        store.commit(step).await.ok().map(|()| from)
    })
    .await
}

pub async fn a_cancelled_step_is_there_wholly_or_not_at_all(subject: Subject) {
    let mut seed = Seed::printed();
    let store = &*subject.store;
    store.register(&counts(), now()).await.unwrap();
    let mut rows = Vec::new();
    for _ in 0..subject.effort.cancelled / 2 {
        let standing = record(store, "counts").await;
        let next = standing.checkpoint.position.next().get();
        let count = i64::try_from(next).unwrap();
        let step = live_step(&standing, next, upserts(&[("a", count), ("b", count)]));
        let answer = until(Drop::random(&mut seed), store.commit(step)).await;
        let moved = settle_steps(store).await == count;
        if let Some(committed) = answer {
            committed.expect("nobody is in the way");
            assert!(moved, "what was acknowledged is there");
        }
        if moved {
            rows = vec![row("a", count), row("b", count)];
        }
        assert_eq!(all_rows(store, &COUNTS, Target::Live).await, rows);
    }
}

pub async fn a_cancelled_append_counts_in_inline_rows_once(subject: Subject) {
    let mut seed = Seed::printed();
    let store = &subject.store;
    store.register(Tally::inline().spec(), now()).await.unwrap();
    let installed = store.install_inline(Arc::new(Tally::inline()));
    installed.await.unwrap();
    let appends: Vec<Append> = (0..subject.effort.cancelled / 3)
        .map(|_| random_append(&mut seed))
        .collect();
    for append in &appends {
        until(Drop::random(&mut seed), store.append(append.clone())).await;
    }
    settle(&**store, &appends, &[]).await;
    let rows = all_rows(&**store, &COUNTS, Target::Live).await;
    assert_eq!(rows, tallied(&whole_log(&**store).await));
}
