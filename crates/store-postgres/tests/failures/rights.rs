//! What a role must be allowed to, and what it is told when it is not.

use std::error::Error as _;

use annals_core::{StoreError, StoreErrorKind};
use annals_postgres::{PostgresOptions, PostgresStore};
use annals_testing::{postgres::Cluster, processes::check};

use crate::accounts::{caught_up, check_rows, deposit, open, settle, start};

/// The URL of the cluster's database for a new role that may do no more than connect.
fn newcomer(cluster: &Cluster) -> String {
    let url = cluster.url();
    let (_, rest) = url.split_once("//postgres:").expect("a superuser");
    let (password, _) = rest.split_once('@').expect("a password");
    cluster.sql(&format!("CREATE ROLE newcomer LOGIN PASSWORD '{password}'"));
    format!("postgres://newcomer:{rest}")
}

async fn refused(url: &str) {
    let opened = PostgresStore::open(url, PostgresOptions::default()).await;
    tells_what_to_do(&opened.expect_err("it may not"));
}

fn tells_what_to_do(error: &StoreError) {
    let kind = (error.kind(), error.is_transient());
    assert_eq!(kind, (StoreErrorKind::Invalid, false), "{error:?}");
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    assert!(cause.contains("permission denied"), "{cause}");
    assert!(cause.contains("grant it to the role"), "{cause}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_role_that_may_make_schemas_needs_nothing_else() {
    let cluster = Cluster::create();
    let url = newcomer(&cluster);
    refused(&url).await;
    cluster.sql("GRANT CREATE ON DATABASE annals TO newcomer");
    let store = open(&url).await;
    let app = start(&store).await;
    let last = settle(&store, deposit(1, 1, 1)).await;
    caught_up(&app, last.position).await;
    app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_role_that_may_use_the_tables_runs_an_application() {
    let cluster = Cluster::create();
    let owner = open(&cluster.url()).await;
    start(&owner).await.shutdown().await;
    let url = newcomer(&cluster);
    refused(&url).await;
    cluster.sql("GRANT USAGE ON SCHEMA annals TO newcomer");
    refused(&url).await;
    cluster.sql("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA annals TO newcomer");
    // As an older release has left it: what is missing is for its owner to bring.
    let newest = "DELETE FROM annals.annals_migrations WHERE version = 3 RETURNING name";
    cluster.sql(newest);
    refused(&url).await;
    cluster.sql("INSERT INTO annals.annals_migrations VALUES (3, '0003_append_at_once', now())");

    let store = open(&url).await;
    let app = start(&store).await;
    let last = settle(&store, deposit(1, 1, 1)).await;
    caught_up(&app, last.position).await;
    check_rows(&app, &check::read_log(&store).await).await;
    app.shutdown().await;
}
