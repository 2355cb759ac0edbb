//! Rebuilds: leases, resumption, and a table beside the live one.

use std::time::Duration;

use annals_core::{
    CommitError, ParkedEvent, ProjectionSpec, ProjectionState, RebuildError, RebuildRecord, Store,
    Target,
};

use super::{Subject, check::eventually, sample::*, table::*};

const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(200);

async fn begin(
    store: &dyn Store,
    owner: &str,
    lease: Duration,
) -> Result<RebuildRecord, RebuildError> {
    store
        .begin_rebuild(&counts(), owner, lease, false, now())
        .await
}

#[track_caller]
fn assert_taken_over<T: std::fmt::Debug>(result: Result<T, RebuildError>) {
    assert!(
        matches!(result, Err(RebuildError::Fenced { .. })),
        "expected the rebuild to be taken over, got {result:?}"
    );
}

/// A registered projection with two live rows at position 5.
pub(super) async fn live(store: &dyn Store) {
    let new = store.register(&counts(), now()).await.unwrap();
    let step = live_step(&new, 5, upserts(&[("a", 1), ("b", 2)]));
    store.commit(step).await.unwrap();
}

/// A rebuild with one row at position 3, whose owner's lease runs out at once.
async fn left_behind(store: &dyn Store) -> RebuildRecord {
    live(store).await;
    let rebuild = begin(store, "old", SHORT).await.unwrap();
    let step = rebuild_step("counts", &rebuild, 3, upserts(&[("a", 7)]));
    store.commit(step).await.unwrap();
    eventually("the lease runs out", async || {
        let record = record(store, "counts").await;
        let rebuild = record.rebuild.expect("the rebuild is still there");
        (!rebuild.leased).then_some(())
    })
    .await;
    rebuild
}

async fn rebuilt_rows(store: &dyn Store) -> Vec<annals_core::Row> {
    all_rows(store, &COUNTS, Target::Rebuild).await
}

pub async fn a_rebuild_of_an_unknown_projection_is_refused(subject: Subject) {
    let refused = begin(&*subject.store, "me", LONG).await;
    assert!(
        matches!(refused, Err(RebuildError::NoSuchProjection { .. })),
        "{refused:?}"
    );
}

pub async fn a_rebuild_begins_empty_at_the_start_and_is_visible(subject: Subject) {
    let store = &*subject.store;
    live(store).await;
    let rebuild = begin(store, "me", LONG).await.unwrap();
    assert_eq!(rebuild.owner, "me");
    assert_eq!(rebuild.checkpoint, at(0));
    assert!(rebuild.leased);
    assert!(!rebuild.resumed);
    assert_eq!(record(store, "counts").await.rebuild, Some(rebuild));
    assert_eq!(rebuilt_rows(store).await, [[]; 0]);
}

pub async fn a_rebuild_leaves_the_live_table_alone(subject: Subject) {
    let store = &*subject.store;
    live(store).await;
    let rebuild = begin(store, "me", LONG).await.unwrap();
    let step = rebuild_step("counts", &rebuild, 3, upserts(&[("a", 7), ("z", 1)]));
    store.commit(step).await.unwrap();
    let expected = [row("a", 1), row("b", 2)];
    assert_eq!(all_rows(store, &COUNTS, Target::Live).await, expected);
    assert_eq!(rebuilt_rows(store).await, [row("a", 7), row("z", 1)]);
    let standing = record(store, "counts").await;
    assert_eq!(standing.checkpoint, at(5));
    assert_eq!(standing.state, ProjectionState::Running);
    assert_eq!(standing.rebuild.as_ref().unwrap().checkpoint, at(3));
    let step = live_step(&standing, 6, upserts(&[("b", 3)]));
    store.commit(step).await.unwrap();
    assert_eq!(rebuilt_rows(store).await, [row("a", 7), row("z", 1)]);
}

pub async fn a_rebuild_goes_on_while_the_projection_is_stopped(subject: Subject) {
    let store = &*subject.store;
    live(store).await;
    store
        .set_state("counts", ProjectionState::Paused, now())
        .await
        .unwrap();
    let rebuild = begin(store, "me", LONG).await.unwrap();
    let step = rebuild_step("counts", &rebuild, 3, upserts(&[("a", 7)]));
    store.commit(step).await.unwrap();
}

pub async fn events_parked_by_a_rebuild_are_its_own(subject: Subject) {
    let store = &*subject.store;
    live(store).await;
    let rebuild = begin(store, "me", LONG).await.unwrap();
    let mut step = rebuild_step("counts", &rebuild, 3, upserts(&[]));
    let parked = ParkedEvent {
        stream: stream("thing-1"),
        position: position(2),
        message: "no".to_owned(),
        since: now(),
    };
    step.park = vec![parked.clone()];
    store.commit(step).await.unwrap();
    assert_eq!(store.parked("counts", Target::Live).await.unwrap(), []);
    assert_eq!(
        store.parked("counts", Target::Rebuild).await.unwrap(),
        [parked]
    );
    assert_eq!(record(store, "counts").await.parked, 0);
}

pub async fn a_rebuild_step_from_another_checkpoint_writes_nothing(subject: Subject) {
    let store = &*subject.store;
    live(store).await;
    let rebuild = begin(store, "me", LONG).await.unwrap();
    let step = rebuild_step("counts", &rebuild, 3, upserts(&[("a", 7)]));
    store.commit(step.clone()).await.unwrap();
    assert_fenced(store.commit(step).await);
    let mut wrong = rebuild_step("counts", &rebuild, 4, upserts(&[("x", 7)]));
    wrong.fence.checkpoint = position(3);
    wrong.fence.epoch += 1;
    assert_fenced(store.commit(wrong).await);
    assert_eq!(rebuilt_rows(store).await, [row("a", 7)]);
}

