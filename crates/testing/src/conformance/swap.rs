//! Putting a rebuilt table in the live one's place.

use std::{sync::Arc, time::Duration};

use annals_core::{
    Checkpoint, Differences, Failure, Fence, Position, ProjectionSpec, ProjectionState,
    RebuildError, RebuildRecord, Row, Store, StoredEvent, SwapRequest, Swapped, Target,
};

use super::{Subject, check::*, sample::*, table::*, tally::*};
use crate::seed::Seed;

const LONG: Duration = Duration::from_secs(600);

fn checkpoint_of(log: &[StoredEvent]) -> Checkpoint {
    log.last()
        .map_or_else(Checkpoint::default, |last| Checkpoint {
            position: last.position,
            event_id: Some(last.id),
        })
}

/// A step to the end of these events, which writes these rows.
async fn write_live(store: &dyn Store, log: &[StoredEvent], rows: Vec<Row>) {
    let standing = record(store, "counts").await;
    let mut step = live_step(&standing, 0, upserts(&[]));
    step.checkpoint = checkpoint_of(log);
    step.rows.as_mut().unwrap().1.upserts = rows;
    store.commit(step).await.unwrap();
}

/// A rebuild that reaches the end of these events, rightly tallied.
async fn rebuild_to(store: &dyn Store, log: &[StoredEvent]) -> RebuildRecord {
    rebuild_with(store, log, tallied(log)).await
}

/// A rebuild that reaches the end of these events with these rows.
async fn rebuild_with(store: &dyn Store, log: &[StoredEvent], rows: Vec<Row>) -> RebuildRecord {
    let spec = counts();
    let begun = store.begin_rebuild(&spec, "me", LONG, false, now());
    let rebuild = begun.await.unwrap();
    let mut step = rebuild_step("counts", &rebuild, 0, upserts(&[]));
    step.checkpoint = checkpoint_of(log);
    step.rows.as_mut().unwrap().1.upserts = rows;
    store.commit(step).await.unwrap();
    record(store, "counts").await.rebuild.unwrap()
}

/// Twelve events in three streams, and a registered projection.
async fn fill(store: &dyn Store) -> Vec<StoredEvent> {
    for number in 0..12 {
        let append = any(&format!("thing-{}", number % 3), 1);
        store.append(append).await.unwrap();
    }
    store.register(&counts(), now()).await.unwrap();
    whole_log(store).await
}

async fn swap(
    store: &dyn Store,
    rebuild: &RebuildRecord,
    verify: Option<usize>,
) -> Result<Swapped, RebuildError> {
    let request = SwapRequest {
        spec: counts(),
        fence: Fence {
            epoch: rebuild.epoch,
            checkpoint: rebuild.checkpoint.position,
        },
        verify,
        now: now(),
    };
    store.swap(request, Arc::new(Tally::followed())).await
}

async fn live_rows(store: &dyn Store) -> Vec<Row> {
    all_rows(store, &COUNTS, Target::Live).await
}

pub async fn a_swap_brings_rows_checkpoint_and_a_new_epoch_together(subject: Subject) {
    let store = &*subject.store;
    let log = fill(store).await;
    write_live(store, &log, vec![row("old", 1), row("thing-0", 99)]).await;
    let before = record(store, "counts").await;
    let rebuild = rebuild_to(store, &log).await;
    let swapped = swap(store, &rebuild, None).await.unwrap();
    assert_eq!(swapped.rows, 3);
    assert_eq!(swapped.checkpoint, checkpoint_of(&log));
    assert_eq!(swapped.differences, None);
    assert_eq!(live_rows(store).await, tallied(&log));
    let after = record(store, "counts").await;
    assert_eq!(after.checkpoint, checkpoint_of(&log));
    assert_eq!(after.state, ProjectionState::Running);
    assert_eq!(after.rebuild, None);
    assert!(after.epoch > before.epoch);
    assert_fenced(store.commit(live_step(&before, 13, upserts(&[]))).await);
    let late = rebuild_step("counts", &rebuild, 13, upserts(&[("late", 1)]));
    assert_fenced(store.commit(late).await);
    store.append(any("thing-0", 1)).await.unwrap();
    write_live(store, &whole_log(store).await, vec![row("thing-0", 5)]).await;
}

pub async fn a_swap_folds_what_the_live_table_has_and_the_new_one_lacks(subject: Subject) {
    let store = &*subject.store;
    let log = fill(store).await;
    write_live(store, &log, tallied(&log)).await;
    let rebuild = rebuild_to(store, &log[..4]).await;
    let swapped = swap(store, &rebuild, None).await.unwrap();
    assert_eq!(swapped.checkpoint, checkpoint_of(&log));
    assert_eq!(
        record(store, "counts").await.checkpoint,
        checkpoint_of(&log)
    );
    assert_eq!(live_rows(store).await, tallied(&log));
}

