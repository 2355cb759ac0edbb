//! SQL projections on PostgreSQL under the real engine: live and rebuilt.

use std::{sync::Arc, time::Duration};

use crate::lamp::{Lamp, LampCommand, LampEvent, LampId};
use annals::{
    Annals, App, ProjectionError, RebuildOptions, Recorded,
    postgres::{PostgresOptions, PostgresStore, SqlProjection, sql_projection},
};
use annals_testing::postgres::{TestSchema, URL_VARIABLE};
use sqlx::{Connection, PgConnection};

/// Counts what happened to each lamp.
struct Switchings;

impl SqlProjection for Switchings {
    type Event = LampEvent;
    const NAME: &'static str = "switchings";
    const TABLES: &'static [&'static str] = &["switchings"];
    const SCHEMA: &'static str =
        "CREATE TABLE switchings (lamp text PRIMARY KEY, times bigint NOT NULL)";

    async fn apply(
        event: &Recorded<LampEvent>,
        db: &mut PgConnection,
    ) -> Result<(), ProjectionError> {
        sqlx::query(
            "INSERT INTO switchings AS s (lamp, times) VALUES ($1, 1)
             ON CONFLICT (lamp) DO UPDATE SET times = s.times + 1",
        )
        .bind(event.stream.id())
        .execute(db)
        .await?;
        Ok(())
    }
}

struct House {
    app: App,
    schema: TestSchema,
}

impl House {
    async fn new(max_connections: u32) -> Self {
        let schema = TestSchema::create().await;
        let options = PostgresOptions {
            max_connections,
            ..Default::default()
        };
        let store = PostgresStore::open(&schema.url(), options).await.unwrap();
        let app = Annals::on(Arc::new(store))
            .projector(sql_projection::<Switchings>())
            .start()
            .await
            .unwrap();
        Self { app, schema }
    }

    async fn switch(&self, lamp: &str, times: usize) {
        let lamp: LampId = lamp.parse().unwrap();
        for _ in 0..times {
            let done = self.app.execute::<Lamp>(&lamp, LampCommand::Switch);
            done.await.unwrap();
        }
    }

    /// A connection as any SQL tool has it, in the store's schema.
    async fn connect(&self) -> PgConnection {
        let url = std::env::var(URL_VARIABLE).unwrap();
        let options: sqlx::postgres::PgConnectOptions = url.parse().unwrap();
        let options = options.options([("search_path", self.schema.name())]);
        PgConnection::connect_with(&options).await.unwrap()
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
            .fetch_all(&mut self.connect().await)
            .await
            .unwrap()
    }
}

fn counted(counts: &[(&str, i64)]) -> Vec<(String, i64)> {
    counts
        .iter()
        .map(|(lamp, times)| ((*lamp).to_owned(), *times))
        .collect()
}

async fn rebuilt_beside_the_live_table(max_connections: u32) {
    let house = House::new(max_connections).await;
    house.switch("hall", 30).await;
    assert_eq!(house.shown().await, counted(&[("hall", 30)]));
    let forge = sqlx::raw_sql("UPDATE switchings SET times = 1");
    forge.execute(&mut house.connect().await).await.unwrap();
    let switching = house.switch("cellar", 40);
    let mut silent = |_| {};
    let projections = house.app.projections();
    let rebuilding = projections.rebuild("switchings", RebuildOptions::default(), &mut silent);
    let ((), summary) = tokio::join!(switching, rebuilding);
    summary.unwrap();
    assert_eq!(
        house.shown().await,
        counted(&[("cellar", 40), ("hall", 30)])
    );
    house.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_runs_the_same_statements_beside_the_live_table() {
    rebuilt_beside_the_live_table(8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection_is_enough_for_a_rebuild() {
    rebuilt_beside_the_live_table(1).await;
}
