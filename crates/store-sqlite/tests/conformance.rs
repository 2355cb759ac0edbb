//! SQLite is a store: it passes the conformance suite.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "what a test does not expect fails it"
)]

use std::sync::Arc;

use annals_core::Store;
use annals_sqlite::{SqliteOptions, SqliteStore};
use annals_testing::conformance::Fixture;
use tempfile::TempDir;

struct File(TempDir);

#[async_trait::async_trait]
impl Fixture for File {
    async fn create() -> Self {
        Self(TempDir::new().expect("a temporary directory"))
    }

    async fn open(&self) -> Arc<dyn Store> {
        let file = self.0.path().join("store.db");
        let store = SqliteStore::open(&file.to_string_lossy(), SqliteOptions::default()).await;
        Arc::new(store.expect("the store opens"))
    }
}

annals_testing::conformance!(File);
