//! Records, checkpoints, fences, failures and parked events of projections.

use annals_core::{
    Changes, Checkpoint, EventId, Failure, Fence, ParkedEvent, Position, ProjectionSpec,
    ProjectionState, Target,
};

use super::{Subject, sample::*, table::*};

pub(super) fn fence_of(record: &annals_core::ProjectionRecord) -> Fence {
    Fence {
        epoch: record.epoch,
        checkpoint: record.checkpoint.position,
    }
}

pub(super) fn failure(at: u64) -> Failure {
    Failure {
        position: position(at),
        event_type: "thing.done".to_owned(),
        stream: "thing-1".to_owned(),
        message: "the balance 'overflows' \"badly\"".to_owned(),
        since: now(),
    }
}

fn parked(name: &str, at: u64) -> ParkedEvent {
    ParkedEvent {
        stream: stream(name),
        position: position(at),
        message: format!("{name} failed"),
        since: now(),
    }
}

pub async fn a_new_projection_runs_from_the_start(subject: Subject) {
    let store = &*subject.store;
    assert_eq!(store.projection("counts").await.unwrap(), None);
    let record = store.register(&counts(), now()).await.unwrap();
    assert_eq!(record.name, "counts");
    assert_eq!(record.state, ProjectionState::Running);
    assert_eq!(record.checkpoint, Checkpoint::default());
    assert_eq!(record.fingerprint, "first");
    assert!(!record.inline);
    assert_eq!(
        (record.failure.clone(), record.rebuild.clone()),
        (None, None)
    );
    assert_eq!((record.parked, record.retry_parked), (0, false));
    assert_eq!(store.projection("counts").await.unwrap(), Some(record));
    assert_eq!(all_rows(store, &COUNTS, Target::Live).await, [[]; 0]);
}

pub async fn a_projection_registered_again_goes_on_where_it_was(subject: Subject) {
    let store = &*subject.store;
    let new = store.register(&counts(), now()).await.unwrap();
    let step = live_step(&new, 5, upserts(&[("a", 1)]));
    store.commit(step).await.unwrap();
    let before = record(store, "counts").await;
    let other = subject.open_again().await;
    let again = other.register(&counts(), now()).await.unwrap();
    assert_eq!(again.checkpoint, before.checkpoint);
    assert_eq!(again.state, ProjectionState::Running);
    assert_eq!(
        all_rows(&*other, &COUNTS, Target::Live).await,
        [row("a", 1)]
    );
    let step = live_step(&again, 6, upserts(&[("b", 1)]));
    other.commit(step).await.unwrap();
}

pub async fn a_stopped_projection_registered_again_stays_stopped(subject: Subject) {
    let store = &*subject.store;
    store.register(&counts(), now()).await.unwrap();
    store
        .set_state("counts", ProjectionState::Paused, now())
        .await
        .unwrap();
    let again = store.register(&counts(), now()).await.unwrap();
    assert_eq!(again.state, ProjectionState::Paused);
}

pub async fn projections_are_listed_by_name(subject: Subject) {
    let store = &*subject.store;
    assert_eq!(store.projections().await.unwrap(), []);
    let wide = spec_of("a wide one", WIDE);
    let tableless = ProjectionSpec {
        table: None,
        ..spec_of("z", COUNTS)
    };
    for spec in [&tableless, &counts(), &wide] {
        store.register(spec, now()).await.unwrap();
    }
    let all = store.projections().await.unwrap();
    let names: Vec<_> = all.iter().map(|record| record.name.as_str()).collect();
    assert_eq!(names, ["a wide one", "counts", "z"]);
    for record in all {
        assert_eq!(store.projection(&record.name).await.unwrap(), Some(record));
    }
}

pub async fn other_code_makes_a_projection_outdated_and_its_own_runs_it_again(subject: Subject) {
    let store = &*subject.store;
    let new = store.register(&counts(), now()).await.unwrap();
    store
        .commit(live_step(&new, 3, upserts(&[("a", 1)])))
        .await
        .unwrap();
    let changed = ProjectionSpec {
        fingerprint: "second".to_owned(),
        ..counts()
    };
    let outdated = store.register(&changed, now()).await.unwrap();
    assert_eq!(outdated.state, ProjectionState::Outdated);
    assert_eq!(
        outdated.fingerprint, "first",
        "its rows are of the old code"
    );
    assert_eq!(outdated.checkpoint, at(3));
    assert_eq!(all_rows(store, &COUNTS, Target::Live).await, [row("a", 1)]);
    assert_fenced(store.commit(live_step(&outdated, 4, upserts(&[]))).await);
    let back = store.register(&counts(), now()).await.unwrap();
    assert_eq!(back.state, ProjectionState::Running);
    store
        .commit(live_step(&back, 4, upserts(&[])))
        .await
        .unwrap();
}

