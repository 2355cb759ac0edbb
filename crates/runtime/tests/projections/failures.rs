//! Projections that can't go on.

use std::sync::Arc;

use annals_core::{
    Checkpoint, Commit, Failure, Fence, MemoryStore, Position, ProjectionState, ProjectionStore,
    Target,
};
use annals_runtime::{App, CaughtUpError};

use crate::bank::{self, Balance, CURSED, Fault, Gate, Lenient, SOON};

async fn resume(store: &MemoryStore, projection: &str) {
    let running = ProjectionState::Running;
    let set = store.set_state(projection, running, chrono::Utc::now());
    set.await.unwrap().unwrap();
}

async fn failure(app: &App, position: Position) -> Failure {
    match app.caught_up_within::<Balance>(position, SOON).await {
        Err(CaughtUpError::Failed { failure, .. }) => *failure,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_failing_event_stops_the_projection_right_before_it_until_a_retry() {
    let store = bank::store();
    bank::plant("stop", Fault::Fail);
    let before = bank::append(&store, &[("alice", Some(1)), ("bob", Some(2))]).await;
    let failing = bank::deposit(&store, "stop", 4).await;
    let head = bank::deposit(&store, "alice", 8).await;

    let app = bank::start::<Balance>(&store).await;
    let failure = failure(&app, head).await;
    assert_eq!(failure.position, failing);
    assert_eq!(failure.message, "a planted fault");
    let record = bank::record::<Balance>(&store).await;
    assert_eq!(record.state, ProjectionState::Failed);
    assert_eq!(record.checkpoint.position, before);
    let rows = bank::balances(&app).await;
    assert_eq!((rows["alice"], rows["bob"]), ((1, 1), (2, 1)));

    bank::heal("stop");
    resume(&store, "balance").await;
    app.caught_up_within::<Balance>(head, SOON).await.unwrap();
    let rows = bank::balances(&app).await;
    assert_eq!((rows["alice"], rows["stop"]), ((9, 2), (4, 1)));
}

#[tokio::test]
async fn a_retry_that_fails_again_stops_again() {
    let store = bank::store();
    bank::plant("again", Fault::Fail);
    let app = bank::start::<Balance>(&store).await;
    let failing = bank::deposit(&store, "again", 4).await;
    let first = failure(&app, failing).await;
    resume(&store, "balance").await;
    bank::until::<Balance>(&store, |record| {
        let failure = record.failure.as_ref();
        failure.is_some_and(|failure| failure.since > first.since)
    })
    .await;
}

#[tokio::test]
async fn parking_puts_aside_the_later_events_of_the_same_stream_and_no_others() {
    let store = bank::store();
    bank::plant("park", Fault::Fail);
    let app = bank::start::<Lenient>(&store).await;
    bank::deposit(&store, "alice", 1).await;
    let first = bank::deposit(&store, "park", 2).await;
    let after = bank::deposit(&store, "alice", 4).await;
    app.caught_up_within::<Lenient>(after, SOON).await.unwrap();
    bank::heal("park");
    let second = bank::deposit(&store, "park", 8).await;
    let head = bank::deposit(&store, "alice", 16).await;
    app.caught_up_within::<Lenient>(head, SOON).await.unwrap();

    let parked = store.parked("lenient", Target::Live).await.unwrap();
    let positions: Vec<_> = parked.iter().map(|event| event.position).collect();
    assert_eq!(positions, [first, second]);
    assert_eq!(parked[0].message, "a planted fault");
    let alice = app.row::<Lenient>(&"alice".into()).await.unwrap().unwrap();
    assert_eq!((alice.balance, alice.events), (21, 3));
}

#[tokio::test]
async fn parked_events_are_retried_in_order() {
    let store = bank::store();
    bank::plant("retry", Fault::Fail);
    let entries: Vec<_> = (1..=50).map(|amount| ("retry", Some(amount))).collect();
    bank::append(&store, &entries).await;
    let head = bank::deposit(&store, "alice", 1).await;
    let app = bank::start::<Lenient>(&store).await;
    app.caught_up_within::<Lenient>(head, SOON).await.unwrap();
    let record = bank::record::<Lenient>(&store).await;
    assert_eq!(
        (record.state, record.parked),
        (ProjectionState::Running, 50)
    );
    assert_eq!(app.row::<Lenient>(&"retry".into()).await.unwrap(), None);

    resume(&store, "lenient").await; // fails again: they stay
    bank::until::<Lenient>(&store, |record| !record.retry_parked).await;
    assert_eq!(bank::record::<Lenient>(&store).await.parked, 50);

    bank::heal("retry");
    resume(&store, "lenient").await;
    bank::until::<Lenient>(&store, |record| record.parked == 0).await;
    // `fold` itself refuses events that come out of order.
    let row = app.row::<Lenient>(&"retry".into()).await.unwrap().unwrap();
    assert_eq!((row.balance, row.events), (50 * 51 / 2, 50));
    let next = bank::deposit(&store, "retry", 1).await;
    app.caught_up_within::<Lenient>(next, SOON).await.unwrap();
    let row = app.row::<Lenient>(&"retry".into()).await.unwrap().unwrap();
    assert_eq!(row.events, 51);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_retry_that_a_shutdown_cuts_short_goes_on_at_the_next_start() {
    let store = bank::store();
    bank::plant("cut", Fault::Fail);
    bank::plant("short", Fault::Fail);
    bank::deposit(&store, "cut", 1).await;
    let head = bank::deposit(&store, "short", 1).await;
    let app = bank::start::<Lenient>(&store).await;
    app.caught_up_within::<Lenient>(head, SOON).await.unwrap();

    let gate = Arc::new(Gate::default());
    bank::plant("cut", Fault::Gate(Arc::clone(&gate)));
    bank::heal("short");
    resume(&store, "lenient").await;
    gate.reached.notified().await;
    let shutdown = tokio::spawn({
        let app = app.clone();
        async move { app.projections().shutdown().await }
    });
    bank::until::<Lenient>(&store, |_| app.projections().is_stopping()).await;
    gate.open();
    shutdown.await.unwrap();
    assert_eq!(bank::record::<Lenient>(&store).await.parked, 1);

    let _next = bank::start::<Lenient>(&store).await;
    bank::until::<Lenient>(&store, |record| record.parked == 0).await;
}

#[tokio::test]
async fn a_panic_in_fold_is_a_visible_failure_of_that_event() {
    let store = bank::store();
    bank::plant("panic", Fault::Panic);
    let app = bank::start::<Balance>(&store).await;
    bank::deposit(&store, "alice", 1).await;
    let failing = bank::deposit(&store, "panic", 1).await;
    let failure = failure(&app, failing).await;
    assert_eq!(failure.position, failing);
    assert_eq!(failure.message, "the code panicked: a planted panic");
    let health = app.projections().health();
    assert!(health[0].alive, "{health:?}");
}

#[tokio::test]
async fn a_panic_in_decoding_is_a_visible_failure() {
    let store = bank::store();
    let app = bank::start::<Balance>(&store).await;
    let cursed = bank::deposit(&store, "alice", CURSED).await;
    let failure = failure(&app, cursed).await;
    assert!(failure.message.contains("a cursed amount"), "{failure:?}");
}

#[tokio::test]
async fn a_row_under_another_key_is_refused() {
    let store = bank::store();
    bank::plant("key", Fault::WrongKey);
    let app = bank::start::<Balance>(&store).await;
    let failing = bank::deposit(&store, "key", 1).await;
    let failure = failure(&app, failing).await;
    assert_eq!(
        failure.message,
        r#"`fold` made a row with key "key!" for key "key""#
    );
}

/// Pretends that the projection has read another log.
async fn move_checkpoint(store: &MemoryStore, checkpoint: Checkpoint) {
    let record = bank::record::<Balance>(store).await;
    let commit = Commit {
        projection: record.name,
        target: Target::Live,
        fence: Fence {
            epoch: record.epoch,
            checkpoint: record.checkpoint.position,
        },
        rows: None,
        checkpoint,
        park: Vec::new(),
        unpark: Vec::new(),
        now: chrono::Utc::now(),
    };
    store.commit(commit).await.unwrap();
}

#[tokio::test]
async fn a_log_without_the_checkpoints_event_halts_the_projection_as_diverged() {
    let lost = [
        ("another event stands there", Position::new(1)),
        ("the log ends before it", Position::new(9)),
    ];
    for (why, position) in lost {
        let store = bank::store();
        let app = bank::start::<Balance>(&store).await;
        app.projections().shutdown().await;
        let head = bank::deposit(&store, "alice", 1).await;
        let event_id = Some(bank::event_id());
        move_checkpoint(&store, Checkpoint { position, event_id }).await;

        let app = bank::start::<Balance>(&store).await;
        bank::until::<Balance>(&store, |record| record.state == ProjectionState::Diverged).await;
        let refused = app.caught_up::<Balance>(head).await.unwrap_err();
        assert!(
            matches!(refused, CaughtUpError::Diverged { .. }),
            "{why}: {refused}"
        );
        let failure = bank::record::<Balance>(&store).await.failure.unwrap();
        assert!(failure.message.contains("rebuild `balance`"), "{failure:?}");
    }
}
