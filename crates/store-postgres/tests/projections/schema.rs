//! A store in a schema, and projections in its SQL.

use std::{marker::PhantomData, sync::Arc};

use annals_core::{FailurePolicy, ProjectionError, ProjectorFactory, Recorded, Store};
use annals_postgres::{
    PostgresOptions, PostgresStore, SqlProjection, inline_sql_projection, sql_projection,
};
use annals_testing::{
    conformance::{
        Fixture,
        database::{AccountEvent, Database},
    },
    postgres::{TestSchema, URL_VARIABLE},
};
use sqlx::{Connection as _, PgConnection, Row as _, postgres::PgConnectOptions};

pub(crate) type Schema = SchemaBy<Directly>;
pub(crate) type Bank = annals_testing::conformance::database::Bank<Schema>;

/// A schema that goes with the test, and whose store is reached in one of several ways.
#[derive(Debug)]
pub(crate) struct SchemaBy<W> {
    schema: TestSchema,
    way: PhantomData<W>,
}

/// How a store reaches the server.
pub(crate) trait Way: Send + Sync + 'static {
    fn url(schema: &TestSchema) -> String;

    fn options() -> PostgresOptions {
        PostgresOptions::default()
    }
}

#[derive(Debug)]
pub(crate) struct Directly;

impl Way for Directly {
    fn url(schema: &TestSchema) -> String {
        schema.url()
    }
}

/// PgBouncer is between them, and gives out connections by transaction.
#[derive(Debug)]
pub(crate) struct ThroughPgBouncer;

impl Way for ThroughPgBouncer {
    fn url(schema: &TestSchema) -> String {
        schema.url_through_pgbouncer()
    }
}

/// There is but one connection for all that is no append.
#[derive(Debug)]
pub(crate) struct SingleConnection;

impl Way for SingleConnection {
    fn url(schema: &TestSchema) -> String {
        schema.url()
    }

    fn options() -> PostgresOptions {
        PostgresOptions {
            max_connections: 1,
            ..PostgresOptions::default()
        }
    }
}

#[async_trait::async_trait]
impl<W: Way> Fixture for SchemaBy<W> {
    async fn create() -> Self {
        Self {
            schema: TestSchema::create().await,
            way: PhantomData,
        }
    }

    async fn open(&self) -> Arc<dyn Store> {
        let store = PostgresStore::open(&W::url(&self.schema), W::options()).await;
        Arc::new(store.unwrap())
    }
}

#[async_trait::async_trait]
impl<W: Way> Database for SchemaBy<W> {
    type Connection = PgConnection;

    const INDEXES: &'static str =
        "SELECT indexname::text FROM pg_indexes WHERE schemaname = current_schema()";

    async fn connect(&self) -> PgConnection {
        let url = std::env::var(URL_VARIABLE).unwrap();
        let options: PgConnectOptions = url.parse().unwrap();
        let options = options.options([("search_path", self.schema.name())]);
        PgConnection::connect_with(&options).await.unwrap()
    }

    async fn execute(connection: &mut PgConnection, statements: &'static str) {
        sqlx::raw_sql(statements).execute(connection).await.unwrap();
    }

    async fn query(connection: &mut PgConnection, statement: &'static str) -> Vec<String> {
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
        let schemas = "SELECT nspname::text FROM pg_namespace
                        WHERE starts_with(nspname, current_schema() || '_re')";
        Self::query(&mut self.connect().await, schemas).await.len()
    }

    async fn lose_rebuild(&self) {
        let lost = "DO $$ BEGIN
            EXECUTE format('DROP SCHEMA %I CASCADE', current_schema() || '_rebuild_totals');
        END $$";
        Self::execute(&mut self.connect().await, lost).await;
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
                Ok(())
            }
            AccountEvent::Cursed { owner } => {
                sqlx::query("INSERT INTO movements (owner) VALUES ($1)")
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