pub async fn a_table_that_belongs_to_another_projection_is_refused(subject: Subject) {
    let store = &*subject.store;
    store.register(&counts(), now()).await.unwrap();
    let thief = spec_of("thief", COUNTS);
    assert!(store.register(&thief, now()).await.is_err());
    assert_eq!(store.projection("thief").await.unwrap(), None);
}

pub async fn rows_and_checkpoint_are_committed_together(subject: Subject) {
    let store = &*subject.store;
    let new = store.register(&counts(), now()).await.unwrap();
    let mut step = live_step(&new, 7, upserts(&[("a", 1), ("b", 2)]));
    step.checkpoint.event_id = Some(EventId::new(uuid()));
    store.commit(step.clone()).await.unwrap();
    let committed = record(store, "counts").await;
    assert_eq!(committed.checkpoint, step.checkpoint);
    assert_eq!(committed.updated_at, step.now);
    let expected = [row("a", 1), row("b", 2)];
    assert_eq!(all_rows(store, &COUNTS, Target::Live).await, expected);
}

pub async fn a_step_replaces_and_deletes_rows(subject: Subject) {
    let store = &*subject.store;
    let new = store.register(&counts(), now()).await.unwrap();
    let first = upserts(&[("a", 1), ("b", 2), ("c", 3)]);
    store.commit(live_step(&new, 1, first)).await.unwrap();
    let changes = Changes {
        deletes: vec![vec![text("a")], vec![text("never there")]],
        ..upserts(&[("b", 20), ("d", 4)])
    };
    let standing = record(store, "counts").await;
    store
        .commit(live_step(&standing, 2, changes))
        .await
        .unwrap();
    let expected = [row("b", 20), row("c", 3), row("d", 4)];
    assert_eq!(all_rows(store, &COUNTS, Target::Live).await, expected);
}

pub async fn a_step_without_rows_moves_the_checkpoint(subject: Subject) {
    let store = &*subject.store;
    let new = store.register(&counts(), now()).await.unwrap();
    let mut step = live_step(&new, 9, Changes::default());
    step.rows = None;
    store.commit(step).await.unwrap();
    assert_eq!(record(store, "counts").await.checkpoint, at(9));
}

pub async fn a_step_from_another_checkpoint_writes_nothing(subject: Subject) {
    let store = &*subject.store;
    let new = store.register(&counts(), now()).await.unwrap();
    let first = live_step(&new, 5, upserts(&[("a", 1)]));
    store.commit(first.clone()).await.unwrap();
    assert_fenced(store.commit(first).await);
    let mut late = live_step(&new, 6, upserts(&[("a", 100), ("x", 1)]));
    late.park = vec![parked("thing-1", 6)];
    assert_fenced(store.commit(late).await);
    assert_eq!(record(store, "counts").await.checkpoint, at(5));
    assert_eq!(all_rows(store, &COUNTS, Target::Live).await, [row("a", 1)]);
    assert_eq!(store.parked("counts", Target::Live).await.unwrap(), []);
}

pub async fn a_step_from_another_epoch_writes_nothing(subject: Subject) {
    let store = &*subject.store;
    let new = store.register(&counts(), now()).await.unwrap();
    let mut step = live_step(&new, 5, upserts(&[("a", 1)]));
    step.fence.epoch += 1;
    assert_fenced(store.commit(step).await);
    let mut unknown = live_step(&new, 5, upserts(&[("a", 1)]));
    unknown.projection = "unknown".to_owned();
    assert!(store.commit(unknown).await.is_err());
    assert_eq!(record(store, "counts").await.checkpoint, at(0));
    assert_eq!(all_rows(store, &COUNTS, Target::Live).await, [[]; 0]);
}

pub async fn of_racing_steps_from_one_checkpoint_exactly_one_commits(subject: Subject) {
    let handles = [subject.store.clone(), subject.open_again().await];
    let mut standing = handles[0].register(&counts(), now()).await.unwrap();
    for round in 1..=10 {
        let mut racers = tokio::task::JoinSet::new();
        for racer in 0..8_i64 {
            let name = format!("racer-{racer}");
            let step = live_step(&standing, round, upserts(&[(&name, racer)]));
            let store = handles[usize::try_from(racer % 2).unwrap()].clone();
            racers.spawn(async move { store.commit(step).await });
        }
        let results = racers.join_all().await;
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
        results
            .into_iter()
            .filter(Result::is_err)
            .for_each(assert_fenced);
        standing = record(&*handles[0], "counts").await;
        assert_eq!(standing.checkpoint, at(round));
    }
}

