//! Accounts to project, and a hand that drives a projector as an engine does.

use std::{collections::HashSet, sync::Arc, time::Duration};

use annals_core::{
    Append, CausationId, Checkpoint, CommitError, CorrelationId, Event, EventId, Expected,
    FailurePolicy, Fence, LogRead, Metadata, NewEvent, Page, Position, ProjectionError, Projector,
    ProjectorFactory, RebuildError, RebuildRecord, Recorded, Step, Store, StreamName, SwapRequest,
    Swapped, Target,
};
use annals_postgres::{PostgresOptions, PostgresStore, SqlProjection};
use annals_testing::postgres::{TestSchema, URL_VARIABLE};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{Connection, PgConnection, Row, postgres::PgConnectOptions};

pub(crate) const LEASE: Duration = Duration::from_secs(600);

#[derive(Event, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[event(crate = annals_core, category = "account")]
pub(crate) enum AccountEvent {
    Deposited { owner: String, amount: i64 },
    Cursed { owner: String },
}

pub(crate) fn deposited(owner: &str, amount: i64) -> AccountEvent {
    AccountEvent::Deposited {
        owner: owner.to_owned(),
        amount,
    }
}

pub(crate) fn cursed(owner: &str) -> AccountEvent {
    AccountEvent::Cursed {
        owner: owner.to_owned(),
    }
}

/// What each owner has, and each movement of it; parks what fails.
pub(crate) struct Totals;

impl SqlProjection for Totals {
    type Event = AccountEvent;
    const NAME: &'static str = "totals";
    const TABLES: &'static [&'static str] = &["totals", "movements"];
    const SCHEMA: &'static str = "
        CREATE TABLE totals (owner text PRIMARY KEY, total bigint NOT NULL);
        CREATE TABLE movements (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            owner text NOT NULL REFERENCES totals DEFERRABLE INITIALLY DEFERRED,
            amount bigint
        );
        CREATE INDEX movements_by_owner ON movements (owner);";
    const ON_FAILURE: FailurePolicy = FailurePolicy::Park;

    async fn apply(
        event: &Recorded<AccountEvent>,
        db: &mut PgConnection,
    ) -> Result<(), ProjectionError> {
        match &event.event {
            AccountEvent::Deposited { owner, amount } => {
                sqlx::query("INSERT INTO movements (owner, amount) VALUES ($1, $2)")
                    .bind(owner)
                    .bind(amount)
                    .execute(&mut *db)
                    .await?;
                // The factor stands in a table of the application.
                sqlx::query(
                    "INSERT INTO totals SELECT $1, $2 * factor FROM factors
                     ON CONFLICT (owner) DO UPDATE SET total = totals.total + excluded.total",
                )
                .bind(owner)
                .bind(amount)
                .execute(db)
                .await?;
            }
            AccountEvent::Cursed { owner } => {
                sqlx::query("INSERT INTO movements (owner) VALUES ($1)")
                    .bind(owner)
                    .execute(&mut *db)
                    .await?;
                sqlx::query("UPDATE factors SET factor = 0")
                    .execute(db)
                    .await?;
                return Err("it is cursed".into());
            }
        }
        Ok(())
    }
}

/// A store in a schema of its own.
pub(crate) struct Bank {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) schema: TestSchema,
}

impl Bank {
    pub(crate) async fn open() -> Self {
        Self::open_at(TestSchema::url).await
    }

    pub(crate) async fn open_at(url: fn(&TestSchema) -> String) -> Self {
        let schema = TestSchema::create().await;
        let store = open(&url(&schema)).await;
        let bank = Self { store, schema };
        bank.sql("CREATE TABLE factors (factor bigint NOT NULL)")
            .await;
        bank.sql("INSERT INTO factors VALUES (1)").await;
        bank
    }

    /// A connection as any SQL tool has it, in the store's schema.
    pub(crate) async fn connection(&self) -> PgConnection {
        let url = std::env::var(URL_VARIABLE).unwrap();
        let options: PgConnectOptions = url.parse().unwrap();
        let options = options.options([("search_path", self.schema.name())]);
        PgConnection::connect_with(&options).await.unwrap()
    }

    pub(crate) async fn sql(&self, statement: &'static str) {
        let mut conn = self.connection().await;
        sqlx::raw_sql(statement).execute(&mut conn).await.unwrap();
    }

