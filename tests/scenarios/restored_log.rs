//! A log that is restored or replaced while an application runs.
//!
//! Logs are changed here by SQL; a server that was promoted or restored looks the same to those who
//! go on reading it.

use std::{future::Future, path::PathBuf, time::Duration};

use annals::{
    Annals, App, Position, Projection, ProjectionError, ProjectionRecord, ProjectionState,
    ReadModel, RebuildOptions, Recorded,
};
use annals_testing::postgres::TestSchema;
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, postgres::PgConnectOptions, sqlite::SqliteConnectOptions,
};
use tempfile::TempDir;

use crate::lamp::{Lamp, LampCommand, LampEvent, LampId};

const SOON: Duration = Duration::from_secs(60);

/// How often each lamp was switched.
#[derive(ReadModel, Clone, Debug, PartialEq, Eq)]
struct Wear {
    #[key]
    lamp: String,
    times: i64,
}

impl Projection for Wear {
    type Event = LampEvent;

    fn keys(event: &Recorded<LampEvent>) -> impl IntoIterator<Item = String> {
        [event.stream.id().to_owned()]
    }

    fn fold(
        lamp: &String,
        row: Option<Self>,
        _: &Recorded<LampEvent>,
    ) -> Result<Option<Self>, ProjectionError> {
        Ok(Some(Self {
            lamp: lamp.clone(),
            times: row.map_or(0, |row| row.times) + 1,
        }))
    }
}

/// What the scenarios run on.
#[derive(Clone, Copy)]
#[cfg_attr(not(feature = "postgres"), allow(dead_code))]
enum Kind {
    Sqlite,
    Postgres,
}

macro_rules! on_each_store {
    ($($scenario:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $scenario() {
                super::$scenario(super::Kind::Sqlite).await;
            })+
        }
        #[cfg(feature = "postgres")]
        mod postgres {
            $(#[tokio::test]
            async fn $scenario() {
                super::$scenario(super::Kind::Postgres).await;
            })+
        }
    };
}

on_each_store!(
    a_projection_halts_when_the_log_is_cut_before_its_checkpoint,
    a_projection_halts_when_another_event_stands_at_its_checkpoint,
    a_projection_halts_when_the_log_was_cut_and_has_grown_beyond_its_checkpoint,
    an_inline_projection_halts_with_the_first_append_to_a_log_that_was_cut,
    a_command_is_decided_on_the_log_that_was_restored_and_not_on_what_was_remembered,
);

/// Where a store of its own is.
enum Place {
    File(TempDir),
    Schema(TestSchema),
}

impl Place {
    async fn new(kind: Kind) -> Self {
        match kind {
            Kind::Sqlite => Self::File(tempfile::tempdir().unwrap()),
            Kind::Postgres => Self::Schema(TestSchema::create().await),
        }
    }

    fn url(&self) -> String {
        match self {
            Self::File(dir) => format!("sqlite://{}", file_in(dir).display()),
            Self::Schema(schema) => schema.url(),
        }
    }

    /// Runs statements on a connection that knows nothing of the log.
    async fn run(&self, sql: &str) {
        let sql = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        match self {
            Self::File(dir) => {
                let options = SqliteConnectOptions::new().filename(file_in(dir));
                let mut db = options.busy_timeout(SOON).connect().await.unwrap();
                sql.execute(&mut db).await.map(drop)
            }
            Self::Schema(schema) => {
                let options: PgConnectOptions = schema.url().parse().unwrap();
                let options = options.options([("search_path", schema.name())]);
                sql.execute(&mut options.connect().await.unwrap())
                    .await
                    .map(drop)
            }
        }
        .unwrap();
    }
}

fn file_in(dir: &TempDir) -> PathBuf {
    dir.path().join("house.db")
}

struct House {
    app: App,
    place: Place,
}

impl House {
    /// A house in which `hall` was switched five times, with a read model of either kind.
    async fn new(kind: Kind, inline: bool) -> Self {
        let place = Place::new(kind).await;
        let builder = Annals::open(&place.url()).await.unwrap();
        let builder = match inline {
            true => builder.inline_projection::<Wear>(),
            false => builder.projection::<Wear>(),
        };
        let app = builder.start().await.unwrap();
        let house = Self { app, place };
        house.switch("hall", 5).await;
        house.shows(&[("hall", 5)]).await;
        house
    }

    async fn switch(&self, lamp: &str, times: usize) {
        let id: LampId = lamp.parse().unwrap();
        for _ in 0..times {
            let switched = self.app.execute::<Lamp>(&id, LampCommand::Switch).await;
            switched.unwrap();
        }
    }

    /// Waits until the read model shows the whole log, and checks what it shows.
    async fn shows(&self, expected: &[(&str, i64)]) {
        let head = self.app.store().head().await.unwrap();
        let caught_up = self.app.caught_up_within::<Wear>(head, SOON);
        caught_up.await.unwrap();
        let rows = self.app.rows::<Wear>(None, 100).await.unwrap();
        let rows: Vec<_> = rows.iter().map(|r| (r.lamp.as_str(), r.times)).collect();
        assert_eq!(rows, expected);
    }

