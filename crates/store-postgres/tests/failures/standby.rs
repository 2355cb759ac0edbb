//! A standby can be read, and says why it can't be written; work goes on when it is promoted.

use std::{error::Error, sync::Arc, time::Instant};

use annals_core::{
    AppendError, EventStore as _, ProjectionState, ProjectionStore as _, StoreError, StoreErrorKind,
};
use annals_postgres::{PostgresOptions, PostgresStore};
use annals_runtime::{Builder, StartError};
use annals_testing::{
    postgres::{Cluster, Proxy},
    processes::check,
};
use sqlx::{Connection as _, PgConnection};
use tokio::time::{sleep, timeout};

use crate::accounts::{
    Balance, RESUMED_WITHIN, SOON, caught_up, check_rows, deposit, head, open, settle, start,
};

/// Checks that an error tells a standby, and answers nothing else.
fn tells_a_standby(error: &StoreError) {
    assert_eq!(error.kind(), StoreErrorKind::ReadOnly, "{error:?}");
    assert!(error.is_transient(), "a promotion ends it: {error:?}");
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    assert!(cause.contains("a standby"), "{error}: {cause}");
}

async fn append(store: &PostgresStore, number: u64) -> Result<(), StoreError> {
    let appended = timeout(SOON, store.append(deposit(1, 1, number))).await;
    match appended.expect("an append does not hang") {
        Ok(_) => Ok(()),
        Err(AppendError::Store(error) | AppendError::Unknown(error)) => Err(error),
        Err(other) => panic!("it is not the store that fails: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_standby_can_be_read_and_says_why_it_takes_no_writes() {
    let primary = Cluster::create();
    let store = open(&primary.url()).await;
    let app = start(&store).await;
    let last = settle(&store, deposit(1, 1, 1)).await;
    caught_up(&app, last.position).await;
    let standby = primary.standby();

    let reading = open(&standby.url()).await;
    let log = check::read_log(&reading).await;
    assert_eq!(log, check::read_log(&store).await);
    let refused = append(&reading, 2).await;
    tells_a_standby(&refused.expect_err("a standby takes no writes"));
    let builder = || Builder::new(Arc::new(reading.clone())).projection::<Balance>();
    match builder().start().await {
        Err(StartError::Store(error)) => tells_a_standby(&error),
        other => panic!("a node does not start on a standby: {other:?}"),
    }
    let tool = builder().connect().await.expect("tools can look");
    check_rows(&tool, &log).await;
    let elsewhere = PostgresOptions {
        schema: "elsewhere".to_owned(),
        ..PostgresOptions::default()
    };
    let opened = PostgresStore::open(&standby.url(), elsewhere).await;
    tells_a_standby(&opened.expect_err("there are no tables, and none can be made"));
    tool.shutdown().await;
    app.shutdown().await;
}

/// As when a name is moved to the standby before it is promoted.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_node_that_is_led_to_a_standby_goes_on_when_it_is_promoted() {
    let mut primary = Cluster::create();
    let proxy = Proxy::before(primary.port()).await;
    let store = open(&primary.url_at(proxy.port())).await;
    let app = start(&store).await;
    let first = settle(&store, deposit(1, 1, 1)).await;
    caught_up(&app, first.position).await;
    let standby = primary.standby();
    // The second deposit gets to the standby, but not into the read model.
    let mut other = PgConnection::connect(&primary.url()).await.unwrap();
    let lock = sqlx::raw_sql("BEGIN; LOCK TABLE annals.balance IN EXCLUSIVE MODE");
    lock.execute(&mut other).await.unwrap();
    let last = settle(&store, deposit(1, 1, 2)).await;
    let log = check::read_log(&store).await;
    let copy = open(&standby.url()).await;
    let replayed = async { while head(&copy).await < last.position {} };
    let replayed = timeout(SOON, replayed).await;
    replayed.expect("the standby follows");

    primary.kill9();
    proxy.lead_to(standby.port());
    let refused = async {
        loop {
            match append(&store, 3).await {
                Err(error) if error.kind() == StoreErrorKind::ReadOnly => return error,
                // The old connections are found to be broken first.
                Err(error) => assert!(error.is_transient(), "{error:?}"),
                Ok(()) => panic!("a standby takes no writes"),
            }
        }
    };
    tells_a_standby(&timeout(SOON, refused).await.expect("it is told"));
    assert_eq!(check::read_log(&store).await, log);
    let waits = async {
        let tells = |problem: &String| problem.contains("a standby");
        while !app.projections().health()[0]
            .problem
            .as_ref()
            .is_some_and(tells)
        {
            sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, waits)
        .await
        .expect("the projection says why it does not go on");

    standby.promote();
    let promoted = Instant::now();
    let next = settle(&store, deposit(1, 1, 3)).await;
    caught_up(&app, next.position).await;
    let resumed = promoted.elapsed();
    println!("appended and up to date {resumed:.1?} after the promotion");
    assert!(resumed < RESUMED_WITHIN, "{resumed:?}");
    assert_eq!(
        (next.position.get(), head(&store).await),
        (3, next.position)
    );
    let record = store.projection("balance").await.unwrap().unwrap();
    assert_eq!(record.state, ProjectionState::Running);
    check_rows(&app, &check::read_log(&store).await).await;
    app.shutdown().await;
}
