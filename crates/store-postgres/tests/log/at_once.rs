//! Batches that are one statement.

use std::time::Duration;

use annals_core::{EventStore as _, Expected};
use annals_postgres::{PostgresOptions, PostgresStore};
use annals_testing::postgres::Cluster;
use tokio::time::{sleep, timeout};

use crate::sample::append;

const APPENDS: usize = 40;

/// How often a store that makes so many appends tries to do so with one statement.
async fn tries(cluster: &Cluster) -> usize {
    let calls = || {
        let calls = "SELECT coalesce(sum(calls), 0) FROM pg_stat_user_functions \
            WHERE funcname = 'append_at_once'";
        cluster.sql(calls).parse::<usize>().unwrap()
    };
    let before = calls();
    let store = PostgresStore::open(&cluster.url(), PostgresOptions::default())
        .await
        .unwrap();
    for _ in 0..APPENDS {
        store
            .append(append("thing-1", Expected::Any, &[b"1"]))
            .await
            .unwrap();
    }
    // A session counts until it ends.
    store.close().await;
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'annals'";
    let counted = async {
        while cluster.sql(sessions) != "0" || calls() == before {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(60), counted)
        .await
        .expect("the sessions end");
    calls() - before
}

/// It comes to nothing under the append lock, where everybody waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inline_projection_that_another_program_left_is_not_run_into_again_and_again() {
    let cluster = Cluster::with_settings(&["track_functions = all"]);
    let all = tries(&cluster).await;
    assert!(
        all > APPENDS / 2,
        "{all} of {APPENDS}: nothing else is in the way"
    );
    cluster.sql(
        "INSERT INTO annals.annals_projections (name, state, inline, fingerprint, updated_at) \
         VALUES ('left', 'paused', true, '1', now())",
    );
    let some = tries(&cluster).await;
    assert!((1..APPENDS / 2).contains(&some), "{some} of {APPENDS}");
}
