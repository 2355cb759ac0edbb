//! SQL projections under the real engine: live, failing, retried and rebuilt.

use std::{collections::HashSet, path::Path, sync::Arc, time::Duration};

use crate::lamp::{Lamp, LampCommand, LampEvent, LampId};
use annals::{
    Annals, App, Checkpoint, Clock as _, FailurePolicy, Fence, LogRead, Page, Position,
    ProjectionError, ProjectionState, ProjectorFactory as _, RebuildOptions, Recorded, Step,
    SystemClock, Target,
    sqlite::{SqlProjection, SqliteOptions, SqliteStore, sql_projection},
};
use sqlx::{Connection, SqliteConnection};

/// Counts what happened to each lamp; stumbles over the lamp that `cursed` names.
struct Switchings;

impl SqlProjection for Switchings {
    type Event = LampEvent;
    const NAME: &'static str = "switchings";
    const TABLES: &'static [&'static str] = &["switchings"];
    const SCHEMA: &'static str =
        "CREATE TABLE switchings (lamp TEXT PRIMARY KEY, times INTEGER NOT NULL) STRICT";
    const ON_FAILURE: FailurePolicy = FailurePolicy::Stop;

    async fn apply(
        event: &Recorded<LampEvent>,
        db: &mut SqliteConnection,
    ) -> Result<(), ProjectionError> {
        let cursed: i64 = sqlx::query_scalar("SELECT count(*) FROM cursed WHERE lamp = ?")
            .bind(event.stream.id())
            .fetch_one(&mut *db)
            .await?;
        if cursed > 0 {
            return Err("the lamp is cursed".into());
        }
        sqlx::query(
            "INSERT INTO switchings (lamp, times) VALUES (?, 1)
             ON CONFLICT (lamp) DO UPDATE SET times = times + 1",
        )
        .bind(event.stream.id())
        .execute(db)
        .await?;
        Ok(())
    }
}

struct House {
    app: App,
    url: String,
    _dir: tempfile::TempDir,
}

impl House {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", dir.path().join("house.db").display());
        let store = SqliteStore::open(&url, SqliteOptions::default())
            .await
            .unwrap();
        sqlx::raw_sql("CREATE TABLE cursed (lamp TEXT PRIMARY KEY) STRICT")
            .execute(&mut connect(&url).await)
            .await
            .unwrap();
        let app = Annals::on(Arc::new(store))
            .projector(sql_projection::<Switchings>())
            .start()
            .await
            .unwrap();
        Self {
            app,
            url,
            _dir: dir,
        }
    }

    async fn switch(&self, lamp: &str, times: usize) {
        let lamp: LampId = lamp.parse().unwrap();
        for _ in 0..times {
            self.app
                .execute::<Lamp>(&lamp, LampCommand::Switch)
                .await
                .unwrap();
        }
    }

    async fn sql(&self, statement: &'static str) {
        sqlx::raw_sql(statement)
            .execute(&mut connect(&self.url).await)
            .await
            .unwrap();
    }

    /// What the projection shows once it has seen everything.
    async fn shown(&self) -> Vec<(String, i64)> {
        let head = self.app.store().head().await.unwrap();
        let projections = self.app.projections();
        projections
            .caught_up("switchings", head, Duration::from_secs(20))
            .await
            .unwrap();
        sqlx::query_as("SELECT lamp, times FROM switchings ORDER BY lamp")
            .fetch_all(&mut connect(&self.url).await)
            .await
            .unwrap()
    }

    /// Rebuilds up to the log's end, and is killed before the new table is swapped in.
    async fn leave_rebuild_behind(&self) {
        let (store, factory) = (self.app.store(), sql_projection::<Switchings>());
        let now = SystemClock.now();
        let begun = store.begin_rebuild(factory.spec(), "killed", Duration::ZERO, false, now);
        let epoch = begun.await.unwrap().epoch;
        let mut projector = factory.open(store, Target::Rebuild).await.unwrap();
        let log = store.read_log(LogRead::after(Position::START, 100)).await;
        let page = Page::new(log.unwrap().events);
        let events = page.events();
        let all = 0..events.len();
        projector.fold(&page, all, &HashSet::new()).await.unwrap();
        let step = Step {
            fence: Fence {
                epoch,
                checkpoint: Position::START,
            },
            checkpoint: Checkpoint::at(&events[events.len() - 1]),
            park: Vec::new(),
            unpark: Vec::new(),
            now,
        };
        projector.commit(step).await.unwrap();
    }

    async fn until_state(&self, state: ProjectionState) {
        let arrives = async {
            while self
                .app
                .store()
                .projection("switchings")
                .await
                .unwrap()
                .unwrap()
                .state
                != state
            {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), arrives)
            .await
            .expect("the state comes");
    }
}

