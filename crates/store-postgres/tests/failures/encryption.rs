//! Encrypted connections, and servers that are not who they should be.

use std::{error::Error as _, path::Path};

use annals_core::{EventStore as _, StoreErrorKind};
use annals_postgres::{PostgresOptions, PostgresStore};
use annals_testing::postgres::Cluster;

use crate::accounts::{deposit, open, settle};

/// Which of the store's sessions are encrypted: all, none or some.
fn encrypted(cluster: &Cluster) -> String {
    cluster.sql(
        "SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
         WHERE application_name = 'annals'",
    )
}

fn verified(cluster: &Cluster, root: &Path) -> String {
    let root = root.display();
    format!("{}?sslmode=verify-full&sslrootcert={root}", cluster.url())
}

/// Why a store does not open.
async fn refused(url: &str) -> String {
    let opened = PostgresStore::open(url, PostgresOptions::default()).await;
    let error = opened.expect_err("it is not to be trusted");
    assert_eq!(error.kind(), StoreErrorKind::Invalid, "{error:?}");
    assert!(!error.is_transient());
    error.source().expect("a cause").to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_connection_is_encrypted_when_it_must_be() {
    let mut cluster = Cluster::create();
    let root = cluster.encrypt();
    let require = format!("{}?sslmode=require", cluster.url());
    for (number, url) in (1..).zip([require, verified(&cluster, &root)]) {
        let store = open(&url).await;
        let appended = settle(&store, deposit(1, 1, number)).await;
        assert_eq!(store.head().await.unwrap(), appended.position);
        assert_eq!(encrypted(&cluster), "t");
        store.close().await;
    }
    // The same question, where nothing is encrypted.
    let store = open(&format!("{}?sslmode=disable", cluster.url())).await;
    settle(&store, deposit(1, 1, 3)).await;
    assert_eq!(encrypted(&cluster), "f");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_is_not_who_it_should_be_is_refused() {
    let mut cluster = Cluster::create();
    let (other, _) = cluster.certificate("other");
    let told = refused(&verified(&cluster, &other)).await;
    assert!(told.contains("does not support TLS"), "{told}");
    let root = cluster.encrypt();
    let told = refused(&verified(&cluster, &other)).await;
    assert!(told.contains("`sslrootcert`"), "{told}");
    let elsewhere = verified(&cluster, &root).replace("127.0.0.1", "localhost");
    let told = refused(&elsewhere).await;
    assert!(told.contains("name the host"), "{told}");
    open(&verified(&cluster, &root)).await.close().await;
}
