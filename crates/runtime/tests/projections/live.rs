//! Live projections.

use std::{collections::HashMap, sync::Arc, time::Duration};

use annals_core::{ProjectionState, ProjectionStore};
use annals_runtime::{Builder, CaughtUpError};

use crate::bank::{self, Audit, Balance, SOON};

#[tokio::test]
async fn a_read_model_shows_an_event_once_it_is_caught_up() {
    let store = bank::store();
    let app = bank::start::<Balance>(&store).await;
    bank::deposit(&store, "alice", 5).await;
    let position = bank::deposit(&store, "alice", 7).await;
    app.caught_up::<Balance>(position).await.unwrap();
    let row = app.row::<Balance>(&"alice".into()).await.unwrap().unwrap();
    assert_eq!((row.balance, row.events, row.last), (12, 2, position));
}

#[tokio::test]
async fn a_row_folded_to_none_goes_and_can_come_back() {
    let store = bank::store();
    let app = bank::start::<Balance>(&store).await;
    bank::deposit(&store, "alice", 5).await;
    let closed = bank::close(&store, "alice").await;
    app.caught_up::<Balance>(closed).await.unwrap();
    assert_eq!(app.row::<Balance>(&"alice".into()).await.unwrap(), None);
    let again = bank::deposit(&store, "alice", 1).await;
    app.caught_up::<Balance>(again).await.unwrap();
    let row = app.row::<Balance>(&"alice".into()).await.unwrap().unwrap();
    assert_eq!(row.balance, 1);
}

#[tokio::test]
async fn an_inline_read_model_never_lags() {
    let store = bank::store();
    bank::deposit(&store, "alice", 1).await;
    let builder = Builder::new(Arc::clone(&store) as _).inline_projection::<Balance>();
    let app = builder.start().await.unwrap();
    bank::deposit(&store, "alice", 5).await;
    let row = app.row::<Balance>(&"alice".into()).await.unwrap().unwrap();
    assert_eq!((row.balance, row.events), (6, 2));
}

#[tokio::test]
async fn an_inline_read_model_takes_in_what_others_appended_without_it() {
    let store = bank::store();
    let builder = Builder::new(Arc::clone(&store) as _).inline_projection::<Balance>();
    let app = builder.start().await.unwrap();
    let set = |state| store.set_state("balance", state, chrono::Utc::now());
    // As long as it is paused, appends do without it, as those of other programs do.
    set(ProjectionState::Paused).await.unwrap();
    let position = bank::deposit(&store, "alice", 5).await;
    set(ProjectionState::Running).await.unwrap();
    app.caught_up_within::<Balance>(position, SOON)
        .await
        .unwrap();
    assert_eq!(bank::balances(&app).await["alice"], (5, 1));
}

