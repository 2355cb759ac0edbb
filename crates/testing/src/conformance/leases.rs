//! Leases: who runs a projection, judged by the store's clock.

use std::time::Duration;

use annals_core::{
    Claim, Fence, ProjectionState, RebuildError, Store, StoreErrorKind, SwapRequest, Target,
};

use super::{
    Subject,
    check::eventually,
    projections::{failure, fence_of},
    sample::*,
    table::*,
    tally::Tally,
};

const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(200);

async fn claim(store: &dyn Store, owner: &str, term: Duration) -> Claim {
    store.claim("counts", owner, term).await.unwrap()
}

/// Claims what must be had, and answers the epoch.
async fn held(store: &dyn Store, owner: &str, term: Duration) -> u64 {
    match claim(store, owner, term).await {
        Claim::Held { epoch } => epoch,
        other => panic!("expected {owner} to get the lease, got {other:?}"),
    }
}

async fn assert_held_by(store: &dyn Store, asking: &str, holder: &str) {
    let owner = holder.to_owned();
    assert_eq!(claim(store, asking, LONG).await, Claim::HeldBy { owner });
}

/// Claims for `owner` until the lease of whoever holds it has run out, and answers the epoch.
async fn held_in_the_end(store: &dyn Store, owner: &str) -> u64 {
    eventually("the lease runs out", async || {
        match claim(store, owner, LONG).await {
            Claim::Held { epoch } => Some(epoch),
            Claim::HeldBy { .. } => None,
        }
    })
    .await
}

async fn until_run_out(store: &dyn Store) {
    eventually("the lease runs out", async || {
        (!record(store, "counts").await.leased).then_some(())
    })
    .await;
}

pub async fn a_new_projection_is_nobodys(subject: Subject) {
    let new = subject.store.register(&counts(), now()).await.unwrap();
    assert_eq!((new.owner, new.leased), (None, false));
}

pub async fn who_claims_a_projection_holds_it_visibly(subject: Subject) {
    let store = &*subject.store;
    let new = store.register(&counts(), now()).await.unwrap();
    let epoch = held(store, "me", LONG).await;
    assert!(epoch > new.epoch, "the holder has changed");
    let standing = record(store, "counts").await;
    assert_eq!(standing.owner.as_deref(), Some("me"));
    assert!(standing.leased);
    assert_eq!(standing.epoch, epoch);
    assert_eq!(
        standing.updated_at, new.updated_at,
        "a claim is no progress"
    );
    store
        .commit(live_step(&standing, 5, upserts(&[("a", 1)])))
        .await
        .unwrap();
    let after = record(store, "counts").await;
    assert_eq!(
        (after.owner, after.leased, after.epoch),
        (standing.owner, true, epoch)
    );
}

pub async fn while_one_holds_a_lease_others_are_told_who(subject: Subject) {
    let store = &*subject.store;
    store.register(&counts(), now()).await.unwrap();
    let epoch = held(store, "me", LONG).await;
    let other = subject.open_again().await;
    assert_held_by(&*other, "another", "me").await;
    assert_held_by(store, "another", "me").await;
    assert_eq!(
        record(&*other, "counts").await.epoch,
        epoch,
        "asking changes nothing"
    );
}

pub async fn of_racing_claims_exactly_one_holds(subject: Subject) {
    let store = &*subject.store;
    store.register(&counts(), now()).await.unwrap();
    let handles = [subject.store.clone(), subject.open_again().await];
    for round in 0..subject.effort.rounds.min(10) {
        let mut racers = tokio::task::JoinSet::new();
        for racer in 0..8 {
            let store = handles[racer % 2].clone();
            racers.spawn(async move {
                let owner = format!("racer {round}.{racer}");
                (claim(&*store, &owner, LONG).await, owner)
            });
        }
        let claims = racers.join_all().await;
        let held: Vec<_> = claims
            .iter()
            .filter(|(claim, _)| matches!(claim, Claim::Held { .. }))
            .collect();
        let [(_, holder)] = held[..] else {
            panic!("exactly one holds the lease: {claims:?}");
        };
        for (claim, _) in &claims {
            if let Claim::HeldBy { owner } = claim {
                assert_eq!(owner, holder, "who lost is told who won");
            }
        }
        store.release("counts", holder).await.unwrap();
    }
}

