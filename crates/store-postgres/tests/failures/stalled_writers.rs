//! A node that is stopped while it sends rows, and who takes its place.

use std::time::{Duration, Instant};

use annals_core::{Append, ProjectionStore as _, RebuildError};
use annals_postgres::PostgresStore;
use annals_runtime::{App, RebuildOptions};
use annals_testing::{
    postgres::{Cluster, Proxy},
    processes::check,
};
use tokio::time::timeout;

use crate::accounts::{Balance, SOON, caught_up, check_rows, deposit, open, settle, start};

/// How soon another node goes on in a stopped one's place.
const TAKEOVER: Duration = Duration::from_secs(10);
/// A sum that is found in what a node sends as its rows, whichever way it sends them.
const NUMBER: u64 = 0x0123_4567_89ab_cdef;
const MARKS: &[&[u8]] = &[&NUMBER.to_be_bytes()];

/// Deposits to many accounts in one append, the one with the mark among them.
fn deposits() -> Append {
    let mut all = deposit(1, 999, NUMBER);
    for account in (0..4_000).filter(|account| *account != 999) {
        all.writes.extend(deposit(1, account, 1).writes);
    }
    all
}

struct Nodes {
    _cluster: Cluster,
    proxy: Proxy,
    near: PostgresStore,
    near_app: App,
    far_app: App,
}

/// A node behind a proxy, and another one; the one that is to run the projection starts first.
async fn nodes(far_first: bool) -> Nodes {
    let cluster = Cluster::create();
    let proxy = Proxy::before(cluster.port()).await;
    let near = open(&cluster.url()).await;
    let far = open(&cluster.url_at(proxy.port())).await;
    let (first, second) = if far_first {
        (&far, &near)
    } else {
        (&near, &far)
    };
    let first = start(first).await;
    let leads = async {
        while !near.projection("balance").await.unwrap().unwrap().leased {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, leads).await.expect("it runs the projection");
    let second = start(second).await;
    let (far_app, near_app) = if far_first {
        (first, second)
    } else {
        (second, first)
    };
    Nodes {
        _cluster: cluster,
        proxy,
        near,
        near_app,
        far_app,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_node_stopped_while_it_fills_a_table_is_followed() {
    let nodes = nodes(true).await;
    let held_up = nodes.proxy.hold_up_at(MARKS);
    let appended = settle(&nodes.near, deposits()).await;
    timeout(SOON, held_up).await.expect("it sends its rows");
    nodes.proxy.stall();
    let stalled = Instant::now();
    caught_up(&nodes.near_app, appended.position).await;
    let taken = stalled.elapsed();
    println!("taken over within {taken:.1?} of the node's stop");
    assert!(taken < TAKEOVER, "{taken:?}");
    check_rows(&nodes.near_app, &check::read_log(&nodes.near).await).await;
    nodes.near_app.shutdown().await;
}

async fn a_rebuild_stopped_while_it_copies_is_followed(restart: bool) {
    let nodes = nodes(false).await;
    let appended = settle(&nodes.near, deposits()).await;
    caught_up(&nodes.near_app, appended.position).await;
    let held_up = nodes.proxy.hold_up_at(MARKS);
    let far_app = nodes.far_app;
    let stopped = tokio::spawn(async move {
        let rebuilt = far_app.projections();
        let rebuilt = rebuilt
            .rebuild("balance", RebuildOptions::default(), &mut |_| {})
            .await;
        (far_app, rebuilt)
    });
    timeout(SOON, held_up).await.expect("it copies its rows");
    nodes.proxy.stall();
    let stalled = Instant::now();
    let options = RebuildOptions {
        restart,
        ..RebuildOptions::default()
    };
    let live = async {
        // Deposits that keep coming are counted all the while, with no more than the usual wait.
        for number in 10..40 {
            let appended = settle(&nodes.near, deposit(1, 1, number)).await;
            let counted = nodes.near_app.caught_up::<Balance>(appended.position).await;
            counted.expect("live rows are not held up");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let projections = nodes.near_app.projections();
    let mut ignore = |_| {};
    let rebuild = async {
        let rebuilt = projections.rebuild("balance", options, &mut ignore).await;
        (rebuilt, stalled.elapsed())
    };
    let ((rebuilt, taken), ()) = tokio::join!(rebuild, live);
    rebuilt.expect("another node rebuilds");
    println!("rebuilt within {taken:.1?} of the node's stop");
    assert!(taken < TAKEOVER, "{taken:?}");
    check_rows(&nodes.near_app, &check::read_log(&nodes.near).await).await;
    nodes.proxy.flow();
    let (far_app, rebuilt) = timeout(SOON, stopped).await.expect("it notices").unwrap();
    assert!(
        matches!(rebuilt, Err(RebuildError::Fenced { .. })),
        "{rebuilt:?}"
    );
    far_app.shutdown().await;
    nodes.near_app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_rebuild_stopped_while_it_copies_is_resumed() {
    a_rebuild_stopped_while_it_copies_is_followed(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_rebuild_stopped_while_it_copies_is_begun_again() {
    a_rebuild_stopped_while_it_copies_is_followed(true).await;
}
