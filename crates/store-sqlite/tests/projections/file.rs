//! A store in a file, and projections in its SQL.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use annals_core::{FailurePolicy, ProjectionError, ProjectorFactory, Recorded, Store};
use annals_sqlite::{
    SqlProjection, SqliteOptions, SqliteStore, inline_sql_projection, sql_projection,
};
use annals_testing::conformance::{
    Fixture,
    database::{AccountEvent, Database},
};
use sqlx::{Connection as _, Row as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

pub(crate) type Bank = annals_testing::conformance::database::Bank<File>;

/// A file that goes with the test.
#[derive(Debug)]
pub(crate) struct File(TempDir);

impl File {
    /// Where the store is: a name that a URL would have to escape.
    fn path(&self) -> PathBuf {
        self.0.path().join("bank 50%.db")
    }

    /// Where the projection `totals` is rebuilt.
    pub(crate) fn rebuild_file(&self) -> PathBuf {
        self.0.path().join("bank 50%.db-rebuild-totals")
    }

    pub(crate) async fn connect_to(&self, file: &Path) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(file);
        SqliteConnection::connect_with(&options).await.unwrap()
    }
}

#[async_trait::async_trait]
impl Fixture for File {
    async fn create() -> Self {
        Self(TempDir::new().unwrap())
    }

    async fn open(&self) -> Arc<dyn Store> {
        let path = self.path();
        let store = SqliteStore::open(path.to_str().unwrap(), SqliteOptions::default());
        Arc::new(store.await.unwrap())
    }
}

#[async_trait::async_trait]
impl Database for File {
    type Connection = SqliteConnection;

    const INDEXES: &'static str = "SELECT name FROM sqlite_schema WHERE type = 'index'";

    async fn connect(&self) -> SqliteConnection {
        self.connect_to(&self.path()).await
    }

    async fn execute(connection: &mut SqliteConnection, statements: &'static str) {
        sqlx::raw_sql(statements).execute(connection).await.unwrap();
    }

    async fn query(connection: &mut SqliteConnection, statement: &'static str) -> Vec<String> {
        let rows = sqlx::query(statement).fetch_all(connection).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    fn totals(inline: bool) -> Box<dyn ProjectorFactory> {
        if inline {
            Box::new(inline_sql_projection::<Totals>())
        } else {
            Box::new(sql_projection::<Totals>())
        }
    }

    async fn rebuilds_left(&self) -> usize {
        let files = std::fs::read_dir(self.0.path()).unwrap();
        files
            .filter(|file| {
                let name = file.as_ref().unwrap().file_name();
                name.to_string_lossy().contains("-rebuild-")
            })
            .count()
    }

    async fn lose_rebuild(&self) {
        std::fs::remove_file(self.rebuild_file()).unwrap();
    }
}

/// What each owner has, and each movement of it; parks what fails.
struct Totals;

impl SqlProjection for Totals {
    type Event = AccountEvent;
    const NAME: &'static str = "totals";
    const TABLES: &'static [&'static str] = &["totals", "movements"];
    const SCHEMA: &'static str = "
        CREATE TABLE totals (
            owner TEXT PRIMARY KEY,
            total INTEGER NOT NULL,
            doubled INTEGER GENERATED ALWAYS AS (total * 2)
        ) STRICT;
        CREATE TABLE movements (id INTEGER PRIMARY KEY, owner TEXT NOT NULL, amount INTEGER) STRICT;
        CREATE INDEX movements_by_owner ON movements (owner);";
    const ON_FAILURE: FailurePolicy = FailurePolicy::Park;

    async fn apply(
        event: &Recorded<AccountEvent>,
        db: &mut SqliteConnection,
    ) -> Result<(), ProjectionError> {
        match &event.event {
            AccountEvent::Deposited { owner, amount } => {
                sqlx::query("INSERT INTO movements (owner, amount) VALUES (?, ?)")
                    .bind(owner)
                    .bind(amount)
                    .execute(&mut *db)
                    .await?;
                // The factor stands in a table of the application.
                sqlx::query(
                    "INSERT INTO totals SELECT ?1, ?2 * factor FROM factors WHERE true
                     ON CONFLICT (owner) DO UPDATE SET total = total + excluded.total",
                )
                .bind(owner)
                .bind(amount)
                .execute(db)
                .await?;
                Ok(())
            }
            AccountEvent::Cursed { owner } => {
                sqlx::query("INSERT INTO movements (owner) VALUES (?)")
                    .bind(owner)
                    .execute(&mut *db)
                    .await?;
                sqlx::query("UPDATE factors SET factor = 0")
                    .execute(db)
                    .await?;
                Err("it is cursed".into())
            }
        }
    }
}
