//! Rebuilds beside a live projection.

use std::{sync::Arc, time::Duration};

use annals_core::{
    Changes, Checkpoint, Commit, EventId, Fence, FoldError, MemoryStore, Position, ProjectionStore,
    ProjectorFactory, ReadModel, RebuildError, Target,
};
use annals_runtime::{
    App, Builder, CaughtUpError, ReadModelFactory, RebuildOptions, RebuildSummary,
};

use crate::bank::{self, Balance, Fault, Gate, Lenient, SOON};

const SMALL: RebuildOptions = RebuildOptions {
    verify: false,
    samples: 10,
    restart: false,
    page_size: 10,
    parallel: 3,
    flush_events: 25,
    flush_rows: 1_000,
    flush_age: Duration::from_secs(3),
    lease: Duration::from_millis(400),
};

const VERIFY: RebuildOptions = RebuildOptions {
    verify: true,
    ..SMALL
};

async fn rebuild(app: &App, options: RebuildOptions) -> Result<RebuildSummary, RebuildError> {
    let mut unseen = |_| {};
    let projections = app.projections();
    projections.rebuild("balance", options, &mut unseen).await
}

/// A bank with some events, followed by a live projection.
async fn running() -> (Arc<MemoryStore>, App, Position) {
    let store = bank::store();
    for n in 0..100_i64 {
        bank::deposit(&store, &format!("owner-{}", n % 9), n).await;
    }
    let head = bank::deposit(&store, "last", 1).await;
    let app = bank::start::<Balance>(&store).await;
    app.caught_up_within::<Balance>(head, SOON).await.unwrap();
    (store, app, head)
}

/// Changes a live row behind the projection's back.
async fn falsify(store: &MemoryStore, owner: &str) {
    let record = bank::record::<Balance>(store).await;
    let row = Balance {
        owner: owner.to_owned(),
        balance: -1,
        events: -1,
        last: record.checkpoint.position,
    };
    let changes = Changes {
        upserts: vec![row.to_row()],
        deletes: Vec::new(),
    };
    let commit = Commit {
        projection: record.name,
        target: Target::Live,
        fence: Fence {
            epoch: record.epoch,
            checkpoint: record.checkpoint.position,
        },
        rows: Some((Balance::TABLE, changes)),
        checkpoint: record.checkpoint,
        park: Vec::new(),
        unpark: Vec::new(),
        now: chrono::Utc::now(),
    };
    store.commit(commit).await.unwrap();
}

#[tokio::test]
async fn a_rebuild_puts_right_what_was_wrong() {
    let (store, app, head) = running().await;
    let before = bank::balances(&app).await;
    falsify(&store, "owner-3").await;
    assert_ne!(bank::balances(&app).await, before);
    let summary = rebuild(&app, SMALL).await.unwrap();
    assert_eq!((summary.events, summary.rows), (head.get(), 10));
    assert_eq!((summary.checkpoint, summary.resumed), (head, false));
    assert_eq!(bank::balances(&app).await, before);
    assert_eq!(bank::record::<Balance>(&store).await.rebuild, None);

    let next = bank::deposit(&store, "owner-3", 1).await;
    app.caught_up_within::<Balance>(next, SOON).await.unwrap();
    assert_eq!(
        bank::balances(&app).await["owner-3"].1,
        before["owner-3"].1 + 1
    );
}

#[tokio::test]
async fn verifying_finds_no_difference_where_there_is_none() {
    let (_store, app, _) = running().await;
    let summary = rebuild(&app, VERIFY).await.unwrap();
    assert_eq!(summary.differences.unwrap().count, 0);
}

