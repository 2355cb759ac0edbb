//! A server that is away for longer than anybody waits for it, and connections that go silent.

use std::{
    error::Error as _,
    time::{Duration, Instant},
};

use annals_core::{EventStore as _, Position, ProjectionStore as _, StoreErrorKind};
use annals_postgres::{PostgresOptions, PostgresStore};
use annals_testing::{
    postgres::{Cluster, Pooler, Proxy, TestSchema},
    processes::check,
};
use sqlx::{Connection as _, PgConnection};
use tokio::time::{sleep, timeout};

use crate::accounts::{SOON, caught_up, check_rows, deposit, open, settle, start};

/// How soon projections go on once the server is back.
const BACK: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn projections_go_on_soon_after_a_long_outage() {
    let mut cluster = Cluster::create();
    let store = open(&cluster.url()).await;
    let app = start(&store).await;
    let first = settle(&store, deposit(1, 1, 1)).await;
    caught_up(&app, first.position).await;
    cluster.stop();
    // How long an outage is shows in how rarely somebody still looks whether it has ended.
    sleep(Duration::from_millis(16_400)).await;
    cluster.start();
    let back = Instant::now();
    let second = settle(&store, deposit(1, 1, 2)).await;
    caught_up(&app, second.position).await;
    let taken = back.elapsed();
    println!("caught up {taken:.1?} after the server's return");
    assert!(taken < BACK, "{taken:?}");
    app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn projections_go_on_soon_after_an_outage_behind_pgbouncer() {
    let mut cluster = Cluster::create();
    let pooler = Pooler::before(&cluster);
    let url = format!("{}?pgbouncer=true", cluster.url_at(pooler.port()));
    let store = open(&url).await;
    let app = start(&store).await;
    let first = settle(&store, deposit(1, 1, 1)).await;
    caught_up(&app, first.position).await;
    for number in 2..=3 {
        cluster.kill9();
        // It refuses everybody meanwhile, and says so in its own words.
        let error = timeout(SOON, store.head()).await;
        let error = error.expect("a read does not hang");
        let error = error.expect_err("nobody answers");
        assert!(error.is_transient(), "{error:?}");
        sleep(Duration::from_secs(6)).await;
        cluster.start();
        let back = Instant::now();
        let appended = settle(&store, deposit(1, 1, number)).await;
        caught_up(&app, appended.position).await;
        let taken = back.elapsed();
        println!("caught up {taken:.1?} after the return of the server behind PgBouncer");
        assert!(taken < BACK, "{taken:?}");
    }
    check_rows(&app, &check::read_log(&store).await).await;
    app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_read_of_a_server_that_is_away_says_so_and_not_that_it_is_busy() {
    let mut cluster = Cluster::create();
    let store = open(&cluster.url()).await;
    cluster.stop();
    let read = timeout(SOON, store.head()).await;
    let error = read
        .expect("a read does not hang")
        .expect_err("nobody answers");
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_gets_no_turn_at_the_connections_is_told_that_they_are_busy() {
    let schema = TestSchema::create().await;
    let options = PostgresOptions {
        max_connections: 1,
        acquire_timeout: Duration::from_millis(100),
        ..PostgresOptions::default()
    };
    let store = PostgresStore::open(&schema.url(), options).await.unwrap();
    let mut other = PgConnection::connect(&schema.url()).await.unwrap();
    let mut locks = other.begin().await.unwrap();
    let lock = format!("LOCK TABLE {}.annals_projections", schema.name());
    sqlx::raw_sql(sqlx::AssertSqlSafe(lock))
        .execute(&mut *locks)
        .await
        .unwrap();
    let waits = store.clone();
    let waits = tokio::spawn(async move { waits.projections().await });
    // Until the one connection is in use.
    let busy = timeout(SOON, async {
        loop {
            if let Err(error) = store.head().await {
                return error;
            }
        }
    });
    let error = busy.await.expect("the connection is in use");
    assert_eq!(error.kind(), StoreErrorKind::Busy, "{error:?}");
    locks.rollback().await.unwrap();
    assert_eq!(waits.await.unwrap().unwrap(), []);
    assert_eq!(store.head().await.unwrap(), Position::START);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_password_that_is_being_changed_stops_no_projection() {
    let cluster = Cluster::create();
    cluster.sql("CREATE ROLE app LOGIN PASSWORD 'old'; GRANT CREATE ON DATABASE annals TO app");
    let url = format!("postgres://app:old@127.0.0.1:{}/annals", cluster.port());
    let store = open(&url).await;
    let app = start(&store).await;
    let first = settle(&store, deposit(1, 1, 1)).await;
    caught_up(&app, first.position).await;
    cluster.sql("ALTER ROLE app PASSWORD 'new'");
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'";
    // Others may be let in still, as they are connected.
    let refused = timeout(SOON, async {
        loop {
            cluster.sql(end);
            match store.head().await {
                Ok(_) => {}
                Err(error) => match error.source().map(ToString::to_string) {
                    Some(cause) if cause.contains("password") => return error,
                    _ => {}
                },
            }
        }
    });
    let error = refused.await.expect("it is not let in");
    assert!(error.is_transient(), "{error:?}");
    // Whoever opens the store is told at once what is wrong.
    let opened = PostgresStore::open(&url, PostgresOptions::default()).await;
    let error = opened.expect_err("the password is wrong");
    assert_eq!(error.kind(), StoreErrorKind::Invalid, "{error:?}");
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    assert!(cause.contains("check the user and the password"), "{cause}");
    cluster.sql("ALTER ROLE app PASSWORD 'old'");
    let second = settle(&store, deposit(1, 1, 2)).await;
    caught_up(&app, second.position).await;
    app.shutdown().await;
}

/// As when a host dies, and another one takes its address over: what the node has said has been
/// acknowledged, so nothing ever tells it that nobody answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_node_goes_on_by_itself_after_its_connections_went_silent() {
    let cluster = Cluster::create();
    let proxy = Proxy::before(cluster.port()).await;
    let far = open(&cluster.url_at(proxy.port())).await;
    let app = start(&far).await;
    let near = open(&cluster.url()).await;
    let first = settle(&near, deposit(1, 1, 1)).await;
    caught_up(&app, first.position).await;
    proxy.forsake();
    let silent = Instant::now();
    let second = settle(&near, deposit(1, 1, 2)).await;
    caught_up(&app, second.position).await;
    println!(
        "caught up {:.1?} after the connections went silent",
        silent.elapsed()
    );
    check_rows(
        &app,
        &near
            .read_log(annals_core::LogRead::after(Position::START, 10))
            .await
            .unwrap()
            .events,
    )
    .await;
    app.shutdown().await;
    timeout(SOON, far.close())
        .await
        .expect("closing does not wait for ever");
}

/// What is given up on this side waits on for the lock on the other, if nobody sees to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn reads_that_a_lock_keeps_waiting_leave_no_sessions_behind() {
    const CONNECTIONS: u32 = 3;
    // For appends, and to listen.
    const OTHERS: usize = 2;
    let cluster = Cluster::create();
    let options = PostgresOptions {
        max_connections: CONNECTIONS,
        ..PostgresOptions::default()
    };
    let store = PostgresStore::open(&cluster.url(), options).await.unwrap();
    let mut other = PgConnection::connect(&cluster.url()).await.unwrap();
    let mut locks = other.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE annals.events")
        .execute(&mut *locks)
        .await
        .unwrap();
    // Longer than two reads may take, one after the other.
    let end = tokio::time::Instant::now() + Duration::from_secs(25);
    let readers: Vec<_> = (0..2 * CONNECTIONS)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                while tokio::time::Instant::now() < end {
                    let error = store.head().await.expect_err("the table is locked");
                    assert_eq!(error.kind(), StoreErrorKind::Busy, "{error:?}");
                }
            })
        })
        .collect();
    for reader in readers {
        reader.await.expect("it is told each time");
    }
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'annals'";
    let sessions: usize = cluster.sql(sessions).parse().unwrap();
    let expected = CONNECTIONS as usize + OTHERS;
    assert!(sessions <= expected, "{sessions} sessions of {expected}");
    locks.rollback().await.unwrap();
    assert_eq!(store.head().await.unwrap(), Position::START);
    store.close().await;
}
