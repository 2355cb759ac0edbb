//! Sagas on every store: several applications, repeated requests, steps at the same time, a clock that
//! is wrong.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used)] // a test fails by panicking

/// Runs a scenario on each store.
macro_rules! on_every_store {
    ($($name:ident)+) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)] async fn $name() {
                super::$name(std::sync::Arc::new(annals::MemoryStore::new())).await;
            })+
        }

        #[cfg(feature = "sqlite")]
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)] async fn $name() {
                let dir = tempfile::tempdir().unwrap();
                let url = format!("sqlite://{}/bank.db", dir.path().display());
                let options = annals::sqlite::SqliteOptions::default();
                let store = annals::sqlite::SqliteStore::open(&url, options).await.unwrap();
                super::$name(std::sync::Arc::new(store)).await;
            })+
        }

        #[cfg(feature = "postgres")]
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)] async fn $name() {
                let schema = annals_testing::postgres::TestSchema::create().await;
                let options = annals::postgres::PostgresOptions::default();
                let url = schema.url();
                let store = annals::postgres::PostgresStore::open(&url, options).await.unwrap();
                super::$name(std::sync::Arc::new(store)).await;
            })+
        }
    };
}

mod accounts;
mod clock;
mod nodes;
mod parallel;
mod processes;
mod starts;