pub async fn a_second_rebuild_at_the_same_time_is_refused(subject: Subject) {
    let store = &*subject.store;
    live(store).await;
    let first = begin(store, "first", LONG).await.unwrap();
    let other = subject.open_again().await;
    for restart in [false, true] {
        let spec = counts();
        let second = other.begin_rebuild(&spec, "second", LONG, restart, now());
        match second.await {
            Err(RebuildError::AlreadyRunning { owner, since, .. }) => {
                assert_eq!((owner.as_str(), since), ("first", first.started_at));
            }
            answer => panic!("expected to be refused, got {answer:?}"),
        }
    }
    store
        .renew_rebuild("counts", first.epoch, LONG)
        .await
        .unwrap();
}

pub async fn of_rebuilds_that_begin_at_once_exactly_one_does(subject: Subject) {
    live(&*subject.store).await;
    let handles = [subject.store.clone(), subject.open_again().await];
    let mut racers = tokio::task::JoinSet::new();
    for racer in 0..8 {
        let store = handles[racer % 2].clone();
        racers.spawn(async move { begin(&*store, &format!("racer {racer}"), LONG).await });
    }
    let begun = racers.join_all().await;
    assert_eq!(begun.iter().filter(|result| result.is_ok()).count(), 1);
}

pub async fn a_rebuild_left_behind_is_resumed_where_it_was(subject: Subject) {
    let store = &*subject.store;
    let old = left_behind(store).await;
    let other = subject.open_again().await;
    let resumed = begin(&*other, "new", LONG).await.unwrap();
    assert!(resumed.resumed);
    assert!(resumed.epoch > old.epoch);
    assert_eq!(resumed.owner, "new");
    assert_eq!(resumed.checkpoint, at(3));
    assert_eq!(rebuilt_rows(store).await, [row("a", 7)]);
    let step = rebuild_step("counts", &resumed, 4, upserts(&[("b", 1)]));
    other.commit(step).await.unwrap();
}

pub async fn who_lost_a_rebuild_can_do_nothing_more_to_it(subject: Subject) {
    let store = &*subject.store;
    let mut old = left_behind(store).await;
    let resumed = begin(store, "new", LONG).await.unwrap();
    old.checkpoint = resumed.checkpoint;
    let late = rebuild_step("counts", &old, 4, upserts(&[("late", 1)]));
    assert!(matches!(
        store.commit(late).await,
        Err(CommitError::Fenced { .. })
    ));
    assert_taken_over(store.renew_rebuild("counts", old.epoch, LONG).await);
    assert_taken_over(store.abandon_rebuild("counts", old.epoch, false).await);
    assert_eq!(rebuilt_rows(store).await, [row("a", 7)]);
    assert_eq!(record(store, "counts").await.rebuild, Some(resumed));
}

pub async fn a_rebuild_left_behind_is_thrown_away_when_asked(subject: Subject) {
    let store = &*subject.store;
    let old = left_behind(store).await;
    let fresh = store
        .begin_rebuild(&counts(), "new", LONG, true, now())
        .await
        .unwrap();
    assert!(!fresh.resumed);
    assert!(fresh.epoch > old.epoch);
    assert_eq!(fresh.checkpoint, at(0));
    assert_eq!(rebuilt_rows(store).await, [[]; 0]);
}

pub async fn a_rebuild_left_behind_by_other_code_is_thrown_away(subject: Subject) {
    let store = &*subject.store;
    left_behind(store).await;
    let changed = ProjectionSpec {
        fingerprint: "second".to_owned(),
        ..counts()
    };
    store.register(&changed, now()).await.unwrap();
    let fresh = store
        .begin_rebuild(&changed, "new", LONG, false, now())
        .await
        .unwrap();
    assert!(!fresh.resumed);
    assert_eq!(fresh.checkpoint, at(0));
    assert_eq!(rebuilt_rows(store).await, [[]; 0]);
}

pub async fn a_renewed_lease_lasts(subject: Subject) {
    let store = &*subject.store;
    live(store).await;
    let rebuild = begin(store, "me", SHORT).await.unwrap();
    store
        .renew_rebuild("counts", rebuild.epoch, LONG)
        .await
        .unwrap();
    tokio::time::sleep(SHORT * 2).await; // The first lease must have run out by itself.
    let refused = begin(store, "other", LONG).await;
    assert!(
        matches!(refused, Err(RebuildError::AlreadyRunning { .. })),
        "{refused:?}"
    );
}

pub async fn an_abandoned_rebuild_is_kept_for_another_or_goes(subject: Subject) {
    let store = &*subject.store;
    live(store).await;
    let rebuild = begin(store, "me", LONG).await.unwrap();
    let step = rebuild_step("counts", &rebuild, 3, upserts(&[("a", 7)]));
    store.commit(step).await.unwrap();
    store
        .abandon_rebuild("counts", rebuild.epoch, true)
        .await
        .unwrap();
    let resumed = begin(store, "other", LONG).await.unwrap();
    assert!(resumed.resumed, "nobody need wait for the lease");
    assert_eq!(resumed.checkpoint, at(3));
    store
        .abandon_rebuild("counts", resumed.epoch, false)
        .await
        .unwrap();
    assert_eq!(record(store, "counts").await.rebuild, None);
    let fresh = begin(store, "other", LONG).await.unwrap();
    assert!(!fresh.resumed);
    assert_eq!(fresh.checkpoint, at(0));
    assert_eq!(rebuilt_rows(store).await, [[]; 0]);
}
