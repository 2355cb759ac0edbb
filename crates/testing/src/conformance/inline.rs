//! Inline projections: rows that commit with the append.

use std::{sync::Arc, time::Duration};

use annals_core::{
    AppendError, EventId, EventStore as _, Expected, Fence, FoldError, InlineProjection,
    MemoryStore, ProjectionState, Row, Store, StoredEvent, SwapRequest, Target, Version,
};
use tokio::task::JoinSet;

use super::{Subject, check::*, races::race_on, sample::*, table::*, tally::*};

async fn install(store: &dyn Store) -> Result<(), FoldError> {
    let tally = Tally::inline();
    store.register(tally.spec(), now()).await.unwrap();
    store.install_inline(Arc::new(tally)).await
}

async fn assert_tallied(store: &dyn Store) -> Vec<StoredEvent> {
    let log = whole_log(store).await;
    assert_eq!(rows(store).await, tallied(&log));
    let record = record(store, "counts").await;
    assert_eq!(
        record.checkpoint.position,
        store.head().await.unwrap(),
        "the checkpoint is at the head"
    );
    assert_eq!(record.checkpoint.event_id, log.last().map(|event| event.id));
    log
}

async fn rows(store: &dyn Store) -> Vec<Row> {
    all_rows(store, &COUNTS, Target::Live).await
}

pub async fn inline_rows_are_there_with_the_append(subject: Subject) {
    let store = &*subject.store;
    install(store).await.unwrap();
    assert!(record(store, "counts").await.inline);
    for number in 0..5 {
        let append = any("thing-1", 1 + number).and(stream("thing-2"), Expected::Any, events(1));
        store.append(append).await.unwrap();
        assert_tallied(store).await;
    }
}

pub async fn missed_events_are_folded_when_an_inline_projection_is_installed(subject: Subject) {
    let store = &*subject.store;
    store.append(any("thing-1", 2_500)).await.unwrap();
    store.append(any("thing-2", 3)).await.unwrap();
    install(store).await.unwrap();
    assert_tallied(store).await;
    store.append(any("thing-2", 1)).await.unwrap();
    assert_tallied(store).await;
}

pub async fn missed_events_that_cannot_be_folded_are_the_answer_of_the_installation(
    subject: Subject,
) {
    let store = &*subject.store;
    store.append(any("thing-1", 2)).await.unwrap();
    let poison = append("thing-1", Expected::Any, vec![event(POISON)]);
    store.append(poison).await.unwrap();
    match install(store).await {
        Err(FoldError::Event { position, .. }) => assert_eq!(position.get(), 3),
        other => panic!("expected the poison to be named, got {other:?}"),
    }
}

pub async fn events_appended_without_an_inline_projection_are_folded_before_the_next(
    subject: Subject,
) {
    let store = &*subject.store;
    install(store).await.unwrap();
    store.append(any("thing-1", 1)).await.unwrap();
    let set = |state| store.set_state("counts", state, now());
    set(ProjectionState::Paused).await.unwrap();
    store.append(any("thing-1", 1_300)).await.unwrap();
    store.append(any("thing-2", 2)).await.unwrap();
    set(ProjectionState::Running).await.unwrap();
    store.append(any("thing-2", 1)).await.unwrap();
    assert_tallied(store).await;
}

pub async fn a_missed_event_that_cannot_be_folded_stops_its_projection_and_no_append(
    subject: Subject,
) {
    let store = &*subject.store;
    install(store).await.unwrap();
    store.append(any("thing-1", 1)).await.unwrap();
    let set = |state| store.set_state("counts", state, now());
    set(ProjectionState::Paused).await.unwrap();
    store.append(any("thing-1", 1_300)).await.unwrap();
    let poison = append("thing-1", Expected::Any, vec![event(POISON)]);
    store.append(poison).await.unwrap();
    // The second time little is missing where pieces of the log were folded the first time.
    for _ in 0..2 {
        set(ProjectionState::Running).await.unwrap();
        for _ in 0..2 {
            store
                .append(any("thing-2", 1))
                .await
                .expect("appends go on");
            let standing = record(store, "counts").await;
            assert_eq!(standing.state, ProjectionState::Failed);
            let failure = standing.failure.expect("it says why");
            assert_eq!(failure.position, position(1_302));
            assert!(failure.message.contains("it is poison"), "{failure:?}");
            let log = whole_log(store).await.into_iter();
            let folded = log.take_while(|event| event.position <= standing.checkpoint.position);
            assert_eq!(rows(store).await, tallied(&folded.collect::<Vec<_>>()));
        }
    }
}

