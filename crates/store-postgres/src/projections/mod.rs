//! Read models, checkpoints and rebuilds on PostgreSQL.
//!
//! A projection's rows stand in an ordinary table, its checkpoint in `annals_projections`, and
//! both change in one transaction. A rebuild fills `<table>__rebuild` beside it.
//!
//! Whoever changes a projection locks its record first, then its rebuild's, then tables, so that
//! nobody waits in a circle; appends with inline projections take the append lock before that. A
//! step of a rebuild alone locks its table first: where it meets one who takes it over, the server
//! breaks the circle, and either of them is tried again or fenced.

mod commit;
mod copy;
mod events;
mod exchange;
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

use self::{
    inline::{FoldRows, Installed},
    rebuild::Begin,
};
use crate::PostgresStore;

#[async_trait]
impl ProjectionStore for PostgresStore {
    async fn register(
        &self,
        spec: &ProjectionSpec,
        now: DateTime<Utc>,
    ) -> Result<ProjectionRecord, StoreError> {
        let input = (spec.clone(), now);
        self.transaction("register a projection", input, |session, (spec, now)| {
            Box::pin(register::register(session, spec, *now))
        })
        .await
    }

    async fn projection(&self, name: &str) -> Result<Option<ProjectionRecord>, StoreError> {
        self.read("read a projection", name.to_owned(), |session, name| {
            Box::pin(async move {
                let stored = record::one(session, name).await?;
                Ok(stored.map(|stored| stored.record))
            })
        })
        .await
    }

    async fn projections(&self) -> Result<Vec<ProjectionRecord>, StoreError> {
        self.read("read projections", (), |session, ()| {
            Box::pin(async move {
                let stored = record::all(session).await?;
                Ok(stored.into_iter().map(|stored| stored.record).collect())
            })
        })
        .await
    }

    async fn set_state(
        &self,
        name: &str,
        state: ProjectionState,
        now: DateTime<Utc>,
    ) -> Result<Option<ProjectionRecord>, StoreError> {
        self.transaction(
            "set the state of a projection",
            name.to_owned(),
            move |session, name| {
                Box::pin(async move {
                    record::set_state(session, name, state, now).await?;
                    let stored = record::one(session, name).await?;
                    Ok(stored.map(|stored| stored.record))
                })
            },
        )
        .await
    }

    async fn claim(&self, name: &str, owner: &str, term: Duration) -> Result<Claim, StoreError> {
        let input = (name.to_owned(), owner.to_owned());
        self.transaction(
            "take the lease on a projection",
            input,
            move |session, (name, owner)| Box::pin(lease::claim(session, name, owner, term)),
        )
        .await
    }

    async fn release(&self, name: &str, owner: &str) -> Result<(), StoreError> {
        let input = (name.to_owned(), owner.to_owned());
        self.transaction(
            "release the lease on a projection",
            input,
            |session, (name, owner)| Box::pin(lease::release(session, name, owner)),
        )
        .await
    }

    async fn record_failure(
        &self,
        name: &str,
        fence: Fence,
        state: ProjectionState,
        failure: Failure,
    ) -> Result<(), CommitError> {
        let input = (name.to_owned(), failure);
        self.transaction(
            "record a failure",
            input,
            move |session, (name, failure)| {
                Box::pin(record::fail(session, name, fence, state, failure))
            },
        )
        .await
    }

    async fn parked(&self, name: &str, target: Target) -> Result<Vec<ParkedEvent>, StoreError> {
        self.read(
            "read parked events",
            name.to_owned(),
            move |session, name| Box::pin(parked::select(session, name, target)),
        )
        .await
    }

    async fn retried_parked(&self, name: &str, epoch: u64) -> Result<(), StoreError> {
        self.transaction(
            "note that parked events were tried again",
            name.to_owned(),
            move |session, name| Box::pin(record::retried(session, name, epoch)),
        )
        .await
    }

    async fn rows(
        &self,
        table: &TableSpec,
        target: Target,
        keys: &[Vec<Value>],
    ) -> Result<Vec<Row>, StoreError> {
        let input = (*table, keys.to_vec());
        self.read("read rows", input, move |session, (table, keys)| {
            Box::pin(rows::by_keys(session, table, target, keys))
        })
        .await
    }

    async fn scan_rows(
        &self,
        table: &TableSpec,
        target: Target,
        after: Option<&[Value]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let input = (*table, after.map(<[Value]>::to_vec));
        self.read("read rows", input, move |session, (table, after)| {
            Box::pin(rows::scan(session, table, target, after.as_deref(), limit))
        })
        .await
    }

    async fn commit(&self, commit: Commit) -> Result<(), CommitError> {
        self.transaction("commit a projection", commit, |session, commit| {
            Box::pin(commit::commit(session, commit))
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
        self.transaction("begin a rebuild", begin, |session, begin| {
            Box::pin(rebuild::begin(session, begin))
        })
        .await
    }

    async fn renew_rebuild(
        &self,
        name: &str,
        epoch: u64,
        lease: Duration,
    ) -> Result<(), RebuildError> {
        self.transaction(
            "renew the lease of a rebuild",
            name.to_owned(),
            move |session, name| Box::pin(rebuild::renew(session, name, epoch, lease)),
        )
        .await
    }

    async fn abandon_rebuild(
        &self,
        name: &str,
        epoch: u64,
        keep: bool,
    ) -> Result<(), RebuildError> {
        self.transaction(
            "give a rebuild up",
            name.to_owned(),
            move |session, name| Box::pin(rebuild::abandon(session, name, epoch, keep)),
        )
        .await
    }

    async fn swap(
        &self,
        request: SwapRequest,
        projection: Arc<dyn InlineProjection>,
    ) -> Result<Swapped, RebuildError> {
        let fold: Installed = Arc::new(FoldRows(projection));
        swap::settled(self, request, fold, |session, (request, fold)| {
            Box::pin(swap::swap(session, request, fold))
        })
        .await
    }
}
