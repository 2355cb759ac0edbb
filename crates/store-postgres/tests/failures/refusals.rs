//! What the server refuses, and that the store says so, in time, and goes on when it can.

use annals_core::{Append, AppendError, Appended, EventStore as _, StoreError, StoreErrorKind};
use annals_postgres::{PostgresOptions, PostgresStore};
use annals_testing::postgres::Cluster;
use sqlx::{Connection as _, PgConnection};
use tokio::time::timeout;

use crate::accounts::{SOON, deposit, head, open};

/// An append, which must answer in time, whatever it answers.
async fn append(store: &PostgresStore, append: Append) -> Result<Appended, AppendError> {
    let answered = timeout(SOON, store.append(append)).await;
    answered.expect("an append does not hang")
}

async fn try_to_open(cluster: &Cluster) -> Result<PostgresStore, StoreError> {
    let url = cluster.url();
    let opening = PostgresStore::open(&url, PostgresOptions::default());
    let opened = timeout(SOON, opening).await;
    opened.expect("opening does not hang")
}

/// The kind of the store's error, and whether it may pass by itself.
fn refusal(result: Result<Appended, AppendError>) -> (StoreErrorKind, bool) {
    match result {
        Err(AppendError::Store(error) | AppendError::Unknown(error)) => {
            (error.kind(), error.is_transient())
        }
        other => panic!("it is not the store that fails: {other:?}"),
    }
}

/// Appends until it succeeds, since a refusal may still be on its way.
async fn recovers(store: &PostgresStore, number: u64) {
    let succeeds = async { while append(store, deposit(1, 1, number)).await.is_err() {} };
    let succeeded = timeout(SOON, succeeds).await;
    succeeded.expect("the store soon goes on by itself");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_is_away_is_a_transient_error_until_it_is_back() {
    let mut cluster = Cluster::create();
    let store = open(&cluster.url()).await;
    recovers(&store, 1).await;
    cluster.restart();
    recovers(&store, 2).await;
    cluster.stop();
    let refused = refusal(append(&store, deposit(1, 1, 3)).await);
    assert_eq!(refused, (StoreErrorKind::Unavailable, true));
    let read = timeout(SOON, store.head())
        .await
        .expect("a read does not hang");
    assert!(read.expect_err("nobody answers").is_transient());
    let opened = try_to_open(&cluster).await;
    assert!(opened.expect_err("nobody answers").is_transient());
    cluster.start();
    recovers(&store, 3).await;
    assert_eq!(head(&store).await.get(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_takes_no_writes_is_read_only_and_can_be_read() {
    let cluster = Cluster::create();
    let store = open(&cluster.url()).await;
    recovers(&store, 1).await;
    let read_only = |on: &str| {
        cluster.sql(&format!(
            "ALTER DATABASE annals SET default_transaction_read_only = {on}"
        ));
        // Sessions have had the old setting from their beginning.
        cluster.sql_in("postgres", TERMINATE);
    };
    read_only("on");
    let refused = loop {
        // The first ones may find that their session was ended.
        match refusal(append(&store, deposit(1, 1, 2)).await) {
            (StoreErrorKind::Unavailable, _) => {}
            (kind, _) => break kind,
        }
    };
    assert_eq!(refused, StoreErrorKind::ReadOnly);
    assert_eq!(head(&store).await.get(), 1);
    cluster.sql_in(
        "postgres",
        "ALTER DATABASE annals RESET default_transaction_read_only",
    );
    cluster.sql_in("postgres", TERMINATE);
    recovers(&store, 2).await;
    assert_eq!(head(&store).await.get(), 2);
}

const TERMINATE: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
    WHERE datname = 'annals' AND pid <> pg_backend_pid()";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_without_connections_to_spare_is_busy_until_there_are() {
    let cluster = Cluster::with_settings(&[
        "max_connections = 15",
        "superuser_reserved_connections = 0",
        "max_wal_senders = 0",
    ]);
    let store = open(&cluster.url()).await;
    recovers(&store, 1).await;
    let mut others = Vec::new();
    while let Ok(connection) = PgConnection::connect(&cluster.url()).await {
        others.push(connection);
    }
    let opened = try_to_open(&cluster).await;
    let error = opened.expect_err("there is no connection");
    assert_eq!(
        (error.kind(), error.is_transient()),
        (StoreErrorKind::Busy, true)
    );
    // Whoever has a connection goes on.
    recovers(&store, 2).await;
    drop(others);
    let again = async {
        while PostgresStore::open(&cluster.url(), PostgresOptions::default())
            .await
            .is_err()
        {}
    };
    timeout(SOON, again)
        .await
        .expect("there are connections again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn time_outs_of_the_server_are_transient_and_lose_nothing() {
    let cluster = Cluster::create();
    open(&cluster.url()).await.close().await;
    cluster.sql("ALTER DATABASE annals SET idle_in_transaction_session_timeout = '1ms'");
    cluster.sql("ALTER DATABASE annals SET statement_timeout = '3ms'");
    let store = open(&cluster.url()).await;
    for number in 0..100 {
        recovers(&store, number).await;
    }
    // Whoever waits for a transaction that does not end is told so.
    let mut other = PgConnection::connect(&cluster.url())
        .await
        .expect("it connects");
    let settings = "SET idle_in_transaction_session_timeout = 0; SET statement_timeout = 0";
    let set = sqlx::raw_sql(settings).execute(&mut other).await;
    set.expect("they can be set");
    let mut transaction = other.begin().await.expect("it begins");
    let appended = store.append_in(&mut transaction, deposit(1, 9, 1)).await;
    appended.expect("an append succeeds");
    let refused = refusal(append(&store, deposit(1, 1, 100)).await);
    assert_eq!(refused, (StoreErrorKind::Busy, true));
    transaction.rollback().await.expect("it rolls back");
    recovers(&store, 100).await;
    assert_eq!(head(&store).await.get(), 101);
}
