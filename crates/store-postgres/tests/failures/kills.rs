//! The server is killed under load, again and again.

use std::time::{Duration, Instant};

use annals_testing::{postgres::Cluster, processes::check, seed::Seed};
use tokio::time::sleep;

use crate::{
    accounts::{RESUMED_WITHIN, caught_up, check_rows, deposit, open, settle, start},
    ledger::{Load, complaint},
};

const KILLS: usize = 15;
const WRITERS: u64 = 16;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_killed_server_loses_and_doubles_nothing() {
    let started = Instant::now();
    let mut seed = Seed::printed();
    let ids = seed.number();
    let mut cluster = Cluster::create();
    let store = open(&cluster.url()).await;
    let app = start(&store).await;
    let load = Load::begin(&store, ids, WRITERS);
    let mut slowest = Duration::ZERO;
    for kill in 0..KILLS as u64 {
        sleep(Duration::from_millis(300 + seed.below(500) as u64)).await;
        cluster.kill9();
        cluster.start();
        let back = Instant::now();
        let appended = settle(&store, deposit(ids, WRITERS, kill)).await;
        caught_up(&app, appended.position).await;
        slowest = slowest.max(back.elapsed());
    }
    let (acked, repeated) = load.end().await;
    let log = check::read_log(&store).await;
    assert_eq!(complaint(&log, ids, &acked), None);
    // Without one, or with one twice, the same comparison complains.
    let lost: Vec<_> = log[..log.len() - 20].to_vec();
    assert!(complaint(&lost, ids, &acked).is_some());
    let doubled: Vec<_> = log.iter().chain(&log[..1]).cloned().collect();
    assert!(complaint(&doubled, ids, &acked).is_some());
    caught_up(&app, log.last().expect("events").position).await;
    check_rows(&app, &log).await;
    app.shutdown().await;
    println!(
        "{KILLS} kills, {} deposits, {repeated} of them committed but not acknowledged; the read \
         model was up to date at most {slowest:.1?} after the server's return; {:.1?}",
        log.len(),
        started.elapsed()
    );
    assert!(slowest < RESUMED_WITHIN, "{slowest:?}");
}