pub async fn a_renewed_lease_lasts_and_keeps_its_epoch(subject: Subject) {
    let store = &*subject.store;
    store.register(&counts(), now()).await.unwrap();
    let watch = spec_of("watch", WIDE);
    store.register(&watch, now()).await.unwrap();
    let epoch = held(store, "me", SHORT).await;
    let _held = store.claim("watch", "me", SHORT).await.unwrap();
    assert_eq!(held(store, "me", LONG).await, epoch);
    eventually("a lease of the first one's term runs out", async || {
        (!record(store, "watch").await.leased).then_some(())
    })
    .await;
    assert_held_by(store, "another", "me").await;
    assert_eq!(record(store, "counts").await.epoch, epoch);
}

pub async fn a_renewal_can_shorten_a_lease(subject: Subject) {
    let store = &*subject.store;
    store.register(&counts(), now()).await.unwrap();
    held(store, "me", LONG).await;
    held(store, "me", SHORT).await;
    held_in_the_end(store, "another").await;
}

pub async fn who_takes_over_a_lease_that_ran_out_fences_the_last_owner_off(subject: Subject) {
    let store = &*subject.store;
    store.register(&counts(), now()).await.unwrap();
    let old = held(store, "old", SHORT).await;
    let before = record(store, "counts").await;
    let other = subject.open_again().await;
    let new = held_in_the_end(&*other, "new").await;
    assert!(new > old, "another owner gets a new epoch");
    let late = live_step(&before, 5, upserts(&[("late", 1)]));
    assert_fenced(store.commit(late).await);
    let failed = store.record_failure(
        "counts",
        fence_of(&before),
        ProjectionState::Failed,
        failure(1),
    );
    assert_fenced(failed.await);
    let standing = record(store, "counts").await;
    assert_eq!(standing.state, ProjectionState::Running);
    let step = live_step(&standing, 3, upserts(&[("a", 1)]));
    other.commit(step).await.unwrap();
    let rows = all_rows(store, &COUNTS, Target::Live).await;
    assert_eq!(rows, [row("a", 1)]);
}

pub async fn who_lost_a_lease_can_neither_renew_nor_release_it(subject: Subject) {
    let store = &*subject.store;
    store.register(&counts(), now()).await.unwrap();
    held(store, "old", SHORT).await;
    let epoch = held_in_the_end(store, "new").await;
    assert_held_by(store, "old", "new").await;
    store.release("counts", "old").await.unwrap();
    assert_held_by(store, "another", "new").await;
    assert_eq!(record(store, "counts").await.epoch, epoch);
}

pub async fn an_owner_that_is_late_goes_on_while_nobody_came(subject: Subject) {
    let store = &*subject.store;
    store.register(&counts(), now()).await.unwrap();
    let epoch = held(store, "me", SHORT).await;
    until_run_out(store).await;
    let standing = record(store, "counts").await;
    assert_eq!(
        standing.owner.as_deref(),
        Some("me"),
        "it is known who held it last"
    );
    let step = live_step(&standing, 5, upserts(&[("a", 1)]));
    store.commit(step).await.unwrap();
    assert_eq!(held(store, "me", LONG).await, epoch);
    assert_held_by(store, "another", "me").await;
}

pub async fn a_released_lease_is_had_at_once(subject: Subject) {
    let store = &*subject.store;
    store.register(&counts(), now()).await.unwrap();
    let first = held(store, "first", LONG).await;
    let before = record(store, "counts").await;
    store.release("counts", "first").await.unwrap();
    let released = record(store, "counts").await;
    assert_eq!(released.owner.as_deref(), Some("first"));
    assert!(!released.leased);
    let other = subject.open_again().await;
    let second = held(&*other, "second", LONG).await;
    assert!(second > first);
    let late = live_step(&before, 5, upserts(&[("late", 1)]));
    assert_fenced(store.commit(late).await);
}