#[tokio::test]
async fn verifying_finds_a_planted_difference() {
    let (store, app, _) = running().await;
    falsify(&store, "owner-3").await;
    let differences = rebuild(&app, VERIFY).await.unwrap().differences.unwrap();
    assert_eq!(differences.count, 1);
    assert!(
        differences.samples[0].key.contains("owner-3"),
        "{differences:?}"
    );
    assert_ne!(bank::balances(&app).await["owner-3"].0, -1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_rebuild_while_events_are_written_misses_and_doubles_nothing() {
    const WRITTEN: i64 = 5_000;
    for verify in [false, true] {
        let (store, app, _) = running().await;
        let writing = tokio::spawn({
            let store = Arc::clone(&store);
            async move {
                let mut head = Position::START;
                for _ in 0..WRITTEN {
                    head = bank::deposit(&store, "busy", 1).await;
                }
                head
            }
        });
        let options = RebuildOptions {
            verify,
            page_size: 200,
            flush_events: 500,
            ..SMALL
        };
        while !writing.is_finished() {
            let summary = rebuild(&app, options).await.unwrap();
            let differences = summary.differences.unwrap_or_default();
            assert_eq!(differences.count, 0, "{differences:?}");
        }
        let head = writing.await.unwrap();
        app.caught_up_within::<Balance>(head, SOON).await.unwrap();
        let busy = bank::balances(&app).await["busy"];
        assert_eq!(busy, (WRITTEN, WRITTEN));
    }
}

#[tokio::test]
async fn progress_ends_at_its_target() {
    let (_store, app, head) = running().await;
    let mut seen = Vec::new();
    let mut report = |progress: annals_runtime::Progress| seen.push(progress);
    let projections = app.projections();
    projections
        .rebuild("balance", SMALL, &mut report)
        .await
        .unwrap();
    let last = seen.last().unwrap();
    assert_eq!((last.position, last.target), (head, head));
    assert!(seen.is_sorted_by_key(|progress| progress.position));
}

#[tokio::test]
async fn a_failing_rebuild_leaves_the_live_table_alone_and_resumes_where_it_failed() {
    let (store, app, head) = running().await;
    let before = bank::balances(&app).await;
    bank::plant("last", Fault::Fail);
    match rebuild(&app, SMALL).await.unwrap_err() {
        RebuildError::Fold(FoldError::Event { position, .. }) => assert_eq!(position, head),
        other => panic!("{other}"),
    }
    assert_eq!(bank::balances(&app).await, before);
    let left = bank::record::<Balance>(&store).await.rebuild.unwrap();
    assert_eq!(
        (left.checkpoint.position, left.leased),
        (head.minus(1), false)
    );

    bank::heal("last");
    let summary = rebuild(&app, SMALL).await.unwrap();
    assert_eq!((summary.resumed, summary.events), (true, 1));
    assert_eq!(bank::balances(&app).await, before);
}

#[tokio::test]
async fn a_rebuild_can_begin_anew_where_it_could_be_resumed() {
    let (_store, app, head) = running().await;
    bank::plant("last", Fault::Panic);
    rebuild(&app, SMALL).await.unwrap_err();
    bank::heal("last");
    let options = RebuildOptions {
        restart: true,
        ..SMALL
    };
    let summary = rebuild(&app, options).await.unwrap();
    assert_eq!((summary.resumed, summary.events), (false, head.get()));
}

/// Has the next rebuild wait at the event of owner `gate`.
async fn gated(owner: &str) -> (Arc<MemoryStore>, App, Arc<Gate>) {
    let (store, app, _) = running().await;
    let mut head = bank::deposit(&store, owner, 1).await;
    for n in 0..50 {
        head = bank::deposit(&store, "after", n).await;
    }
    app.caught_up_within::<Balance>(head, SOON).await.unwrap();
    let gate = Arc::new(Gate::default());
    bank::plant(owner, Fault::Gate(Arc::clone(&gate)));
    (store, app, gate)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_second_rebuild_at_the_same_time_is_refused() {
    let (_store, app, gate) = gated("second").await;
    let first = tokio::spawn({
        let app = app.clone();
        async move { rebuild(&app, SMALL).await }
    });
    gate.reached.notified().await;
    let refused = rebuild(&app, SMALL).await.unwrap_err();
    assert!(
        matches!(refused, RebuildError::AlreadyRunning { .. }),
        "{refused}"
    );
    gate.open();
    first.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_shutdown_interrupts_a_rebuild_which_the_next_one_resumes() {
    let (store, app, gate) = gated("shutdown").await;
    let interrupted = tokio::spawn({
        let app = app.clone();
        async move { rebuild(&app, SMALL).await }
    });
    gate.reached.notified().await;
    let shutdown = tokio::spawn({
        let app = app.clone();
        async move { app.projections().shutdown().await }
    });
    bank::until::<Balance>(&store, |_| app.projections().is_stopping()).await;
    gate.open();
    shutdown.await.unwrap();
    let error = interrupted.await.unwrap().unwrap_err();
    let RebuildError::Interrupted { checkpoint, .. } = error else {
        panic!("{error}");
    };
    assert!(checkpoint > Position::START);

    let app = bank::start::<Balance>(&store).await;
    let head = app.store().head().await.unwrap();
    let summary = rebuild(&app, SMALL).await.unwrap();
    assert!(summary.resumed);
    assert_eq!(summary.events, head.get() - checkpoint.get());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_rebuild_that_nobody_waits_for_gives_up_its_lease() {
    let (store, app, gate) = gated("dropped").await;
    let waiting = tokio::spawn({
        let app = app.clone();
        async move { rebuild(&app, SMALL).await }
    });
    gate.reached.notified().await;
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    gate.open();
    bank::until::<Balance>(&store, |record| {
        let rebuild = record.rebuild.as_ref();
        rebuild.is_some_and(|rebuild| !rebuild.leased && rebuild.checkpoint.event_id.is_some())
    })
    .await;
}

#[tokio::test]
async fn the_rebuild_of_a_killed_process_is_taken_over_when_its_lease_ends() {
    let (store, app, head) = running().await;
    let spec = app.projections().specs().next().unwrap();
    let now = chrono::Utc::now();
    let killed = store.begin_rebuild(spec, "a killed process", SMALL.lease, false, now);
    killed.await.unwrap();
    let summary = rebuild(&app, SMALL).await.unwrap();
    assert_eq!((summary.resumed, summary.checkpoint), (true, head));
}

/// A rebuild that was killed when its new table reached this far.
async fn leave_behind(store: &MemoryStore, app: &App, checkpoint: Checkpoint) {
    let spec = app.projections().specs().next().unwrap();
    let now = chrono::Utc::now();
    let begun = store.begin_rebuild(spec, "a killed process", Duration::ZERO, true, now);
    let commit = Commit {
        projection: spec.name.clone(),
        target: Target::Rebuild,
        fence: Fence {
            epoch: begun.await.unwrap().epoch,
            checkpoint: Position::START,
        },
        rows: None,
        checkpoint,
        park: Vec::new(),
        unpark: Vec::new(),
        now,
    };
    store.commit(commit).await.unwrap();
}

/// As when the log was restored from an older backup, and the new table was not.
#[tokio::test]
async fn a_rebuild_whose_last_event_the_log_no_longer_has_begins_anew() {
    let (store, app, head) = running().await;
    let before = bank::balances(&app).await;
    let lost = Some(EventId::new(uuid::Uuid::from_u128(1)));
    for position in [Position::new(7), head, head.plus(5)] {
        let checkpoint = Checkpoint {
            position,
            event_id: lost,
        };
        leave_behind(&store, &app, checkpoint).await;
        let summary = rebuild(&app, SMALL).await.unwrap();
        assert_eq!(
            (summary.resumed, summary.events, summary.checkpoint),
            (false, head.get(), head)
        );
        assert_eq!(bank::balances(&app).await, before);
    }
}

#[tokio::test]
async fn an_outdated_projection_stands_still_until_it_is_rebuilt() {
    let store = bank::store();
    let factory = ReadModelFactory::<Balance>::following();
    let mut older = factory.spec().clone();
    older.fingerprint.push_str(" of older code");
    store.register(&older, chrono::Utc::now()).await.unwrap();
    let head = bank::deposit(&store, "alice", 1).await;

    let app = bank::start::<Balance>(&store).await;
    let refused = app.caught_up::<Balance>(head).await.unwrap_err();
    assert!(
        matches!(refused, CaughtUpError::Outdated { .. }),
        "{refused}"
    );
    let summary = rebuild(&app, VERIFY).await.unwrap();
    assert_eq!(summary.checkpoint, head);
    let next = bank::deposit(&store, "alice", 1).await;
    app.caught_up_within::<Balance>(next, SOON).await.unwrap();
    assert_eq!(bank::balances(&app).await["alice"], (2, 2));
}

#[tokio::test]
async fn a_tool_of_the_next_release_leaves_the_running_projection_alone() {
    let store = bank::store();
    let app = bank::start::<Balance>(&store).await;
    let before = store.projection("balance").await.unwrap();

    let tool = Builder::new(store.clone()).projection::<next_release::Balance>();
    tool.connect().await.unwrap();

    assert_eq!(store.projection("balance").await.unwrap(), before);
    let head = bank::deposit(&store, "alice", 1).await;
    app.caught_up_within::<Balance>(head, SOON).await.unwrap();
}

/// What the code of [`Balance`] may look like in the next release.
mod next_release {
    use annals_core::{Position, Projection, ProjectionError, ReadModel, Recorded};

    use crate::bank::AccountEvent;

    #[derive(ReadModel, Clone, Debug, PartialEq)]
    #[read_model(crate = annals_core)]
    pub(crate) struct Balance {
        #[key]
        owner: String,
        pub(crate) balance: i64,
        events: i64,
        last: Position,
    }

    impl Projection for Balance {
        type Event = AccountEvent;
        const VERSION: u32 = 2;

        fn keys(event: &Recorded<AccountEvent>) -> impl IntoIterator<Item = String> {
            [event.event.owner().clone()]
        }

        fn fold(
            owner: &String,
            row: Option<Self>,
            event: &Recorded<AccountEvent>,
        ) -> Result<Option<Self>, ProjectionError> {
            Ok(Some(Self {
                owner: owner.clone(),
                balance: row.map_or(0, |row| row.balance) - 1,
                events: 0,
                last: event.position,
            }))
        }
    }
}

#[tokio::test]
async fn a_process_with_older_code_leaves_a_table_alone_that_newer_code_has_rebuilt() {
    let (store, older, head) = running().await;
    let newer = Builder::new(Arc::clone(&store) as _).projection::<next_release::Balance>();
    let newer = newer.connect().await.unwrap();
    rebuild(&newer, SMALL).await.unwrap();

    bank::deposit(&store, "last", 100).await;
    let told = async {
        while older.projections().health()[0].problem.is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, told).await.unwrap();
    let record = bank::record::<Balance>(&store).await;
    assert_eq!(record.checkpoint.position, head);
    let row = newer.row::<next_release::Balance>(&"last".to_owned()).await;
    assert_eq!(row.unwrap().unwrap().balance, -1);
}

#[tokio::test]
async fn a_rebuild_parks_what_it_can_not_fold_where_the_projection_says_so() {
    let store = bank::store();
    bank::plant("parked", Fault::Fail);
    for n in 0..60 {
        bank::deposit(&store, if n % 20 == 5 { "parked" } else { "alice" }, 1).await;
    }
    let app = bank::start::<Lenient>(&store).await;
    let projections = app.projections();
    let mut unseen = |_| {};
    let rebuild = projections.rebuild("lenient", SMALL, &mut unseen);
    rebuild.await.unwrap();
    let parked = store.parked("lenient", Target::Live).await.unwrap();
    let positions: Vec<_> = parked.iter().map(|event| event.position.get()).collect();
    assert_eq!(positions, [6, 26, 46]);
    let alice = app.row::<Lenient>(&"alice".into()).await.unwrap().unwrap();
    assert_eq!(alice.events, 57);
}

#[tokio::test]
async fn rebuilding_an_unknown_projection_is_refused() {
    let (_store, app, _) = running().await;
    let mut unseen = |_| {};
    let rebuild = app.projections().rebuild("nothing", SMALL, &mut unseen);
    let refused = rebuild.await.unwrap_err();
    assert!(matches!(refused, RebuildError::NoSuchProjection { .. }));
}
