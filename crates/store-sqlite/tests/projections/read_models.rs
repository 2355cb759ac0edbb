//! Read-model tables as the application and its people meet them.

use std::sync::Arc;

use annals_core::{
    Changes, Checkpoint, Column, ColumnType, Commit, CommitError, Fence, FoldError,
    InlineProjection, Position, ProjectionSpec, ProjectionState, RebuildRecord, Row, RowAccess,
    StoreError, StoreErrorKind, StoredEvent, SwapRequest, Swapped, TableSpec, Target, Value,
};
use async_trait::async_trait;
use sqlx::Row as _;

use crate::accounts::{Bank, LEASE, now};

const OWNER: Column = Column {
    name: "owner",
    column_type: ColumnType::Text,
    nullable: false,
    key: true,
};
const BALANCE: Column = Column {
    name: "balance",
    column_type: ColumnType::Integer,
    nullable: true,
    key: false,
};
const NOTE: Column = Column {
    name: "note",
    column_type: ColumnType::Blob,
    nullable: true,
    key: false,
};
const OLD: TableSpec = TableSpec {
    name: "balances",
    columns: &[OWNER, BALANCE],
};
const NEW: TableSpec = TableSpec {
    name: "balances",
    columns: &[OWNER, NOTE, BALANCE],
};