pub async fn an_owner_that_released_and_comes_back_keeps_its_epoch(subject: Subject) {
    let store = &*subject.store;
    store.register(&counts(), now()).await.unwrap();
    let first = held(store, "me", LONG).await;
    store.release("counts", "me").await.unwrap();
    assert_eq!(held(store, "me", LONG).await, first, "nobody came between");
    store.release("counts", "me").await.unwrap();
    let second = held(store, "another", LONG).await;
    store.release("counts", "another").await.unwrap();
    let third = held(store, "me", LONG).await;
    assert!(
        first < second && second < third,
        "{first}, {second}, {third}"
    );
}

pub async fn an_unknown_projection_has_no_lease(subject: Subject) {
    let store = &*subject.store;
    let error = store.claim("nobody", "me", LONG).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::NotFound, "{error:?}");
    assert!(error.to_string().contains("nobody"), "{error}");
    store.release("nobody", "me").await.unwrap();
}

pub async fn each_projection_has_a_lease_of_its_own(subject: Subject) {
    let store = &*subject.store;
    store.register(&counts(), now()).await.unwrap();
    store.register(&spec_of("wide", WIDE), now()).await.unwrap();
    held(store, "me", LONG).await;
    let other = store.claim("wide", "another", LONG).await.unwrap();
    assert!(matches!(other, Claim::Held { .. }), "{other:?}");
    assert_held_by(store, "another", "me").await;
}

pub async fn an_operator_leaves_the_lease_to_its_owner(subject: Subject) {
    let store = &*subject.store;
    store.register(&counts(), now()).await.unwrap();
    let first = held(store, "me", LONG).await;
    for state in [ProjectionState::Paused, ProjectionState::Running] {
        store.set_state("counts", state, now()).await.unwrap();
        assert_held_by(store, "another", "me").await;
    }
    let epoch = held(store, "me", LONG).await;
    assert!(epoch > first, "its owner notices that somebody interfered");
    assert_eq!(epoch, record(store, "counts").await.epoch);
}

pub async fn a_rebuild_by_somebody_else_leaves_the_lease_to_its_owner(subject: Subject) {
    let store = &*subject.store;
    store.register(&counts(), now()).await.unwrap();
    held(store, "me", LONG).await;
    let spec = counts();
    let begun = store.begin_rebuild(&spec, "another", LONG, false, now());
    let rebuild = begun.await.unwrap();
    assert_held_by(store, "another", "me").await;
    let request = SwapRequest {
        spec,
        fence: Fence {
            epoch: rebuild.epoch,
            checkpoint: rebuild.checkpoint.position,
        },
        verify: None,
        now: now(),
    };
    let tally = std::sync::Arc::new(Tally::followed());
    let swapped: Result<_, RebuildError> = store.swap(request, tally).await;
    swapped.unwrap();
    assert_held_by(store, "another", "me").await;
    let epoch = held(store, "me", LONG).await;
    assert_eq!(epoch, record(store, "counts").await.epoch);
}

pub async fn a_projection_registered_again_stays_leased(subject: Subject) {
    let store = &*subject.store;
    store.register(&counts(), now()).await.unwrap();
    let epoch = held(store, "me", LONG).await;
    let other = subject.open_again().await;
    let again = other.register(&counts(), now()).await.unwrap();
    assert_eq!((again.owner.as_deref(), again.leased), (Some("me"), true));
    assert_eq!(again.epoch, epoch, "the owner is not disturbed");
}

pub async fn a_lease_outlives_the_handle_it_was_taken_with(subject: Subject) {
    let store = &*subject.store;
    store.register(&counts(), now()).await.unwrap();
    held(store, "me", LONG).await;
    if subject.reopens {
        store.close().await;
    }
    let again = subject.open_again().await;
    assert_held_by(&*again, "another", "me").await;
}
