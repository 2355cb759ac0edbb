//! One process at a time runs a projection.

use std::{sync::Arc, time::Duration};

use annals_core::{Claim, MemoryStore, Position, ProjectionSpec, ProjectionState, ProjectionStore};
use annals_runtime::{App, Builder, ProjectionHealth, ProjectionOptions, RebuildOptions};

use crate::bank::{self, Balance, Fault, Gate, SOON};

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(150);
const OPTIONS: ProjectionOptions = ProjectionOptions {
    page_size: 100,
    batch_events: 100,
    batch_rows: 100,
    batch_age: Duration::from_millis(10),
    poll: Duration::from_millis(10),
    lease: LONG,
    patience: LONG,
};

async fn start(store: &Arc<MemoryStore>, options: ProjectionOptions) -> App {
    let builder = Builder::new(Arc::clone(store) as _).projection::<Balance>();
    let builder = builder.projection_options(options);
    builder.start().await.unwrap()
}

fn health(app: &App) -> ProjectionHealth {
    let [health] = app.projections().health().try_into().unwrap();
    health
}

/// Waits until an application knows that another process runs its projection, and answers which.
async fn stands_by(app: &App) -> String {
    let held = async {
        loop {
            if let Some(owner) = health(app).held_by {
                return owner;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, held).await.unwrap()
}

async fn caught_up(app: &App, position: Position) {
    let caught_up = app.caught_up_within::<Balance>(position, SOON);
    caught_up.await.unwrap();
}

async fn owner(store: &MemoryStore) -> String {
    let record = bank::record::<Balance>(store).await;
    assert!(record.leased, "{record:?}");
    record.owner.unwrap()
}

/// Takes the lease as a process that does nothing with it.
async fn hold(store: &MemoryStore, term: Duration) {
    let claim = store
        .claim("balance", "a dead process", term)
        .await
        .unwrap();
    assert!(matches!(claim, Claim::Held { .. }), "{claim:?}");
}

#[tokio::test]
async fn one_node_runs_a_projection_and_the_other_stands_by() {
    let store = bank::store();
    let first = start(&store, OPTIONS).await;
    caught_up(&first, bank::deposit(&store, "alice", 1).await).await;
    let owner = owner(&store).await;
    let second = start(&store, OPTIONS).await;
    assert_eq!(stands_by(&second).await, owner);
    assert_eq!(health(&first).held_by, None);
    let position = bank::deposit(&store, "alice", 1).await;
    caught_up(&second, position).await;
    caught_up(&first, position).await;
    assert_eq!(bank::balances(&second).await["alice"], (2, 2));
}

#[tokio::test]
async fn a_node_that_shuts_down_makes_room_at_once() {
    let store = bank::store();
    let first = start(&store, OPTIONS).await;
    caught_up(&first, bank::deposit(&store, "alice", 1).await).await;
    let second = start(&store, OPTIONS).await;
    let left = stands_by(&second).await;
    first.projections().shutdown().await;
    caught_up(&second, bank::deposit(&store, "alice", 1).await).await;
    assert_ne!(owner(&store).await, left);
    assert_eq!(health(&second).held_by, None);
}

#[tokio::test]
async fn a_node_that_dies_is_followed_when_its_lease_has_run_out() {
    let store = bank::store();
    let app = start(&store, OPTIONS).await;
    app.projections().shutdown().await;
    hold(&store, SHORT).await;
    let app = start(&store, OPTIONS).await;
    assert_eq!(stands_by(&app).await, "a dead process");
    caught_up(&app, bank::deposit(&store, "alice", 1).await).await;
    assert_ne!(owner(&store).await, "a dead process");
}

/// Waits while a few leases of a term run out, one after the other.
async fn terms_pass(store: &MemoryStore, term: Duration) {
    let watch = ProjectionSpec {
        name: "watch".to_owned(),
        fingerprint: String::new(),
        table: None,
        inline: false,
    };
    store.register(&watch, chrono::Utc::now()).await.unwrap();
    for watcher in ["one", "two", "three", "four"] {
        let claim = async || store.claim("watch", watcher, term).await.unwrap();
        while matches!(claim().await, Claim::HeldBy { .. }) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn a_lease_is_renewed_while_nothing_happens() {
    let store = bank::store();
    let lease = 4 * SHORT;
    let app = start(&store, ProjectionOptions { lease, ..OPTIONS }).await;
    caught_up(&app, bank::deposit(&store, "alice", 1).await).await;
    let before = bank::record::<Balance>(&store).await;
    terms_pass(&store, lease).await;
    assert_eq!(bank::record::<Balance>(&store).await, before);
    app.projections().shutdown().await;
    assert!(!bank::record::<Balance>(&store).await.leased);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_node_whose_runner_hangs_is_followed_and_can_not_write_when_it_wakes() {
    let store = bank::store();
    let hanging = ProjectionOptions {
        lease: SHORT,
        patience: Duration::from_millis(50),
        ..OPTIONS
    };
    let first = start(&store, hanging).await;
    caught_up(&first, bank::deposit(&store, "alice", 1).await).await;
    let gate = Arc::new(Gate::default());
    bank::plant("hangs", Fault::Gate(Arc::clone(&gate)));
    let position = bank::deposit(&store, "hangs", 1).await;
    gate.reached.notified().await;
    bank::heal("hangs");

    let second = start(&store, OPTIONS).await;
    caught_up(&second, position).await;
    let problem = health(&first).problem.expect("the hanging is visible");
    assert!(problem.contains("has not got any further"), "{problem}");
    gate.open();
    let holder = stands_by(&first).await;
    assert_eq!(holder, owner(&store).await);
    caught_up(&first, bank::deposit(&store, "hangs", 1).await).await;
    let rows = bank::balances(&second).await;
    assert_eq!((rows["alice"], rows["hangs"]), ((1, 1), (2, 2)));
}

#[tokio::test]
async fn a_projection_that_stands_still_is_nobodys() {
    let store = bank::store();
    let first = start(&store, OPTIONS).await;
    caught_up(&first, bank::deposit(&store, "alice", 1).await).await;
    let set = |state| store.set_state("balance", state, chrono::Utc::now());
    set(ProjectionState::Paused).await.unwrap();
    bank::until::<Balance>(&store, |record| !record.leased).await;
    first.projections().shutdown().await;
    let second = start(&store, OPTIONS).await;
    let position = bank::deposit(&store, "alice", 1).await;
    set(ProjectionState::Running).await.unwrap();
    caught_up(&second, position).await;
}

#[tokio::test]
async fn operators_reach_a_projection_through_any_node() {
    let store = bank::store();
    let first = start(&store, OPTIONS).await;
    caught_up(&first, bank::deposit(&store, "alice", 1).await).await;
    let second = start(&store, OPTIONS).await;
    stands_by(&second).await;
    let mut unseen = |_| {};
    let options = RebuildOptions::default();
    let rebuild = second
        .projections()
        .rebuild("balance", options, &mut unseen);
    rebuild.await.unwrap();
    let position = bank::deposit(&store, "alice", 1).await;
    caught_up(&second, position).await;
    assert_eq!(bank::balances(&first).await["alice"], (2, 2));
}