fn spec(table: TableSpec) -> ProjectionSpec {
    ProjectionSpec {
        name: "balances".to_owned(),
        fingerprint: format!("{} columns", table.columns.len()),
        table: Some(table),
        inline: false,
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

fn commit(target: Target, table: TableSpec, fence: Fence, rows: Vec<Row>) -> Commit {
    let changes = Changes {
        upserts: rows,
        deletes: Vec::new(),
    };
    Commit {
        projection: "balances".to_owned(),
        target,
        fence,
        rows: Some((table, changes)),
        checkpoint: Checkpoint {
            position: fence.checkpoint.next(),
            event_id: None,
        },
        park: Vec::new(),
        unpark: Vec::new(),
        now: now(),
    }
}

fn old_row(owner: &str, balance: i64) -> Row {
    vec![Value::Text(owner.to_owned()), Value::Integer(balance)]
}

/// A live table with one row at position 1.
async fn live() -> Bank {
    let bank = Bank::open().await;
    let record = bank.store.register(&spec(OLD), now()).await.unwrap();
    let fence = Fence {
        epoch: record.epoch,
        checkpoint: Position::START,
    };
    let step = commit(Target::Live, OLD, fence, vec![old_row("alice", 5)]);
    bank.store.commit(step).await.unwrap();
    bank
}

async fn rebuilt(bank: &Bank, table: TableSpec, rows: Vec<Row>) -> RebuildRecord {
    let spec = spec(table);
    let begun = bank.store.begin_rebuild(&spec, "me", LEASE, false, now());
    let mut rebuild = begun.await.unwrap();
    let fence = Fence {
        epoch: rebuild.epoch,
        checkpoint: Position::START,
    };
    let step = commit(Target::Rebuild, table, fence, rows);
    rebuild.checkpoint = step.checkpoint;
    bank.store.commit(step).await.unwrap();
    rebuild
}

async fn swap(bank: &Bank, table: TableSpec, rebuild: &RebuildRecord) -> Swapped {
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
    bank.store.swap(request, still).await.unwrap()
}

async fn balances(bank: &Bank) -> Vec<String> {
    bank.query("SELECT owner || '|' || balance FROM balances ORDER BY owner")
        .await
}

#[tokio::test]
async fn a_table_of_the_application_is_left_alone() {
    let bank = Bank::open().await;
    bank.sql("CREATE TABLE Balances (mine INTEGER)").await;
    let error: StoreError = bank.store.register(&spec(OLD), now()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Invalid);
    assert_eq!(bank.store.projection("balances").await.unwrap(), None);
    assert_eq!(bank.query("SELECT mine FROM Balances").await, [""; 0]);
}

#[tokio::test]
async fn a_table_that_somebody_dropped_is_filled_from_the_beginning() {
    let bank = live().await;
    bank.sql("DROP TABLE balances").await;
    let record = bank.store.register(&spec(OLD), now()).await.unwrap();
    assert_eq!(record.checkpoint, Checkpoint::default());
    assert_eq!(record.state, ProjectionState::Running);
    assert_eq!(balances(&bank).await, [""; 0]);
}

#[tokio::test]
async fn indexes_views_and_triggers_of_others_survive_a_swap() {
    let bank = live().await;
    bank.sql("CREATE INDEX rich ON balances (balance)").await;
    bank.sql("CREATE VIEW wealth AS SELECT sum(balance) AS sum FROM balances")
        .await;
    bank.sql("CREATE TABLE changes (owner TEXT)").await;
    bank.sql(
        "CREATE TRIGGER noted AFTER UPDATE ON balances
         BEGIN INSERT INTO changes VALUES (new.owner); END",
    )
    .await;
    let rebuild = rebuilt(&bank, OLD, vec![old_row("alice", 7), old_row("bob", 1)]).await;
    swap(&bank, OLD, &rebuild).await;
    assert_eq!(bank.query("SELECT '' || sum FROM wealth").await, ["8"]);
    let index = "SELECT tbl_name FROM sqlite_schema WHERE name = 'rich'";
    assert_eq!(bank.query(index).await, ["balances"]);
    bank.sql("UPDATE balances SET balance = 0 WHERE owner = 'bob'")
        .await;
    assert_eq!(bank.query("SELECT owner FROM changes").await, ["bob"]);
}

#[tokio::test]
async fn prepared_statements_of_other_connections_survive_a_swap() {
    let bank = live().await;
    let mut reader = bank.connection().await;
    let statement = "SELECT balance FROM balances WHERE owner = 'alice'";
    let before = sqlx::query(statement).fetch_one(&mut reader).await.unwrap();
    assert_eq!(before.get::<i64, _>(0), 5);
    let row = vec![
        Value::Text("alice".to_owned()),
        Value::Blob(vec![1]),
        Value::Integer(7),
    ];
    let rebuild = rebuilt(&bank, NEW, vec![row]).await;
    swap(&bank, NEW, &rebuild).await;
    let after = sqlx::query(statement).fetch_one(&mut reader).await.unwrap();
    assert_eq!(after.get::<i64, _>(0), 7);
}

#[tokio::test]
async fn a_rebuild_brings_a_table_of_other_columns() {
    let bank = live().await;
    let outdated = bank.store.register(&spec(NEW), now()).await.unwrap();
    assert_eq!(outdated.state, ProjectionState::Outdated);
    let row = vec![Value::Text("alice".to_owned()), Value::Null, Value::Null];
    let rebuild = rebuilt(&bank, NEW, vec![row.clone()]).await;
    let swapped = swap(&bank, NEW, &rebuild).await;
    assert_eq!(swapped.differences, None, "there is nothing to compare");
    let found = bank.store.scan_rows(&NEW, Target::Live, None, 10).await;
    assert_eq!(found.unwrap(), [row]);
    let record = bank.store.register(&spec(NEW), now()).await.unwrap();
    assert_eq!(record.state, ProjectionState::Running);
}

#[tokio::test]
async fn an_index_that_does_not_fit_the_new_columns_stops_the_swap() {
    let bank = live().await;
    bank.sql("CREATE INDEX rich ON balances (balance)").await;
    const NARROW: TableSpec = TableSpec {
        name: "balances",
        columns: &[OWNER],
    };
    let row = vec![Value::Text("alice".to_owned())];
    let rebuild = rebuilt(&bank, NARROW, vec![row]).await;
    let request = SwapRequest {
        spec: spec(NARROW),
        fence: Fence {
            epoch: rebuild.epoch,
            checkpoint: rebuild.checkpoint.position,
        },
        verify: None,
        now: now(),
    };
    let still = Arc::new(Still(spec(NARROW)));
    let error = bank.store.swap(request, still).await.unwrap_err();
    assert!(error.to_string().contains("rich"), "{error}");
    assert_eq!(balances(&bank).await, ["alice|5"]);
}

#[tokio::test]
async fn a_value_of_the_wrong_type_is_refused() {
    let bank = live().await;
    let record = bank.store.projection("balances").await.unwrap().unwrap();
    let fence = Fence {
        epoch: record.epoch,
        checkpoint: record.checkpoint.position,
    };
    let wrong = vec![
        Value::Text("bob".to_owned()),
        Value::Text("many".to_owned()),
    ];
    let step = commit(Target::Live, OLD, fence, vec![wrong]);
    let refused = bank.store.commit(step).await.unwrap_err();
    // Of this kind the engine stops; others it would try again and again.
    let CommitError::Store(error) = refused else {
        panic!("{refused}");
    };
    assert_eq!(error.kind(), StoreErrorKind::Invalid);
    let short = vec![Value::Text("bob".to_owned())];
    let step = commit(Target::Live, OLD, fence, vec![short]);
    bank.store.commit(step).await.unwrap_err();
    assert_eq!(balances(&bank).await, ["alice|5"]);
}