    /// The first column of a query, which is text.
    pub(crate) async fn query(&self, statement: &'static str) -> Vec<String> {
        let mut conn = self.connection().await;
        let rows = sqlx::query(statement).fetch_all(&mut conn).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// The schemas that rebuilds have made and left.
    pub(crate) async fn rebuild_schemas(&self) -> Vec<String> {
        self.query(
            "SELECT nspname::text FROM pg_namespace
             WHERE nspname LIKE current_schema() || '\\_re%' ORDER BY nspname",
        )
        .await
    }

    pub(crate) async fn totals(&self) -> Vec<String> {
        self.query("SELECT owner || '|' || total FROM totals ORDER BY owner")
            .await
    }

    pub(crate) async fn append(&self, stream: &str, events: &[AccountEvent]) -> Position {
        self.try_append(stream, events).await.unwrap().position
    }

    pub(crate) async fn try_append(
        &self,
        stream: &str,
        events: &[AccountEvent],
    ) -> Result<annals_core::Appended, annals_core::AppendError> {
        let id = uuid::Uuid::now_v7;
        let metadata = Metadata::caused_by(CausationId::new(id()), CorrelationId::new(id()));
        let events = events
            .iter()
            .map(|event| NewEvent::encode(event, EventId::new(id()), metadata.clone()).unwrap())
            .collect();
        let stream = StreamName::parse(stream).unwrap();
        let append = Append::to(stream, Expected::Any, events, now());
        self.store.append(append).await
    }

    pub(crate) async fn page(&self, after: Position) -> Page {
        let page = self.store.read_log(LogRead::after(after, 1_000)).await;
        Page::new(page.unwrap().events)
    }

    pub(crate) async fn live(&self, factory: &impl ProjectorFactory) -> Driver {
        let record = self.store.register(factory.spec(), now()).await.unwrap();
        Driver {
            projector: factory.open(&self.store, Target::Live).await.unwrap(),
            epoch: record.epoch,
            checkpoint: record.checkpoint,
        }
    }

    pub(crate) async fn begin(
        &self,
        factory: &impl ProjectorFactory,
    ) -> Result<RebuildRecord, RebuildError> {
        let begun = self
            .store
            .begin_rebuild(factory.spec(), "me", LEASE, false, now());
        begun.await
    }

    pub(crate) async fn rebuild(&self, factory: &impl ProjectorFactory) -> Driver {
        let rebuild = self.begin(factory).await.unwrap();
        Driver {
            projector: factory.open(&self.store, Target::Rebuild).await.unwrap(),
            epoch: rebuild.epoch,
            checkpoint: rebuild.checkpoint,
        }
    }
}

pub(crate) fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 0).unwrap()
}

pub(crate) async fn open(url: &str) -> Arc<dyn Store> {
    let store = PostgresStore::open(url, PostgresOptions::default()).await;
    Arc::new(store.unwrap())
}

/// What a rebuild that a test left unfinished has made goes with the test.
impl Drop for Bank {
    fn drop(&mut self) {
        let drop_schema = format!(
            "DROP SCHEMA IF EXISTS {}_rebuild_totals CASCADE",
            self.schema.name()
        );
        let url = std::env::var(URL_VARIABLE).unwrap();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let mut conn = PgConnection::connect(&url).await.unwrap();
                let dropped = sqlx::raw_sql(sqlx::AssertSqlSafe(drop_schema));
                dropped.execute(&mut conn).await.unwrap();
            });
        })
        .join()
        .unwrap();
    }
}

/// Drives one projector.
pub(crate) struct Driver {
    pub(crate) projector: Box<dyn Projector>,
    pub(crate) epoch: u64,
    pub(crate) checkpoint: Checkpoint,
}

impl Driver {
    /// Folds and commits the next `count` events.
    pub(crate) async fn run(&mut self, bank: &Bank, count: usize) -> Result<(), CommitError> {
        let page = bank.page(self.checkpoint.position).await;
        let count = count.min(page.events().len());
        let range = 0..count;
        let folded = self.projector.fold(&page, range, &HashSet::new()).await;
        let Some(last) = count
            .checked_sub(1)
            .and_then(|last| page.events().get(last))
        else {
            return folded.map_err(CommitError::from);
        };
        let checkpoint = Checkpoint {
            position: last.position,
            event_id: Some(last.id),
        };
        let committed = match folded {
            Ok(()) => self.projector.commit(self.step(checkpoint)).await,
            Err(error) => Err(error.into()),
        };
        match committed {
            Ok(()) => self.checkpoint = checkpoint,
            Err(_) => self.projector.reset().await,
        }
        committed
    }

    pub(crate) fn step(&self, checkpoint: Checkpoint) -> Step {
        Step {
            fence: self.fence(),
            checkpoint,
            park: Vec::new(),
            unpark: Vec::new(),
            now: now(),
        }
    }

    pub(crate) fn fence(&self) -> Fence {
        Fence {
            epoch: self.epoch,
            checkpoint: self.checkpoint.position,
        }
    }

    pub(crate) async fn swap(
        &mut self,
        factory: &impl ProjectorFactory,
        verify: Option<usize>,
    ) -> Result<Swapped, RebuildError> {
        let request = SwapRequest {
            spec: factory.spec().clone(),
            fence: self.fence(),
            verify,
            now: now(),
        };
        self.projector.swap(request).await
    }
}