pub async fn a_new_table_may_be_ahead_of_the_live_one(subject: Subject) {
    let store = &*subject.store;
    let log = fill(store).await;
    write_live(store, &log[..5], tallied(&log[..5])).await;
    let rebuild = rebuild_to(store, &log).await;
    let swapped = swap(store, &rebuild, None).await.unwrap();
    assert_eq!(swapped.checkpoint, checkpoint_of(&log));
    assert_eq!(live_rows(store).await, tallied(&log));
}

pub async fn a_new_table_that_is_far_behind_is_not_swapped_in(subject: Subject) {
    let store = &*subject.store;
    fill(store).await;
    for _ in 0..3 {
        store.append(any("thing-0", 10_000)).await.unwrap();
    }
    let log = whole_log(store).await;
    write_live(store, &log, vec![row("live", 1)]).await;
    let rebuild = rebuild_to(store, &log[..4]).await;
    match swap(store, &rebuild, None).await {
        Err(RebuildError::Behind { checkpoint, target }) => {
            assert_eq!((checkpoint, target), (position(4), position(30_012)));
        }
        other => panic!("expected to be told to fold on, got {other:?}"),
    }
    assert_eq!(live_rows(store).await, [row("live", 1)]);
    let standing = record(store, "counts").await;
    assert_eq!(standing.rebuild, Some(rebuild), "the rebuild can go on");
}

pub async fn a_swap_by_somebody_who_was_overtaken_changes_nothing(subject: Subject) {
    let store = &*subject.store;
    let log = fill(store).await;
    write_live(store, &log, vec![row("live", 1)]).await;
    let rebuild = rebuild_to(store, &log).await;
    let mut stale = rebuild.clone();
    stale.epoch += 1;
    let mut behind = rebuild.clone();
    behind.checkpoint.position = Position::new(3);
    for fence in [stale, behind] {
        let refused = swap(store, &fence, None).await;
        assert!(
            matches!(refused, Err(RebuildError::Fenced { .. })),
            "{refused:?}"
        );
    }
    assert_eq!(live_rows(store).await, [row("live", 1)]);
    assert_eq!(record(store, "counts").await.rebuild, Some(rebuild));
}

pub async fn a_swap_whose_missing_events_cannot_be_folded_changes_nothing(subject: Subject) {
    let store = &*subject.store;
    fill(store).await;
    let poison = append("thing-0", annals_core::Expected::Any, vec![event(POISON)]);
    store.append(poison).await.unwrap();
    let log = whole_log(store).await;
    write_live(store, &log, vec![row("live", 1)]).await;
    let rebuild = rebuild_to(store, &log[..4]).await;
    let refused = swap(store, &rebuild, None).await;
    assert!(matches!(refused, Err(RebuildError::Fold(_))), "{refused:?}");
    assert_eq!(live_rows(store).await, [row("live", 1)]);
    assert_eq!(record(store, "counts").await.rebuild, Some(rebuild));
}

async fn verified(subject: &Subject, live: Vec<Row>, rebuilt_to: usize, samples: usize) -> Swapped {
    let store = &*subject.store;
    let log = fill(store).await;
    write_live(store, &log, live).await;
    let rebuild = rebuild_to(store, &log[..rebuilt_to]).await;
    let swapped = swap(store, &rebuild, Some(samples)).await.unwrap();
    assert_eq!(live_rows(store).await, tallied(&log));
    swapped
}

pub async fn equal_tables_have_no_differences(subject: Subject) {
    let right = vec![row("thing-0", 4), row("thing-1", 4), row("thing-2", 4)];
    let swapped = verified(&subject, right, 12, 10).await;
    assert_eq!(swapped.differences, Some(Differences::default()));
}

pub async fn tables_are_compared_at_the_same_position(subject: Subject) {
    let right = vec![row("thing-0", 4), row("thing-1", 4), row("thing-2", 4)];
    let swapped = verified(&subject, right, 5, 10).await;
    assert_eq!(swapped.differences, Some(Differences::default()));
}

pub async fn wrong_missing_and_surplus_rows_are_the_differences(subject: Subject) {
    let wrong = vec![row("surplus", 1), row("thing-0", 4), row("thing-1", 3)];
    let swapped = verified(&subject, wrong, 12, 10).await;
    let found = swapped.differences.expect("both are at the same position");
    assert_eq!(found.count, 3);
    let mut samples: Vec<_> = (found.samples.iter())
        .map(|row| {
            let known = ["surplus", "thing-1", "thing-2"];
            let key = known.into_iter().find(|key| row.key.contains(key));
            (key, row.live.is_some(), row.rebuilt.is_some())
        })
        .collect();
    samples.sort_unstable();
    let expected = [
        (Some("surplus"), true, false),
        (Some("thing-1"), true, true),
        (Some("thing-2"), false, true),
    ];
    assert_eq!(samples, expected);
}

