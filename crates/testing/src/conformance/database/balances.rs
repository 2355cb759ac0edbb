//! A read model `balances` of one row, and rebuilds of it.

use std::sync::Arc;

use annals_core::{
    Column, ColumnType, CommitError, Fence, FoldError, InlineProjection, ProjectionSpec,
    RebuildError, RebuildRecord, Row, RowAccess, StoredEvent, SwapRequest, Swapped, TableSpec,
    Value,
};
use async_trait::async_trait;

use super::{Bank, Database};
use crate::conformance::{sample::now, table::*};

pub(super) const OWNER: Column = key("owner", ColumnType::Text);
pub(super) const BALANCE: Column = nullable("balance", ColumnType::Integer);

/// The table: `owner`, a text and the key, and `balance`, an integer or null.
pub const BALANCES: TableSpec = TableSpec {
    name: "balances",
    columns: &[OWNER, BALANCE],
};

/// A row of [`BALANCES`].
#[must_use]
pub fn balance(owner: &str, balance: i64) -> Row {
    vec![text(owner), Value::Integer(balance)]
}

/// The read model, with other columns perhaps.
pub(super) fn spec(table: TableSpec) -> ProjectionSpec {
    ProjectionSpec {
        fingerprint: format!("{} columns", table.columns.len()),
        ..spec_of("balances", table)
    }
}

/// Adds nothing to a swap.
#[derive(Debug)]
struct Still(ProjectionSpec);

#[async_trait]
impl InlineProjection for Still {
    fn spec(&self) -> &ProjectionSpec {
        &self.0
    }

    async fn fold(&self, _: &[StoredEvent], _: &mut dyn RowAccess) -> Result<(), FoldError> {
        Ok(())
    }
}

impl<D: Database> Bank<D> {
    /// Registers the read model, with `alice|5` in it, at position 1.
    ///
    /// # Panics
    /// When the store refuses.
    pub async fn fill_balances(&self) {
        let spec = spec(BALANCES);
        self.store.register(&spec, now()).await.unwrap();
        self.write_balance("alice", 5).await.unwrap();
    }

    /// Writes a row of the live table, at the next position.
    ///
    /// # Errors
    /// What the store says.
    pub async fn write_balance(&self, owner: &str, amount: i64) -> Result<(), CommitError> {
        let record = self.record("balances").await;
        let next = record.checkpoint.position.next().get();
        let step = live_step(&record, next, upserts(&[(owner, amount)]));
        self.store.commit(on(BALANCES, step)).await
    }

    /// The rows of the live table.
    pub async fn balances(&self) -> Vec<String> {
        self.query("SELECT owner || '|' || balance FROM balances ORDER BY owner")
            .await
    }

    /// Builds the table anew, with these columns and rows, up to position 1.
    ///
    /// # Panics
    /// When the store refuses.
    pub async fn rebuild_balances(&self, table: TableSpec, rows: Vec<Row>) -> RebuildRecord {
        let begun = self.begin(&spec(table)).await;
        let mut rebuild = begun.expect("a rebuild begins");
        let step = rebuild_step("balances", &rebuild, 1, upserted(&rows));
        rebuild.checkpoint = step.checkpoint;
        self.store.commit(on(table, step)).await.unwrap();
        rebuild
    }

    /// Puts the new table in the live one's place, comparing up to ten rows.
    ///
    /// # Errors
    /// What the store says.
    pub async fn swap_balances(
        &self,
        table: TableSpec,
        rebuild: &RebuildRecord,
    ) -> Result<Swapped, RebuildError> {
        let request = SwapRequest {
            spec: spec(table),
            fence: Fence {
                epoch: rebuild.epoch,
                checkpoint: rebuild.checkpoint.position,
            },
            verify: Some(10),
            now: now(),
        };
        let still = Arc::new(Still(spec(table)));
        self.store.swap(request, still).await
    }
}