pub async fn a_paused_projection_commits_nothing_until_it_runs_again(subject: Subject) {
    let store = &*subject.store;
    let new = store.register(&counts(), now()).await.unwrap();
    let paused = store.set_state("counts", ProjectionState::Paused, now());
    let paused = paused.await.unwrap().expect("it is there");
    assert_eq!(paused.state, ProjectionState::Paused);
    assert!(paused.epoch > new.epoch, "whoever is at work notices");
    assert_fenced(store.commit(live_step(&new, 1, upserts(&[("a", 1)]))).await);
    assert_fenced(
        store
            .commit(live_step(&paused, 1, upserts(&[("a", 1)])))
            .await,
    );
    let running = store.set_state("counts", ProjectionState::Running, now());
    let running = running.await.unwrap().expect("it is there");
    assert!(running.epoch > paused.epoch);
    store
        .commit(live_step(&running, 1, upserts(&[("a", 1)])))
        .await
        .unwrap();
}

pub async fn the_state_of_an_unknown_projection_is_not_set(subject: Subject) {
    let answer = subject
        .store
        .set_state("unknown", ProjectionState::Paused, now());
    assert_eq!(answer.await.unwrap(), None);
}

pub async fn a_failure_stops_the_projection_and_is_visible(subject: Subject) {
    let store = &*subject.store;
    let new = store.register(&counts(), now()).await.unwrap();
    for state in [ProjectionState::Failed, ProjectionState::Diverged] {
        let failure = failure(3);
        let standing = record(store, "counts").await;
        let recorded = store.record_failure("counts", fence_of(&standing), state, failure.clone());
        recorded.await.unwrap();
        let failed = record(store, "counts").await;
        assert_eq!(failed.state, state);
        assert_eq!(failed.failure, Some(failure));
        assert_eq!(failed.checkpoint, new.checkpoint);
        assert_fenced(store.commit(live_step(&failed, 4, upserts(&[]))).await);
        let retried = store.set_state("counts", ProjectionState::Running, now());
        let retried = retried.await.unwrap().expect("it is there");
        assert_eq!(retried.state, ProjectionState::Running);
        assert_eq!(retried.failure, None, "a retry clears the failure");
    }
}

pub async fn a_failure_of_somebody_who_was_overtaken_is_not_recorded(subject: Subject) {
    let store = &*subject.store;
    let new = store.register(&counts(), now()).await.unwrap();
    store
        .commit(live_step(&new, 5, upserts(&[])))
        .await
        .unwrap();
    let late = store.record_failure(
        "counts",
        fence_of(&new),
        ProjectionState::Failed,
        failure(1),
    );
    assert_fenced(late.await);
    let standing = record(store, "counts").await;
    assert_eq!(standing.state, ProjectionState::Running);
    assert_eq!(standing.failure, None);
}

pub async fn parked_events_come_back_by_position(subject: Subject) {
    let store = &*subject.store;
    let new = store.register(&counts(), now()).await.unwrap();
    let all = [
        parked("thing-1", 3),
        parked("thing-'2'", 5),
        parked("thing-1", 8),
    ];
    let mut step = live_step(&new, 8, upserts(&[]));
    step.park = vec![all[2].clone(), all[0].clone(), all[1].clone()];
    store.commit(step).await.unwrap();
    assert_eq!(store.parked("counts", Target::Live).await.unwrap(), all);
    assert_eq!(store.parked("counts", Target::Rebuild).await.unwrap(), []);
    assert_eq!(record(store, "counts").await.parked, 3);
}

pub async fn parked_events_are_retried_on_wish_and_unparked_with_a_step(subject: Subject) {
    let store = &*subject.store;
    let new = store.register(&counts(), now()).await.unwrap();
    let mut step = live_step(&new, 8, upserts(&[]));
    step.park = vec![parked("thing-1", 3), parked("thing-1", 8)];
    store.commit(step).await.unwrap();
    assert!(!record(store, "counts").await.retry_parked);
    let retry = store.set_state("counts", ProjectionState::Running, now());
    let retry = retry.await.unwrap().expect("it is there");
    assert!(retry.retry_parked);
    let mut step = live_step(&retry, 8, upserts(&[("a", 1)]));
    step.unpark = vec![position(3)];
    store.commit(step).await.unwrap();
    // Whoever comes late, after the wish was made once more, does not fulfil it.
    store.retried_parked("counts", new.epoch).await.unwrap();
    assert!(record(store, "counts").await.retry_parked);
    store.retried_parked("counts", retry.epoch).await.unwrap();
    let after = record(store, "counts").await;
    assert_eq!((after.parked, after.retry_parked), (1, false));
    let left = store.parked("counts", Target::Live).await.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].position, Position::new(8));
}