#[tokio::test]
async fn a_projection_that_is_far_behind_catches_up() {
    const EVENTS: usize = 30_000;
    let store = bank::store();
    let owners: Vec<String> = (0..100).map(|owner| format!("owner-{owner}")).collect();
    let entries: Vec<_> = (0..EVENTS)
        .map(|n| (owners[n % owners.len()].as_str(), Some(1)))
        .collect();
    for entries in entries.chunks(5_000) {
        bank::append(&store, entries).await;
    }
    let app = bank::start::<Balance>(&store).await;
    let head = (EVENTS as u64).into();
    app.caught_up_within::<Balance>(head, SOON).await.unwrap();
    let expected: HashMap<_, _> = owners
        .into_iter()
        .map(|owner| (owner, (300, 300)))
        .collect();
    assert_eq!(bank::balances(&app).await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_nodes_with_one_projection_count_each_event_once() {
    let store = bank::store();
    let first = bank::start::<Balance>(&store).await;
    let second = bank::start::<Balance>(&store).await;
    let mut head = Default::default();
    for n in 0..2_000 {
        let owner = format!("owner-{}", n % 7);
        head = bank::deposit(&store, &owner, 1).await;
        if n % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
    first.caught_up_within::<Balance>(head, SOON).await.unwrap();
    second
        .caught_up_within::<Balance>(head, SOON)
        .await
        .unwrap();
    let rows = bank::balances(&first).await;
    assert_eq!(rows.values().map(|row| row.0).sum::<i64>(), 2_000);
    assert!(rows.values().all(|row| row.0 == row.1), "{rows:?}");
}

#[tokio::test]
async fn when_one_node_ends_another_goes_on() {
    let store = bank::store();
    let first = bank::start::<Balance>(&store).await;
    let second = bank::start::<Balance>(&store).await;
    let position = bank::deposit(&store, "alice", 1).await;
    first.caught_up::<Balance>(position).await.unwrap();
    first.projections().shutdown().await;
    assert!(
        first
            .projections()
            .health()
            .iter()
            .all(|health| !health.alive)
    );
    let position = bank::deposit(&store, "alice", 1).await;
    second.caught_up::<Balance>(position).await.unwrap();
}

#[tokio::test]
async fn an_application_that_is_dropped_without_a_shutdown_leaves_nothing_running() {
    let store = bank::store();
    let app = bank::start::<Balance>(&store).await;
    let position = bank::deposit(&store, "alice", 1).await;
    app.caught_up::<Balance>(position).await.unwrap();
    drop(app);
    let ended = async {
        while Arc::strong_count(&store) > 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, ended).await.unwrap();
}

#[tokio::test]
async fn two_projections_share_one_decode() {
    const AMOUNT: i64 = 7_777_001;
    let store = bank::store();
    let builder = Builder::new(Arc::clone(&store) as _);
    let builder = builder.projection::<Balance>().projection::<Audit>();
    let app = builder.start().await.unwrap();
    let position = bank::deposit(&store, "alice", AMOUNT).await;
    app.caught_up::<Balance>(position).await.unwrap();
    app.caught_up::<Audit>(position).await.unwrap();
    assert_eq!(bank::times_decoded(AMOUNT), 1);
}

#[tokio::test]
async fn a_paused_projection_says_so_and_goes_on_when_it_is_resumed() {
    let store = bank::store();
    let app = bank::start::<Balance>(&store).await;
    let now = chrono::Utc::now();
    let set = |state| store.set_state("balance", state, now);
    set(ProjectionState::Paused).await.unwrap();
    let position = bank::deposit(&store, "alice", 5).await;
    let refused = app.caught_up::<Balance>(position).await.unwrap_err();
    assert!(matches!(refused, CaughtUpError::Paused { .. }), "{refused}");
    set(ProjectionState::Running).await.unwrap();
    app.caught_up::<Balance>(position).await.unwrap();
}

#[tokio::test]
async fn waiting_for_what_does_not_come_ends_in_time() {
    let store = bank::store();
    let app = bank::start::<Balance>(&store).await;
    let reached = bank::deposit(&store, "alice", 5).await;
    app.caught_up::<Balance>(reached).await.unwrap();
    let wait = app.caught_up_within::<Balance>(reached.next(), Duration::from_millis(30));
    match wait.await.unwrap_err() {
        CaughtUpError::TimedOut {
            reached: at,
            wanted,
            ..
        } => assert_eq!((at, wanted), (reached, reached.next())),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn waiting_for_an_unregistered_projection_is_refused() {
    let store = bank::store();
    let app = bank::start::<Balance>(&store).await;
    let refused = app.caught_up::<Audit>(1.into()).await.unwrap_err();
    assert!(matches!(refused, CaughtUpError::NotRegistered { .. }));
}

#[tokio::test]
async fn a_tool_beside_a_server_waits_by_the_stored_record() {
    let store = bank::store();
    let server = bank::start::<Balance>(&store).await;
    let builder = Builder::new(Arc::clone(&store) as _).projection::<Balance>();
    let tool = builder.connect().await.unwrap();
    assert!(tool.projections().health().is_empty());
    let position = bank::deposit(&store, "alice", 5).await;
    tool.caught_up::<Balance>(position).await.unwrap();
    server.shutdown().await;
}

#[tokio::test]
async fn one_can_wait_for_a_read_model_without_end() {
    let store = bank::store();
    let app = bank::start::<Balance>(&store).await;
    let position = bank::deposit(&store, "alice", 5).await;
    let for_ever = app.caught_up_within::<Balance>(position, Duration::MAX);
    for_ever.await.unwrap();
    assert_eq!(bank::balances(&app).await["alice"], (5, 1));
}
