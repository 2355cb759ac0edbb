//! A network that stalls between a node and the server: nobody is told, and nothing passes.

use std::time::{Duration, Instant};

use annals_core::ProjectionStore as _;
use annals_postgres::PostgresStore;
use annals_runtime::App;
use annals_testing::{
    postgres::{Cluster, Proxy},
    processes::check,
};
use sqlx::{Connection as _, PgConnection};
use tokio::time::{sleep, timeout};

use crate::accounts::{
    SOON, TAKEN_OVER_WITHIN, caught_up, check_rows, deposit, open, rows_complaint, settle, start,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_node_behind_a_stalled_network_is_followed() {
    let cluster = Cluster::create();
    let proxy = Proxy::before(cluster.port()).await;
    let far = open(&cluster.url_at(proxy.port())).await;
    let far_app = start(&far).await;
    let near = open(&cluster.url()).await;
    let first = settle(&near, deposit(1, 1, 1)).await;
    caught_up(&far_app, first.position).await;
    let near_app = start(&near).await;
    let holder = owner(&near).await;
    stands_by(&near_app).await;
    assert_eq!(
        near_app.projections().health()[0].held_by,
        Some(holder.clone())
    );

    // Beside it, one that neither leases nor fences counts the second deposit as well.
    let mut naive = PgConnection::connect(&cluster.url_at(proxy.port()))
        .await
        .unwrap();
    proxy.stall();
    let naive = tokio::spawn(async move {
        let update = "UPDATE annals.balance SET deposits = deposits + 1, sum = sum + 2";
        let update = sqlx::raw_sql(update).execute(&mut naive).await;
        update.map(|done| done.rows_affected())
    });
    let stalled = Instant::now();
    let second = settle(&near, deposit(1, 1, 2)).await;
    caught_up(&near_app, second.position).await;
    let taken = stalled.elapsed();
    assert_ne!(owner(&near).await, holder);
    println!("taken over within {taken:.1?} of the network's stall");
    assert!(taken < TAKEN_OVER_WITHIN, "{taken:?}");

    // Nothing stops the naive one when it comes back, and the comparison finds what it did.
    proxy.flow();
    assert_eq!(naive.await.unwrap().unwrap(), 1);
    let log = check::read_log(&near).await;
    assert!(rows_complaint(&near_app, &log).await.is_some());
    cluster.sql("UPDATE annals.balance SET deposits = deposits - 1, sum = sum - 2");

    // The node that comes back finds its place taken, and the rows are counted once.
    let third = settle(&near, deposit(1, 1, 3)).await;
    caught_up(&near_app, third.position).await;
    stands_by(&far_app).await;
    check_rows(&near_app, &check::read_log(&near).await).await;
    far_app.shutdown().await;
    near_app.shutdown().await;
}

/// Waits until the node notices that another one has the projection.
async fn stands_by(app: &App) {
    let noticed = timeout(SOON, async {
        while app.projections().health()[0].held_by.is_none() {
            sleep(Duration::from_millis(20)).await;
        }
    });
    noticed
        .await
        .expect("the node notices that its place is taken");
}

async fn owner(store: &PostgresStore) -> String {
    let record = store.projection("balance").await;
    let record = record.expect("it can be read").expect("it is registered");
    record.owner.expect("somebody runs it")
}
