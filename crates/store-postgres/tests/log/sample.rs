//! Stores and appends to test with.

use annals_core::{
    Append, CausationId, CorrelationId, EventId, EventStore as _, EventType, Expected, LogRead,
    Metadata, NewEvent, Position, StreamName, Tag,
};
use annals_postgres::{PostgresOptions, PostgresStore};
use annals_testing::postgres::TestSchema;
use chrono::{DateTime, Utc};
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

pub(crate) async fn open(schema: &TestSchema) -> PostgresStore {
    open_with(schema, PostgresOptions::default()).await
}

pub(crate) async fn open_with(schema: &TestSchema, options: PostgresOptions) -> PostgresStore {
    let store = PostgresStore::open(&schema.url(), options).await;
    store.expect("the store opens")
}

/// A connection that knows nothing of the store, with the store's schema on its search path.
pub(crate) async fn plain(schema: &TestSchema) -> PgConnection {
    let url = schema.url();
    let (server, _) = url.rsplit_once("schema=").expect("a schema in the URL");
    let mut conn = PgConnection::connect(server.trim_end_matches(['?', '&']))
        .await
        .expect("a connection");
    let path = format!("SET search_path = {}", schema.name());
    run(&mut conn, path).await;
    conn
}

pub(crate) async fn run(conn: &mut PgConnection, statement: impl Into<String>) {
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement.into()))
        .execute(conn)
        .await
        .expect("the statement runs");
}

pub(crate) fn event(payload: &[u8]) -> NewEvent {
    let cause = Uuid::now_v7();
    NewEvent {
        id: EventId::new(Uuid::now_v7()),
        event_type: EventType::new("account.deposited").unwrap(),
        schema_version: 1,
        payload: payload.to_vec(),
        tags: vec![Tag::parse("owner:alice").unwrap()],
        metadata: Metadata::caused_by(CausationId::new(cause), CorrelationId::new(cause)),
    }
}

pub(crate) fn stream(name: &str) -> StreamName {
    StreamName::parse(name).unwrap()
}

pub(crate) fn append(name: &str, expected: Expected, payloads: &[&[u8]]) -> Append {
    let events = payloads.iter().map(|payload| event(payload)).collect();
    let time: DateTime<Utc> = "2024-02-03T04:05:06.000789Z".parse().unwrap();
    Append::to(stream(name), expected, events, time)
}

/// Position and version of every event, in the order of the log.
pub(crate) async fn places(store: &PostgresStore) -> Vec<(u64, u64)> {
    let page = store
        .read_log(LogRead::after(Position::START, 10_000))
        .await;
    let events = page.expect("the log can be read").events;
    events
        .iter()
        .map(|event| (event.position.get(), event.version.get()))
        .collect()
}

/// How many sessions hold a transaction open without doing anything.
pub(crate) async fn idle_in_transaction(conn: &mut PgConnection, name: &str) -> i64 {
    sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_activity \
         WHERE application_name = $1 AND state LIKE 'idle in transaction%'",
    )
    .bind(name)
    .fetch_one(conn)
    .await
    .expect("the sessions can be counted")
}
