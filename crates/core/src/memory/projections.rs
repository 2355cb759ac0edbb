//! The memory store as a projection store.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{MemoryStore, rebuild::RebuildRequest};
use crate::{
    projection_store::{
        Claim, Commit, CommitError, Failure, Fence, ParkedEvent, ProjectionRecord, ProjectionSpec,
        ProjectionState, ProjectionStore, RebuildError, RebuildRecord, SwapRequest, Swapped,
        Target,
    },
    projector::{FoldError, InlineProjection},
    read_model::TableSpec,
    store::StoreError,
    value::{Row, Value},
};

#[async_trait]
impl ProjectionStore for MemoryStore {
    async fn register(
        &self,
        spec: &ProjectionSpec,
        now: DateTime<Utc>,
    ) -> Result<ProjectionRecord, StoreError> {
        let mut state = self.state("register a projection").await?;
        state.register(spec, now)
    }

    async fn projection(&self, name: &str) -> Result<Option<ProjectionRecord>, StoreError> {
        let state = self.state("read a projection's record").await?;
        Ok(state.projections.get(name).map(|entry| entry.record()))
    }

    async fn projections(&self) -> Result<Vec<ProjectionRecord>, StoreError> {
        let state = self.state("read the projections' records").await?;
        let entries = state.projections.values();
        Ok(entries.map(|entry| entry.record()).collect())
    }

    async fn set_state(
        &self,
        name: &str,
        state: ProjectionState,
        now: DateTime<Utc>,
    ) -> Result<Option<ProjectionRecord>, StoreError> {
        let mut store = self.state("set a projection's state").await?;
        Ok(store.set_state(name, state, now))
    }

    async fn claim(&self, name: &str, owner: &str, term: Duration) -> Result<Claim, StoreError> {
        let mut state = self.state("take the lease on a projection").await?;
        state.claim(name, owner, term)
    }

    async fn release(&self, name: &str, owner: &str) -> Result<(), StoreError> {
        let mut state = self.state("release the lease on a projection").await?;
        state.release(name, owner);
        Ok(())
    }

    async fn record_failure(
        &self,
        name: &str,
        fence: Fence,
        state: ProjectionState,
        failure: Failure,
    ) -> Result<(), CommitError> {
        let mut store = self.state("record a projection's failure").await?;
        store.record_failure(name, fence, state, failure)
    }

    async fn parked(&self, name: &str, target: Target) -> Result<Vec<ParkedEvent>, StoreError> {
        let state = self.state("read the parked events").await?;
        let entry = state.projections.get(name);
        let side = entry.and_then(|entry| entry.side(target));
        Ok(side.map_or_else(Vec::new, |side| side.parked.values().cloned().collect()))
    }

    async fn retried_parked(&self, name: &str, epoch: u64) -> Result<(), StoreError> {
        let mut state = self.state("mark parked events as retried").await?;
        let entry = state.projections.get_mut(name);
        if let Some(entry) = entry.filter(|entry| entry.live.epoch == epoch) {
            entry.retry_parked = false;
        }
        Ok(())
    }

    async fn rows(
        &self,
        table: &TableSpec,
        target: Target,
        keys: &[Vec<Value>],
    ) -> Result<Vec<Row>, StoreError> {
        let state = self.state("read rows").await?;
        Ok(state.side(table, target)?.table.load(keys))
    }

    async fn scan_rows(
        &self,
        table: &TableSpec,
        target: Target,
        after: Option<&[Value]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let state = self.state("scan rows").await?;
        Ok(state.side(table, target)?.table.scan(after, limit))
    }

    async fn commit(&self, commit: Commit) -> Result<(), CommitError> {
        self.state("commit a projection's step")
            .await?
            .commit(commit)
    }

    async fn install_inline(&self, projection: Arc<dyn InlineProjection>) -> Result<(), FoldError> {
        let mut state = self.state("install an inline projection").await?;
        state.install_inline(projection).await
    }

    async fn begin_rebuild(
        &self,
        spec: &ProjectionSpec,
        owner: &str,
        lease: Duration,
        restart: bool,
        now: DateTime<Utc>,
    ) -> Result<RebuildRecord, RebuildError> {
        let mut state = self.state("begin a rebuild").await?;
        state.begin_rebuild(&RebuildRequest {
            spec,
            owner,
            lease,
            restart,
            now,
        })
    }

    async fn renew_rebuild(
        &self,
        name: &str,
        epoch: u64,
        lease: Duration,
    ) -> Result<(), RebuildError> {
        let mut state = self.state("renew the lease of a rebuild").await?;
        state.renew_rebuild(name, epoch, lease)
    }

    async fn abandon_rebuild(
        &self,
        name: &str,
        epoch: u64,
        keep: bool,
    ) -> Result<(), RebuildError> {
        let mut state = self.state("abandon a rebuild").await?;
        state.abandon_rebuild(name, epoch, keep)
    }

    async fn swap(
        &self,
        request: SwapRequest,
        projection: Arc<dyn InlineProjection>,
    ) -> Result<Swapped, RebuildError> {
        let mut state = self.state("swap in a rebuilt table").await?;
        state.swap(request, projection).await
    }
}
