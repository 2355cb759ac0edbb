//! The store in memory is a store.

use std::sync::Arc;

use annals_core::{Store, memory::MemoryStore};
use annals_testing::conformance::Fixture;
use async_trait::async_trait;

struct Memory(Arc<MemoryStore>);

#[async_trait]
impl Fixture for Memory {
    const REOPENS: bool = false;

    async fn create() -> Self {
        Self(Arc::new(MemoryStore::new()))
    }

    async fn open(&self) -> Arc<dyn Store> {
        self.0.clone()
    }
}

annals_testing::conformance!(Memory);
