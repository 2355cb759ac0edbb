//! Another server takes the first one's place, with an older log or with the same.

use annals_core::{ProjectionState, ProjectionStore as _};
use annals_postgres::PostgresStore;
use annals_testing::{
    postgres::{Cluster, Proxy},
    processes::check,
};
use tokio::time::{sleep, timeout};

use crate::accounts::{SOON, caught_up, check_rows, deposit, head, open, settle, start};

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

    primary.kill9();
    standby.promote();
    proxy.lead_to(standby.port());
    deposits(&store, 2, 100..105).await;
    assert_eq!(
        head(&store).await.get(),
        25,
        "30 deposits were never replicated"
    );
    caught_up(&app, head(&store).await).await;
    check_rows(&app, &check::read_log(&store).await).await;
    deposits(&store, 2, 105..160).await;
    caught_up(&app, head(&store).await).await;
    check_rows(&app, &check::read_log(&store).await).await;
    app.shutdown().await;
}

/// As when only the log is restored, or the read models stand elsewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_checkpoint_that_the_log_does_not_have_halts_the_projection() {
    let mut cluster = Cluster::create();
    let store = open(&cluster.url()).await;
    deposits(&store, 1, 0..20).await;
    let backup = cluster.base_backup();
    deposits(&store, 1, 20..50).await;
    let app = start(&store).await;
    caught_up(&app, head(&store).await).await;
    app.shutdown().await;
    let tables = ["annals_projections", "balance"].map(|table| format!("annals.{table}"));
    let kept = cluster.dump_data(&tables);

    cluster.stop();
    cluster.restore(backup);
    cluster.start();
    let store = open(&cluster.url()).await;
    // The table of a read model comes into being when it is registered.
    start(&store).await.shutdown().await;
    cluster.sql("TRUNCATE annals.annals_projections, annals.balance");
    cluster.load(&kept);
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
}
