//! Read models, checkpoints and rebuilds on SQLite.
//!
//! A projection's rows stand in an ordinary table, its checkpoint in `annals_projections`, and
//! both change in one transaction of the writer. A rebuild fills `<table>__rebuild` beside it.

mod commit;
mod events;
pub(crate) mod inline;
mod lease;
mod parked;
mod rebuild;
mod record;
mod register;
mod rows;
pub(crate) mod sql_projection;
mod statements;
mod swap;
mod tables;
mod values;
mod verify;

use std::{sync::Arc, time::Duration};

use annals_core::{
    Claim, Commit, CommitError, Failure, Fence, FoldError, InlineProjection, ParkedEvent,
    ProjectionRecord, ProjectionSpec, ProjectionState, ProjectionStore, RebuildError,
    RebuildRecord, Row, StoreError, SwapRequest, Swapped, TableSpec, Target, Value,
};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{Sqlite, pool::PoolConnection};

use self::{
    inline::{FoldRows, Installed},
    rebuild::Begin,
};
use crate::{SqliteStore, error::failed};

impl SqliteStore {
    pub(crate) async fn reader(&self) -> Result<PoolConnection<Sqlite>, StoreError> {
        let acquired = self.readers().acquire().await;
        acquired.map_err(failed("read projections"))
    }
}

#[async_trait]
impl ProjectionStore for SqliteStore {
    async fn register(
        &self,
        spec: &ProjectionSpec,
        now: DateTime<Utc>,
    ) -> Result<ProjectionRecord, StoreError> {
        let spec = spec.clone();
        self.transaction("register a projection", move |conn| {
            Box::pin(async move { register::register(conn, &spec, now).await })
        })
        .await
    }

    async fn projection(&self, name: &str) -> Result<Option<ProjectionRecord>, StoreError> {
        let mut conn = self.reader().await?;
        let stored = record::one(&mut conn, name).await?;
        Ok(stored.map(|stored| stored.record))
    }

    async fn projections(&self) -> Result<Vec<ProjectionRecord>, StoreError> {
        let mut conn = self.reader().await?;
        let stored = record::all(&mut conn).await?;
        Ok(stored.into_iter().map(|stored| stored.record).collect())
    }

    async fn set_state(
        &self,
        name: &str,
        state: ProjectionState,
        now: DateTime<Utc>,
    ) -> Result<Option<ProjectionRecord>, StoreError> {
        let name = name.to_owned();
        self.transaction("set the state of a projection", move |conn| {
            Box::pin(async move {
                record::set_state(conn, &name, state, now).await?;
                let stored = record::one(conn, &name).await?;
                Ok(stored.map(|stored| stored.record))
            })
        })
        .await
    }

    async fn claim(&self, name: &str, owner: &str, term: Duration) -> Result<Claim, StoreError> {
        let (name, owner) = (name.to_owned(), owner.to_owned());
        self.transaction("take the lease on a projection", move |conn| {
            Box::pin(async move { lease::claim(conn, &name, &owner, term).await })
        })
        .await
    }

    async fn release(&self, name: &str, owner: &str) -> Result<(), StoreError> {
        let (name, owner) = (name.to_owned(), owner.to_owned());
        self.transaction("release the lease on a projection", move |conn| {
            Box::pin(async move { lease::release(conn, &name, &owner).await })
        })
        .await
    }

    async fn record_failure(
        &self,
        name: &str,
        fence: Fence,
        state: ProjectionState,
        failure: Failure,
    ) -> Result<(), CommitError> {
        let name = name.to_owned();
        self.transaction("record a failure", move |conn| {
            Box::pin(async move { record::fail(conn, &name, fence, state, &failure).await })
        })
        .await
    }

    async fn parked(&self, name: &str, target: Target) -> Result<Vec<ParkedEvent>, StoreError> {
        let mut conn = self.reader().await?;
        parked::select(&mut conn, name, target).await
    }

    async fn retried_parked(&self, name: &str, epoch: u64) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.transaction("note that parked events were tried again", move |conn| {
            Box::pin(async move { record::retried(conn, &name, epoch).await })
        })
        .await
    }

    async fn rows(
        &self,
        table: &TableSpec,
        target: Target,
        keys: &[Vec<Value>],
    ) -> Result<Vec<Row>, StoreError> {
        let mut conn = self.reader().await?;
        rows::by_keys(&mut conn, table, target, keys).await
    }

    async fn scan_rows(
        &self,
        table: &TableSpec,
        target: Target,
        after: Option<&[Value]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let mut conn = self.reader().await?;
        rows::scan(&mut conn, table, target, after, limit).await
    }

    async fn commit(&self, commit: Commit) -> Result<(), CommitError> {
        self.transaction("commit a projection", move |conn| {
            Box::pin(async move { commit::commit(conn, commit).await })
        })
        .await
    }

    async fn install_inline(&self, projection: Arc<dyn InlineProjection>) -> Result<(), FoldError> {
        inline::install(self, Arc::new(FoldRows(projection))).await
    }

    async fn begin_rebuild(
        &self,
        spec: &ProjectionSpec,
        owner: &str,
        lease: Duration,
        restart: bool,
        now: DateTime<Utc>,
    ) -> Result<RebuildRecord, RebuildError> {
        let begin = Begin {
            spec: spec.clone(),
            owner: owner.to_owned(),
            lease,
            restart,
            now,
        };
        self.transaction("begin a rebuild", move |conn| {
            Box::pin(async move { rebuild::begin(conn, &begin).await })
        })
        .await
    }

    async fn renew_rebuild(
        &self,
        name: &str,
        epoch: u64,
        lease: Duration,
    ) -> Result<(), RebuildError> {
        let name = name.to_owned();
        self.transaction("renew the lease of a rebuild", move |conn| {
            Box::pin(async move { rebuild::renew(conn, &name, epoch, lease).await })
        })
        .await
    }

    async fn abandon_rebuild(
        &self,
        name: &str,
        epoch: u64,
        keep: bool,
    ) -> Result<(), RebuildError> {
        let abandoned = name.to_owned();
        self.transaction("give a rebuild up", move |conn| {
            Box::pin(async move { rebuild::abandon(conn, &abandoned, epoch, keep).await })
        })
        .await?;
        if !keep {
            sql_projection::remove_shadow_of(self, name)?;
        }
        Ok(())
    }

    async fn swap(
        &self,
        request: SwapRequest,
        projection: Arc<dyn InlineProjection>,
    ) -> Result<Swapped, RebuildError> {
        let fold: Installed = Arc::new(FoldRows(projection));
        self.transaction("swap a rebuilt table in", move |conn| {
            Box::pin(async move { swap::swap(conn, &request, &fold).await })
        })
        .await
    }
}
