//! Somebody stalls in the middle of a write, with the append lock in hand: nobody else appends
//! until the server ends their transaction.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use annals_core::{
    AppendError, EventStore as _, FailurePolicy, ProjectionError, ProjectionStore as _,
    ProjectorFactory as _, Recorded, Store, StoreErrorKind,
};
use annals_postgres::{PostgresOptions, PostgresStore, SqlProjection, inline_sql_projection};
use annals_testing::{
    postgres::{Cluster, Proxy},
    processes::check,
};
use sqlx::{Connection as _, PgConnection};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use crate::accounts::{AccountEvent, SOON, TAKEN_OVER_WITHIN, deposit, open, settle};

/// Appends within a transaction that begins with this statement, on a connection that is cut off
/// before it commits.
async fn stalls_with_the_lock(
    cluster: &Cluster,
    store: &PostgresStore,
    begin: &'static str,
) -> (Proxy, PgConnection) {
    let proxy = Proxy::before(cluster.port()).await;
    let connected = PgConnection::connect(&cluster.url_at(proxy.port())).await;
    let mut connection = connected.expect("it connects");
    let begun = sqlx::raw_sql(begin).execute(&mut connection).await;
    begun.expect("a transaction begins");
    let appended = store.append_in(&mut connection, deposit(1, 1, 1)).await;
    appended.expect("nothing is in the way");
    proxy.stall();
    (proxy, connection)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn others_append_again_when_a_users_transaction_stalls_with_the_append_lock() {
    const BEGIN: &str = "BEGIN; SET LOCAL idle_in_transaction_session_timeout = '5s'";
    let cluster = Cluster::create();
    let store = open(&cluster.url()).await;
    let (_proxy, _connection) = stalls_with_the_lock(&cluster, &store, BEGIN).await;
    let stalled = Instant::now();
    let appended = timeout(SOON, store.append(deposit(1, 2, 1))).await;
    let appended = appended
        .expect("it does not hang")
        .expect("the lock is free again");
    let waited = stalled.elapsed();
    println!("appended {waited:.1?} after the stall");
    assert!(waited < TAKEN_OVER_WITHIN, "{waited:?}");
    assert_eq!(appended.position.get(), 1, "the other's append is undone");
    store.close().await;
}

/// A control: without the setting, which the store asks of users, nobody appends.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_users_transaction_that_may_idle_for_ever_holds_everybody_up() {
    let cluster = Cluster::create();
    let options = PostgresOptions {
        lock_timeout: Duration::from_secs(2),
        ..PostgresOptions::default()
    };
    let store = PostgresStore::open(&cluster.url(), options).await;
    let store = store.expect("the store opens");
    let (proxy, mut connection) = stalls_with_the_lock(&cluster, &store, "BEGIN").await;
    let refused = timeout(SOON, store.append(deposit(1, 2, 1))).await;
    match refused.expect("it does not hang") {
        Err(AppendError::Store(error)) => assert_eq!(error.kind(), StoreErrorKind::Busy),
        other => panic!("the lock is held: {other:?}"),
    }
    proxy.flow();
    let committed = sqlx::raw_sql("COMMIT").execute(&mut connection).await;
    committed.expect("it still holds the lock");
    assert_eq!(settle(&store, deposit(1, 2, 1)).await.position.get(), 2);
    store.close().await;
}

/// Where the statements of [`Stalling`] wait, on which the append lock is held.
#[derive(Default)]
struct Gate {
    reached: Notify,
    open: Notify,
}

static GATE: OnceLock<Gate> = OnceLock::new();

/// Stops at the gate in the middle of an append.
struct Stalling;

impl SqlProjection for Stalling {
    type Event = AccountEvent;
    const NAME: &'static str = "stalling";
    const TABLES: &'static [&'static str] = &["stalling"];
    const SCHEMA: &'static str = "CREATE TABLE stalling (number bigint)";
    const ON_FAILURE: FailurePolicy = FailurePolicy::Stop;

    async fn apply(
        event: &Recorded<AccountEvent>,
        db: &mut PgConnection,
    ) -> Result<(), ProjectionError> {
        let AccountEvent::Deposited { number } = event.event;
        if number == 1 {
            let gate = GATE.get_or_init(Gate::default);
            gate.reached.notify_one();
            gate.open.notified().await;
        }
        sqlx::query("INSERT INTO stalling VALUES ($1)")
            .bind(i64::try_from(number)?)
            .execute(db)
            .await?;
        Ok(())
    }
}

/// A node is cut off in the middle of an append of its own: the store's `stall_timeout` frees the
/// others, and what became of its append can be told when the network is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn others_append_again_when_a_node_stalls_with_the_append_lock() {
    let cluster = Cluster::create();
    let proxy = Proxy::before(cluster.port()).await;
    let far = open(&cluster.url_at(proxy.port())).await;
    let near = open(&cluster.url()).await;
    for store in [&far, &near] {
        let factory = inline_sql_projection::<Stalling>();
        let registered = store.register(factory.spec(), chrono::Utc::now()).await;
        registered.expect("it is registered");
        let store: Arc<dyn Store> = Arc::new(store.clone());
        let installed = factory.install_inline(&store).await;
        installed.expect("there is nothing to take in");
    }
    let gate = GATE.get_or_init(Gate::default);
    let first = tokio::spawn({
        let far = far.clone();
        async move { settle(&far, deposit(1, 1, 1)).await }
    });
    gate.reached.notified().await;
    proxy.stall();
    gate.open.notify_one();
    let stalled = Instant::now();
    let appended = timeout(SOON, settle(&near, deposit(1, 2, 2))).await;
    let appended = appended.expect("it does not hang");
    let waited = stalled.elapsed();
    println!("appended {waited:.1?} after the stall");
    assert!(waited < TAKEN_OVER_WITHIN, "{waited:?}");
    assert_eq!(appended.position.get(), 1, "the other's append is undone");

    proxy.flow();
    // Its repeated append comes to the gate again.
    let opening = async {
        loop {
            gate.open.notify_one();
            sleep(Duration::from_millis(20)).await;
        }
    };
    let first = async {
        tokio::select! {
            first = first => first.expect("it does not panic"),
            () = opening => unreachable!("it has no end"),
        }
    };
    let first = timeout(SOON, first).await.expect("it goes on");
    assert_eq!(first.position.get(), 2);
    assert_eq!(check::read_log(&near).await.len(), 2);
    assert_eq!(cluster.sql("SELECT sum(number) FROM annals.stalling"), "3");
    far.close().await;
    near.close().await;
}