    async fn record(&self) -> ProjectionRecord {
        let record = self.app.store().projection("wear").await.unwrap();
        record.unwrap()
    }

    async fn halts_as_diverged(&self) {
        let record = eventually(async || {
            let record = self.record().await;
            (record.state == ProjectionState::Diverged).then_some(record)
        });
        let record = record.await;
        let failure = record.failure.expect("it says why");
        assert!(failure.message.contains("rebuild `wear`"), "{failure:?}");
        assert_eq!(failure.position, record.checkpoint.position);
    }

    async fn rebuild(&self) {
        let mut unseen = |_| {};
        let rebuild =
            self.app
                .projections()
                .rebuild("wear", RebuildOptions::default(), &mut unseen);
        rebuild.await.unwrap();
    }
}

async fn eventually<T, F: Future<Output = Option<T>>>(mut ask: impl FnMut() -> F) -> T {
    let answered = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, answered).await.unwrap()
}

/// What takes the last two events from the log, as an older backup would.
const CUT: &str = "DELETE FROM events WHERE position > 3";

async fn a_projection_halts_when_the_log_is_cut_before_its_checkpoint(kind: Kind) {
    let house = House::new(kind, false).await;
    house.place.run(CUT).await;
    house.halts_as_diverged().await;
    house.switch("kitchen", 3).await; // beyond where the log was
    assert_eq!(house.record().await.state, ProjectionState::Diverged);
    house.rebuild().await;
    house.shows(&[("hall", 3), ("kitchen", 3)]).await;
}

async fn a_projection_halts_when_another_event_stands_at_its_checkpoint(kind: Kind) {
    let house = House::new(kind, false).await;
    let another = match kind {
        Kind::Sqlite => "randomblob(16)",
        Kind::Postgres => "gen_random_uuid()",
    };
    house
        .place
        .run(&format!(
            "UPDATE events SET id = {another} WHERE position = 5"
        ))
        .await;
    house.halts_as_diverged().await;
    house.rebuild().await;
    house.switch("kitchen", 1).await;
    house.shows(&[("hall", 5), ("kitchen", 1)]).await;
}

async fn a_projection_halts_when_the_log_was_cut_and_has_grown_beyond_its_checkpoint(kind: Kind) {
    let house = House::new(kind, false).await;
    house.app.projections().shutdown().await;
    house.place.run(CUT).await;
    house.switch("kitchen", 4).await;
    let House { app, place } = house;
    app.shutdown().await;
    let builder = Annals::open(&place.url()).await;
    let app = builder.unwrap().projection::<Wear>().start().await.unwrap();
    House { app, place }.halts_as_diverged().await;
}

async fn an_inline_projection_halts_with_the_first_append_to_a_log_that_was_cut(kind: Kind) {
    let house = House::new(kind, true).await;
    house.place.run(CUT).await;
    house.switch("kitchen", 4).await;
    house.halts_as_diverged().await;
    assert_eq!(house.record().await.checkpoint.position, Position::new(5));
    house.rebuild().await;
    house.switch("kitchen", 1).await;
    house.shows(&[("hall", 3), ("kitchen", 5)]).await;
}

/// A restored backup brings its own read models and checkpoints along. What was read of the other
/// log must not be mixed into them.
#[tokio::test]
async fn a_store_that_is_restored_as_a_whole_goes_on_from_what_it_says() {
    let house = House::new(Kind::Sqlite, false).await;
    let dir = tempfile::tempdir().unwrap();
    let backup = dir.path().join("backup.db").display().to_string();
    house.place.run(&format!("VACUUM INTO '{backup}'")).await;
    house.switch("kitchen", 3).await;
    house.shows(&[("hall", 5), ("kitchen", 3)]).await;
    let tables = [
        "events",
        "event_tags",
        "appends",
        "annals_projections",
        "wear",
    ];
    let restore: String = tables
        .iter()
        .map(|table| {
            format!("DELETE FROM main.{table}; INSERT INTO main.{table} SELECT * FROM old.{table};")
        })
        .collect();
    house
        .place
        .run(&format!(
            "ATTACH '{backup}' AS old; BEGIN IMMEDIATE; {restore} COMMIT; DETACH old"
        ))
        .await;
    house.switch("cellar", 4).await; // at the positions that the kitchen's events had
    house.shows(&[("cellar", 4), ("hall", 5)]).await;
    assert_eq!(house.record().await.state, ProjectionState::Running);
}

async fn a_command_is_decided_on_the_log_that_was_restored_and_not_on_what_was_remembered(
    kind: Kind,
) {
    let house = House::new(kind, false).await;
    house.place.run(CUT).await;
    house.switch("hall", 1).await;
    let hall: LampId = "hall".parse().unwrap();
    let loaded = house.app.load::<Lamp>(&hall).await.unwrap();
    assert_eq!(loaded.version.get(), 4);
}
