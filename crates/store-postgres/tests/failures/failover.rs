//! Another server takes the first one's place, with an older log or with the same.

use std::time::Instant;

use annals_core::{EventStore as _, LogRead, ProjectionState, ProjectionStore as _};
use annals_postgres::PostgresStore;
use annals_testing::{
    postgres::{Cluster, Proxy},
    processes::check,
};
use tokio::time::{sleep, timeout};

use crate::accounts::{
    RESUMED_WITHIN, SOON, caught_up, check_rows, deposit, differs, fold, head, open,
    rows_complaint, rows_fit, settle, start,
};

async fn deposits(store: &PostgresStore, seed: u64, numbers: std::ops::Range<u64>) {
    for number in numbers {
        settle(store, deposit(seed, number % 5, number)).await;
    }
}

/// The checkpoint of a read model stands in the same database as the log, so both fall back
/// together: a node that goes on running must notice, and then fold what is there now.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_node_goes_on_with_the_log_of_a_promoted_standby_that_was_behind() {
    let mut primary = Cluster::create();
    let proxy = Proxy::before(primary.port()).await;
    let store = open(&primary.url_at(proxy.port())).await;
    let app = start(&store).await;
    deposits(&store, 1, 0..20).await;
    caught_up(&app, head(&store).await).await;
    let standby = primary.standby();
    standby.cut_off();
    deposits(&store, 1, 20..50).await;
    caught_up(&app, head(&store).await).await;
    let lost = check::read_log(&store).await;

    primary.kill9();
    standby.promote();
    proxy.lead_to(standby.port());
    let promoted = Instant::now();
    deposits(&store, 2, 100..105).await;
    assert_eq!(
        head(&store).await.get(),
        25,
        "30 deposits were never replicated"
    );
    rows_fit(&app, &store).await;
    let resumed = promoted.elapsed();
    println!("appended and up to date {resumed:.1?} after the failover");
    assert!(resumed < RESUMED_WITHIN, "{resumed:?}");
    deposits(&store, 2, 105..160).await;
    rows_fit(&app, &store).await;

    // Whoever remembers but a position skips what came in the place of what was lost, and the
    // same comparison says so.
    let rest = LogRead::after(lost.last().expect("events").position, 1_000);
    let rest = store.read_log(rest).await.unwrap().events;
    let naive = fold(lost.iter().chain(&rest));
    let log = check::read_log(&store).await;
    assert!(differs(&naive, &fold(&log)).is_some());
    app.shutdown().await;
}

/// As when only the log is restored, or the read models stand elsewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_checkpoint_that_a_restored_log_does_not_have_halts_the_projection() {
    let mut cluster = Cluster::create();
    deposits(&open(&cluster.url()).await, 1, 0..20).await;
    let backup = cluster.base_backup();
    let kept = read_models_of_fifty(&cluster).await;
    cluster.stop();
    cluster.restore(backup);
    cluster.start();
    halts(&cluster, &kept).await;
}

/// The same where a standby that was behind takes the server's place.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_checkpoint_that_a_promoted_log_does_not_have_halts_the_projection() {
    let primary = Cluster::create();
    deposits(&open(&primary.url()).await, 1, 0..20).await;
    let standby = primary.standby();
    standby.cut_off();
    let kept = read_models_of_fifty(&primary).await;
    drop(primary);
    standby.promote();
    halts(&standby, &kept).await;
}

/// Goes on to fifty deposits, and answers the read models that show them.
async fn read_models_of_fifty(cluster: &Cluster) -> Vec<u8> {
    let store = open(&cluster.url()).await;
    deposits(&store, 1, 20..50).await;
    let app = start(&store).await;
    caught_up(&app, head(&store).await).await;
    app.shutdown().await;
    let tables = ["annals_projections", "balance"].map(|table| format!("annals.{table}"));
    cluster.dump_data(&tables)
}

/// A log of twenty deposits under read models that have seen fifty.
async fn halts(cluster: &Cluster, kept: &[u8]) {
    let store = open(&cluster.url()).await;
    // The table of a read model comes into being when it is registered.
    start(&store).await.shutdown().await;
    cluster.sql("TRUNCATE annals.annals_projections, annals.balance");
    cluster.load(kept);
    let store = open(&cluster.url()).await;
    deposits(&store, 2, 100..150).await;
    let app = start(&store).await;
    let diverged = timeout(SOON, async {
        loop {
            let record = store.projection("balance").await.unwrap().unwrap();
            if record.state == ProjectionState::Diverged {
                return record;
            }
            sleep(std::time::Duration::from_millis(20)).await;
        }
    });
    let record = diverged.await.expect("the projection halts");
    println!("{:?}", record.failure);
    assert_eq!(record.checkpoint.position.get(), 50, "it has not moved");
    app.shutdown().await;

    // A checkpoint that is but a position goes on, and its rows are found to be wrong.
    cluster.sql("UPDATE annals.annals_projections SET event_id = NULL, state = 'running'");
    let store = open(&cluster.url()).await;
    let app = start(&store).await;
    caught_up(&app, head(&store).await).await;
    let log = check::read_log(&store).await;
    assert!(rows_complaint(&app, &log).await.is_some());
    app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_dump_goes_on_working_in_a_fresh_cluster() {
    let first = Cluster::create();
    let store = open(&first.url()).await;
    let app = start(&store).await;
    deposits(&store, 1, 0..40).await;
    caught_up(&app, head(&store).await).await;
    let log = check::read_log(&store).await;
    app.shutdown().await;
    first.sql(AGE);
    NAIVE
        .iter()
        .for_each(|statement| drop(first.sql(statement)));
    assert_eq!(first.sql(BY_TRANSACTIONS), "40");
    let dump = first.dump();
    drop(first);

    let second = Cluster::create();
    second.load(&dump);
    let store = open(&second.url()).await;
    assert_eq!(check::read_log(&store).await, log);
    let app = start(&store).await;
    deposits(&store, 1, 39..80).await;
    assert_eq!(
        head(&store).await.get(),
        80,
        "the repeated one is recognised"
    );
    caught_up(&app, head(&store).await).await;
    check_rows(&app, &check::read_log(&store).await).await;
    app.shutdown().await;

    // A log whose readers go by the numbers of transactions is empty to them from here on: they
    // begin anew in a new cluster.
    assert_eq!(second.sql(BY_TRANSACTIONS), "0");
}

/// A log of forty events, by as many transactions.
const NAIVE: [&str; 2] = [
    "CREATE TABLE naive (position bigserial, \
     transaction xid8 NOT NULL DEFAULT pg_current_xact_id())",
    "DO $$ BEGIN FOR number IN 1..40 LOOP INSERT INTO naive DEFAULT VALUES; COMMIT; END LOOP; END $$",
];
/// What its readers see: the transactions before the oldest one that is still open.
const BY_TRANSACTIONS: &str =
    "SELECT count(*) FROM naive WHERE transaction < pg_snapshot_xmin(pg_current_snapshot())";
/// The first cluster is an old one, with many transactions behind it.
const AGE: &str = "DO $$ BEGIN FOR number IN 1..5000 LOOP PERFORM pg_current_xact_id(); COMMIT; \
    END LOOP; END $$";