pub async fn a_missed_event_that_cannot_be_folded_stops_its_projection_and_no_import(
    subject: Subject,
) {
    let store = &*subject.store;
    install(store).await.unwrap();
    let set = |state| store.set_state("counts", state, now());
    set(ProjectionState::Paused).await.unwrap();
    // More than is folded together with what comes.
    store.append(any("thing-1", 1_300)).await.unwrap();
    let poison = append("thing-1", Expected::Any, vec![event(POISON)]);
    store.append(poison).await.unwrap();
    set(ProjectionState::Running).await.unwrap();

    let other = MemoryStore::new();
    other.append(any("thing-9", 1_301)).await.unwrap();
    other.append(any("thing-2", 2)).await.unwrap();
    let mut piece = whole_log(&other).await.split_off(1_301);
    let second = piece.split_off(1);
    for piece in [piece, second] {
        let imported = store.import(piece, Vec::new()).await;
        imported.expect("imports go on");
        let standing = record(store, "counts").await;
        assert_eq!(standing.state, ProjectionState::Failed);
        let failure = standing.failure.expect("it says why");
        assert_eq!(failure.position, position(1_301));
    }
    assert_eq!(store.head().await.unwrap(), position(1_303));
}

pub async fn an_inline_refusal_rejects_its_append_and_leaves_nothing(subject: Subject) {
    let store = &*subject.store;
    install(store).await.unwrap();
    store.append(any("thing-1", 2)).await.unwrap();
    let bad = append(
        "thing-1",
        Expected::Any,
        vec![event("thing.done"), event(POISON)],
    )
    .and(stream("thing-2"), Expected::Any, events(1))
    .once(append_id(), [1; 16]);
    let id = bad.id.unwrap();
    match store.append(bad).await {
        Err(AppendError::InlineProjection {
            projection,
            message,
        }) => {
            assert_eq!(projection, "counts");
            assert!(message.contains("it is poison"), "{message:?}");
        }
        other => panic!("expected to be refused, got {other:?}"),
    }
    assert_eq!(assert_tallied(store).await.len(), 2);
    assert_eq!(store.find_append(id).await.unwrap(), None);
    let version = store.stream_version(&stream("thing-2")).await.unwrap();
    assert_eq!(version, Version::NONE);
    assert_eq!(
        record(store, "counts").await.state,
        ProjectionState::Running,
        "the next append is welcome"
    );
    store.append(any("thing-1", 1)).await.unwrap();
    assert_tallied(store).await;
}

pub async fn an_inline_refusal_rejects_nobody_elses_append(subject: Subject) {
    let store = &subject.store;
    install(&**store).await.unwrap();
    let handles = [Arc::clone(store), Arc::clone(store)];
    for _ in 0..subject.effort.rounds.min(10) {
        let appends = (0..16)
            .map(|racer| {
                let name = format!("thing-{}", racer % 5);
                let event = event(if racer % 4 == 1 { POISON } else { "thing.done" });
                append(&name, Expected::Any, vec![event])
            })
            .collect();
        let results = race_on(&handles, appends).await;
        let (good, bad): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
        assert_eq!((good.len(), bad.len()), (12, 4));
        for refused in bad {
            assert!(
                matches!(refused, Err(AppendError::InlineProjection { .. })),
                "{refused:?}"
            );
        }
        assert_tallied(&**store).await;
    }
}

