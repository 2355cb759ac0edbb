//! Batches that are one statement.

use std::time::Duration;

use annals_core::{AppendError, EventStore as _, Expected, StoreErrorKind, Version};
use annals_postgres::{PostgresOptions, PostgresStore};
use annals_testing::postgres::{Cluster, TestSchema};
use tokio::time::{sleep, timeout};

use crate::sample::{self, append};

const APPENDS: usize = 40;

async fn open(cluster: &Cluster) -> PostgresStore {
    PostgresStore::open(&cluster.url(), PostgresOptions::default())
        .await
        .unwrap()
}

/// How often a new store tries to append with one statement while it works.
async fn tries(cluster: &Cluster, work: impl AsyncFn(&PostgresStore)) -> usize {
    let calls = || {
        let calls = "SELECT coalesce(sum(calls), 0) FROM pg_stat_user_functions \
            WHERE funcname = 'append_at_once'";
        cluster.sql(calls).parse::<usize>().unwrap()
    };
    let before = calls();
    let store = open(cluster).await;
    work(&store).await;
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

async fn repeat(store: &PostgresStore) {
    for _ in 0..APPENDS {
        let append = append("thing-1", Expected::Any, &[b"1"]);
        store.append(append).await.unwrap();
    }
}

/// It comes to nothing under the append lock, where everybody waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inline_projection_that_another_program_left_is_not_run_into_again_and_again() {
    let cluster = Cluster::with_settings(&["track_functions = all"]);
    let all = tries(&cluster, repeat).await;
    assert!(
        all > APPENDS / 2,
        "{all} of {APPENDS}: nothing else is in the way"
    );
    cluster.sql(
        "INSERT INTO annals.annals_projections (name, state, inline, fingerprint, updated_at) \
         VALUES ('left', 'paused', true, '1', now())",
    );
    let some = tries(&cluster, repeat).await;
    assert!((1..APPENDS / 2).contains(&some), "{some} of {APPENDS}");
}

/// As after a start, or where there are more streams than a process remembers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_the_caller_knows_need_not_be_looked_up() {
    let cluster = Cluster::with_settings(&["track_functions = all"]);
    let append_to_all = async |store: &PostgresStore, expected| {
        for number in 0..APPENDS {
            let append = append(&format!("thing-{number}"), expected, &[b"1", b"2"]);
            store.append(append).await.unwrap();
        }
    };
    let first = tries(&cluster, async |store| {
        append_to_all(store, Expected::NoStream).await;
    });
    assert_eq!(first.await, APPENDS);
    let known = Expected::Exact(Version::new(2));
    let next = tries(&cluster, async |store| append_to_all(store, known).await);
    assert_eq!(next.await, APPENDS);
}

/// The unique index refuses a version that is too low; nothing but a look refuses one too high.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_the_caller_is_wrong_about_is_a_conflict() {
    let schema = TestSchema::create().await;
    let before = sample::open(&schema).await;
    let first = append("thing-1", Expected::NoStream, &[b"1", b"2", b"3"]);
    before.append(first).await.unwrap();
    for (stream, reached, wrong) in [
        ("thing-1", 3, [1, 2, 4, 5, u64::MAX]),
        ("thing-2", 0, [1, 2, 3, 4, u64::MAX]),
    ] {
        for wrong in wrong {
            // Which remembers nothing.
            let store = sample::open(&schema).await;
            let expected = Expected::Exact(Version::new(wrong));
            let refused = store.append(append(stream, expected, &[b"4"])).await;
            let Err(AppendError::Conflict { actual, .. }) = refused else {
                panic!("version {wrong} of {stream}: {refused:?}");
            };
            assert_eq!(actual, Version::new(reached));
            // It goes on all the same.
            let other = append("thing-3", Expected::Any, &[b"1"]);
            store.append(other).await.unwrap();
            store.close().await;
        }
    }
    let versions = [1, 2, 3].into_iter().chain(1..=10);
    let expected: Vec<_> = (1..).zip(versions).collect();
    assert_eq!(sample::places(&before).await, expected);
    before.close().await;
}

/// It waits for the log's tables before it has set anything itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_log_is_not_waited_for_longer_than_the_time_out() {
    let schema = TestSchema::create().await;
    let options = PostgresOptions {
        lock_timeout: Duration::from_secs(1),
        ..PostgresOptions::default()
    };
    let store = sample::open_with(&schema, options).await;
    let deposit = || append("thing-1", Expected::Any, &[b"1"]);
    store.append(deposit()).await.unwrap();
    let mut other = sample::plain(&schema).await;
    sample::run(
        &mut other,
        "BEGIN; LOCK TABLE events IN ACCESS EXCLUSIVE MODE",
    )
    .await;
    match store.append(deposit()).await {
        Err(AppendError::Store(error)) => assert_eq!(error.kind(), StoreErrorKind::Busy),
        other => panic!("nothing is on its way: {other:?}"),
    }
    sample::run(&mut other, "COMMIT").await;
    store.append(deposit()).await.unwrap();
    assert_eq!(sample::places(&store).await, [(1, 1), (2, 2)]);
    store.close().await;
}
