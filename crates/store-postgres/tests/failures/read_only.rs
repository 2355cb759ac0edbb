//! Sessions that take no writes, on a server that does by now.

use annals_core::{
    Append, AppendError, EventStore as _, ProjectionStore as _, StoreError, StoreErrorKind,
};
use annals_postgres::PostgresStore;
use annals_testing::postgres::Cluster;
use tokio::time::timeout;

use crate::accounts::{SOON, deposit, head, open};

const TERMINATE: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
    WHERE datname = 'annals' AND pid <> pg_backend_pid()";

async fn append(store: &PostgresStore, append: Append) -> Result<(), StoreError> {
    match store.append(append).await {
        Ok(_) => Ok(()),
        Err(AppendError::Store(error) | AppendError::Unknown(error)) => Err(error),
        Err(other) => panic!("it is not the store that fails: {other:?}"),
    }
}

/// Tries until the store says that nothing can be written.
async fn refused<T>(mut attempt: impl AsyncFnMut() -> Result<T, StoreError>) {
    let refused = timeout(SOON, async {
        loop {
            match attempt().await {
                // The session was ended.
                Err(error) if error.kind() != StoreErrorKind::ReadOnly => {}
                Err(_) => return,
                Ok(_) => panic!("it was written"),
            }
        }
    });
    refused.await.expect("the server takes no writes");
}

/// As when a name led to a standby for a moment: sessions stay what they were when they began.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sessions_that_take_no_writes_are_not_used_again() {
    let cluster = Cluster::create();
    let store = open(&cluster.url()).await;
    cluster.sql("ALTER DATABASE annals SET default_transaction_read_only = on");
    cluster.sql_in("postgres", TERMINATE);
    refused(async || append(&store, deposit(1, 1, 1)).await).await;
    refused(async || store.retried_parked("balance", 1).await).await;
    cluster.sql_in(
        "postgres",
        "ALTER DATABASE annals RESET default_transaction_read_only",
    );
    append(&store, deposit(1, 1, 1)).await.unwrap();
    store.retried_parked("balance", 1).await.unwrap();
    assert_eq!(head(&store).await.get(), 1);
}