pub async fn conflicts_and_repeats_do_not_count_twice_in_inline_rows(subject: Subject) {
    let store = &*subject.store;
    install(store).await.unwrap();
    let append = any("thing-1", 2);
    for _ in 0..3 {
        store.append(append.clone()).await.unwrap();
    }
    store
        .append(super::sample::append("thing-1", exact(9), events(1)))
        .await
        .unwrap_err();
    assert_eq!(assert_tallied(store).await.len(), 2);
}

pub async fn an_inline_projection_survives_writers_that_race(subject: Subject) {
    install(&*subject.store).await.unwrap();
    let mut writers = JoinSet::new();
    for writer in 0..8 {
        let store = Arc::clone(&subject.store);
        writers.spawn(async move {
            for _ in 0..20 {
                let append = any(&format!("thing-{}", writer % 3), 2);
                store.append(append).await.unwrap();
            }
        });
    }
    writers.join_all().await;
    assert_eq!(assert_tallied(&*subject.store).await.len(), 320);
}

/// Moves the projection's checkpoint to where its log, unlike this one, had an event.
async fn move_to_another_log(store: &dyn Store, to: u64) {
    let standing = record(store, "counts").await;
    let mut step = live_step(&standing, to, upserts(&[]));
    step.checkpoint.event_id = Some(EventId::new(uuid()));
    store.commit(step).await.unwrap();
}

/// Asserts that the projection halted because the log has no such event, and what to do.
async fn assert_diverged(store: &dyn Store, at: u64) {
    let standing = record(store, "counts").await;
    assert_eq!(standing.state, ProjectionState::Diverged);
    assert_eq!(
        standing.checkpoint.position,
        position(at),
        "it is left where it was"
    );
    let failure = standing.failure.expect("it says why");
    assert_eq!(failure.position, position(at));
    assert!(failure.message.contains("rebuild `counts`"), "{failure:?}");
}

pub async fn an_inline_projection_of_another_log_halts_when_it_is_installed(subject: Subject) {
    let store = &*subject.store;
    store.append(any("thing-1", 3)).await.unwrap();
    for foreign in [2, 3, 9] {
        store.register(Tally::inline().spec(), now()).await.unwrap();
        move_to_another_log(store, foreign).await;
        install(store).await.unwrap();
        assert_diverged(store, foreign).await;
        store.append(any("thing-1", 1)).await.unwrap();
        assert_diverged(store, foreign).await;
        assert_eq!(rows(store).await, [[]; 0], "what follows is not folded");
        let set = store.set_state("counts", ProjectionState::Running, now());
        set.await.unwrap();
    }
}

pub async fn an_inline_projection_whose_log_was_swapped_halts_with_the_next_append(
    subject: Subject,
) {
    let store = &*subject.store;
    install(store).await.unwrap();
    let mut head = 0;
    // The event at its checkpoint is another one, and then the log ends before it.
    for ahead in [0, 1, 2, 3] {
        store.append(any("thing-1", 2)).await.unwrap();
        head += 2;
        let before = rows(store).await;
        move_to_another_log(store, head + ahead).await;
        store.append(any("thing-2", 1)).await.expect("others go on");
        head += 1;
        assert_diverged(store, head - 1 + ahead).await;
        assert_eq!(rows(store).await, before);
        rebuild(store).await;
        assert_tallied(store).await;
    }
    store.append(any("thing-2", 1)).await.unwrap();
    assert_tallied(store).await;
}

async fn rebuild(store: &dyn Store) {
    let tally = Tally::inline();
    let begun = store.begin_rebuild(tally.spec(), "me", Duration::from_secs(600), false, now());
    let rebuild = begun.await.unwrap();
    let request = SwapRequest {
        spec: tally.spec().clone(),
        fence: Fence {
            epoch: rebuild.epoch,
            checkpoint: rebuild.checkpoint.position,
        },
        verify: None,
        now: now(),
    };
    store.swap(request, Arc::new(tally)).await.unwrap();
}
