//! Snapshots: cached aggregate state, never the truth.

use async_trait::async_trait;

use crate::{name::StreamName, order::Version, store::StoreError};

/// An aggregate's state at a version, as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The version the state includes.
    pub version: Version,
    /// The shape of the state; a snapshot of another shape is of no use.
    pub schema: String,
    /// The state.
    pub state: Vec<u8>,
}

/// Keeps one snapshot per stream. Losing them costs time, nothing else.
#[async_trait]
pub trait SnapshotStore: Send + Sync + 'static {
    /// The stream's snapshot, if there is one of this schema.
    ///
    /// # Errors
    /// When the store can't be read.
    async fn snapshot(
        &self,
        stream: &StreamName,
        schema: &str,
    ) -> Result<Option<Snapshot>, StoreError>;

    /// Keeps a snapshot in place of the one before, unless that one is newer and of the same schema.
    ///
    /// # Errors
    /// When the store can't be written.
    async fn save_snapshot(
        &self,
        stream: &StreamName,
        snapshot: Snapshot,
    ) -> Result<(), StoreError>;
}