async fn connect(url: &str) -> SqliteConnection {
    let path = Path::new(url.trim_start_matches("sqlite://"));
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    SqliteConnection::connect_with(&options.busy_timeout(Duration::from_secs(20)))
        .await
        .unwrap()
}

fn counted(counts: &[(&str, i64)]) -> Vec<(String, i64)> {
    counts
        .iter()
        .map(|(lamp, times)| ((*lamp).to_owned(), *times))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_follow_the_log() {
    let house = House::new().await;
    house.switch("hall", 3).await;
    house.switch("cellar", 2).await;
    assert_eq!(house.shown().await, counted(&[("cellar", 2), ("hall", 3)]));
    house.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_event_stops_the_projection_before_it_and_a_retry_goes_on() {
    let house = House::new().await;
    house.sql("INSERT INTO cursed VALUES ('cellar')").await;
    house.switch("hall", 2).await;
    house.switch("cellar", 1).await;
    house.switch("hall", 1).await;
    house.until_state(ProjectionState::Failed).await;
    let record = house
        .app
        .store()
        .projection("switchings")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        record.checkpoint.position.get(),
        2,
        "what came before it counts"
    );
    let failure = record.failure.unwrap();
    assert_eq!(
        (failure.position.get(), failure.stream.as_str()),
        (3, "lamp-cellar")
    );
    assert!(
        failure.message.contains("the lamp is cursed"),
        "{}",
        failure.message
    );

    house.sql("DELETE FROM cursed").await;
    let now = annals::Clock::now(&annals::SystemClock);
    let store = house.app.store();
    store
        .set_state("switchings", ProjectionState::Running, now)
        .await
        .unwrap();
    assert_eq!(house.shown().await, counted(&[("cellar", 1), ("hall", 3)]));
    house.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_runs_the_same_statements_beside_the_live_table() {
    let house = House::new().await;
    house.switch("hall", 30).await;
    house.shown().await;
    house.sql("UPDATE switchings SET times = 1").await;
    let options = RebuildOptions {
        verify: true,
        ..Default::default()
    };
    let switching = async {
        house.switch("cellar", 40).await;
    };
    let mut silent = |_| {};
    let rebuilding = house
        .app
        .projections()
        .rebuild("switchings", options, &mut silent);
    let ((), summary) = tokio::join!(switching, rebuilding);
    let differences = summary
        .unwrap()
        .differences
        .map(|differences| differences.count);
    assert!(
        differences.is_none_or(|count| count >= 1),
        "the planted difference is reported"
    );
    assert_eq!(
        house.shown().await,
        counted(&[("cellar", 40), ("hall", 30)])
    );
    house.app.shutdown().await;
}

/// As when the store is restored from an older backup, and the file that a rebuild fills stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_that_is_ahead_of_a_restored_log_begins_anew() {
    let house = House::new().await;
    house.switch("hall", 3).await;
    house.switch("cellar", 5).await;
    house.shown().await;
    house.leave_rebuild_behind().await;
    house.sql("DELETE FROM events WHERE position > 3").await;
    // So far the rebuild was when the backup was taken.
    house
        .sql("UPDATE annals_rebuilds SET position = 0, event_id = NULL")
        .await;
    house.switch("attic", 6).await;
    let mut silent = |_| {};
    let projections = house.app.projections();
    let rebuilding = projections.rebuild("switchings", RebuildOptions::default(), &mut silent);
    assert!(!rebuilding.await.unwrap().resumed);
    assert_eq!(house.shown().await, counted(&[("attic", 6), ("hall", 3)]));
    house.app.shutdown().await;
}