pub async fn only_as_many_differing_rows_are_shown_as_asked_for(subject: Subject) {
    let swapped = verified(&subject, vec![row("surplus", 1)], 12, 2).await;
    let found = swapped.differences.expect("both are at the same position");
    assert_eq!((found.count, found.samples.len()), (4, 2));
}

pub async fn a_swap_sets_a_failed_projection_running(subject: Subject) {
    let store = &*subject.store;
    let log = fill(store).await;
    let standing = record(store, "counts").await;
    let fence = Fence {
        epoch: standing.epoch,
        checkpoint: standing.checkpoint.position,
    };
    let failure = Failure {
        position: position(1),
        event_type: "thing.done".to_owned(),
        stream: "thing-0".to_owned(),
        message: "no".to_owned(),
        since: now(),
    };
    let failed = store.record_failure("counts", fence, ProjectionState::Failed, failure);
    failed.await.unwrap();
    let rebuild = rebuild_to(store, &log).await;
    swap(store, &rebuild, None).await.unwrap();
    let after = record(store, "counts").await;
    assert_eq!(after.state, ProjectionState::Running);
    assert_eq!(after.failure, None);
    assert_eq!(live_rows(store).await, tallied(&log));
}

pub async fn a_swap_makes_the_rows_those_of_the_new_code(subject: Subject) {
    let store = &*subject.store;
    let old_code = ProjectionSpec {
        fingerprint: "older".to_owned(),
        ..counts()
    };
    store.register(&old_code, now()).await.unwrap();
    let log = fill(store).await;
    assert_eq!(
        record(store, "counts").await.state,
        ProjectionState::Outdated
    );
    let rebuild = rebuild_to(store, &log).await;
    swap(store, &rebuild, None).await.unwrap();
    let after = record(store, "counts").await;
    assert_eq!(after.fingerprint, "first");
    assert_eq!(after.state, ProjectionState::Running);
    assert_eq!(live_rows(store).await, tallied(&log));
}

pub async fn a_reader_sees_the_whole_old_table_or_the_whole_new_one(subject: Subject) {
    let store = &*subject.store;
    let log = fill(store).await;
    let rows = |count: i64| {
        (0..200)
            .map(|n| row(&format!("row-{n:03}"), count))
            .collect()
    };
    write_live(store, &log, rows(0)).await;
    let other = subject.open_again().await;
    let (finish, finished) = tokio::sync::watch::channel(false);
    let reader = tokio::spawn(async move {
        let mut seen = Vec::new();
        while !*finished.borrow() {
            seen.push(all_rows(&*other, &COUNTS, Target::Live).await);
            tokio::task::yield_now().await;
        }
        seen
    });
    for round in 1..=10 {
        let rebuild = rebuild_with(store, &log, rows(round)).await;
        swap(store, &rebuild, None).await.unwrap();
    }
    finish.send(true).unwrap();
    let seen = reader.await.unwrap();
    assert!(!seen.is_empty(), "the reader has read");
    for table in seen {
        assert_eq!(table.len(), 200, "a whole table");
        assert!(table.iter().all(|row| row[1] == table[0][1]), "of one kind");
    }
}

pub async fn a_cancelled_swap_leaves_the_whole_old_table_or_the_whole_new_one(subject: Subject) {
    let mut seed = Seed::printed();
    let store = &*subject.store;
    let log = fill(store).await;
    let rows = |count: i64| {
        (0..50)
            .map(|n| row(&format!("row-{n:03}"), count))
            .collect()
    };
    write_live(store, &log, rows(0)).await;
    for round in 1..=20 {
        let rebuild = rebuild_with(store, &log, rows(round)).await;
        let patience = Duration::from_micros(seed.number() % 2_000);
        let cancelled = tokio::time::timeout(patience, swap(store, &rebuild, None)).await;
        let table = live_rows(store).await;
        assert_eq!(table.len(), 50, "a whole table");
        assert!(table.iter().all(|row| row[1] == table[0][1]), "of one kind");
        if cancelled.is_err() {
            // Either it had not happened, and happens now, or somebody was there first: we.
            match swap(store, &rebuild, None).await {
                Ok(_) | Err(RebuildError::Fenced { .. }) => {}
                Err(error) => panic!("a swap can be repeated: {error:?}"),
            }
        }
        let expected: Vec<Row> = rows(round);
        assert_eq!(live_rows(store).await, expected);
        assert_eq!(record(store, "counts").await.rebuild, None);
    }
}
