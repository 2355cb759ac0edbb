//! The memory store as a snapshot store.

use async_trait::async_trait;

use super::MemoryStore;
use crate::{
    name::StreamName,
    snapshot::{Snapshot, SnapshotStore},
    store::StoreError,
};

#[async_trait]
impl SnapshotStore for MemoryStore {
    async fn snapshot(
        &self,
        stream: &StreamName,
        schema: &str,
    ) -> Result<Option<Snapshot>, StoreError> {
        let state = self.state("read a snapshot").await?;
        let snapshot = state.snapshots.get(stream);
        Ok(snapshot.filter(|kept| kept.schema == schema).cloned())
    }

    async fn save_snapshot(
        &self,
        stream: &StreamName,
        snapshot: Snapshot,
    ) -> Result<(), StoreError> {
        let mut state = self.state("save a snapshot").await?;
        let is_older =
            |kept: &Snapshot| kept.schema == snapshot.schema && kept.version > snapshot.version;
        if !state.snapshots.get(stream).is_some_and(is_older) {
            state.snapshots.insert(stream.clone(), snapshot);
        }
        Ok(())
    }
}
